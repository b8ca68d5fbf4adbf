package main

import (
	"strings"
	"sync"

	"github.com/IBM/sarama"
	"go.uber.org/zap/zapcore"

	"github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
)

// watcher reads Argo's log for what Argo tells nobody otherwise: that the consumer is there, and what a Log trigger
// shows. It sees the lines before they are sampled and encoded, so that no event and no byte is missing.
type watcher struct {
	out *lines

	mutex    sync.Mutex
	awaiting int // Kafka's partitions that are not read yet
}

func watch(out *lines) zapcore.Core {
	w := &watcher{out: out}
	sarama.Logger = w
	return w
}

func (w *watcher) Enabled(zapcore.Level) bool        { return true }
func (w *watcher) With([]zapcore.Field) zapcore.Core { return w }
func (w *watcher) Sync() error                       { return nil }

func (w *watcher) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return checked.AddCore(entry, w)
}

func (w *watcher) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	switch {
	case strings.HasPrefix(entry.Message, "successfully subscribed to subject "):
		w.out.ready() // of JetStream; there is one dependency
	case entry.Message == "Kafka setup":
		w.await(fields)
	default:
		w.logTrigger(entry, fields)
	}
	return nil
}

// logTrigger prints what a Log trigger shows: the data is the message, the rest of the event a field.
func (w *watcher) logTrigger(entry zapcore.Entry, fields []zapcore.Field) {
	for _, field := range fields {
		if context, ok := field.Interface.(*v1alpha1.EventContext); ok && field.Key == "eventContext" {
			w.out.event(dispatched{context.ID, context.Source, context.Subject, context.Type, context.Time.Time,
				context.DataContentType, nil, []byte(entry.Message)})
		}
	}
}

// await notes how many partitions the member of the group has been given. It reads each from the newest offset, which
// is fixed when sarama says so.
func (w *watcher) await(fields []zapcore.Field) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.awaiting = 0
	for _, field := range fields {
		if claims, ok := field.Interface.(map[string][]int32); ok {
			for _, partitions := range claims {
				w.awaiting += len(partitions)
			}
		}
	}
}

func (w *watcher) sarama(format string) {
	if !strings.Contains(format, "added subscription to") {
		return
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.awaiting--; w.awaiting == 0 {
		w.out.ready()
	}
}

func (w *watcher) Print(...any)                   {}
func (w *watcher) Println(...any)                 {}
func (w *watcher) Printf(format string, _ ...any) { w.sarama(format) }
