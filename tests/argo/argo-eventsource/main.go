// Argo Events' own generic event source as a program of its own, without Kubernetes.
package main

import (
	"flag"
	"fmt"
	"strings"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"

	"github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	"github.com/argoproj/argo-events/pkg/eventsources"
	"github.com/argoproj/argo-events/pkg/metrics"
	"github.com/argoproj/argo-events/pkg/shared/logging"

	"penstock.test/argo/bus"
)

type pairs map[string]string

func (p pairs) String() string { return "" }

func (p pairs) Set(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found {
		return fmt.Errorf("expected KEY=VALUE")
	}
	p[key] = value
	return nil
}

func main() {
	metadata := pairs{}
	flag.Var(metadata, "metadata", "KEY=VALUE, as often as needed")
	url := flag.String("url", "", "HOST:PORT of the event server, which serves without TLS")
	config := flag.String("config", "none", "sent to the event server as it is")
	source := flag.String("event-source", "es", "name of the EventSource object")
	event := flag.String("event-name", "ev", "name of the event in it")
	jsonBody := flag.Bool("json-body", false, "jsonBody")
	busFlags := bus.DefineFlags()
	flag.Parse()
	busConfig, err := busFlags.Config()
	if err != nil {
		bus.UsageError(err)
	}

	// A generic source has one leader at a time. To elect it takes Kubernetes, and one is enough here.
	v1alpha1.RecreateStrategyEventSources = nil
	object := &v1alpha1.EventSource{
		ObjectMeta: metav1.ObjectMeta{Name: *source, Namespace: "argo-events"},
		Spec: v1alpha1.EventSourceSpec{Generic: map[string]v1alpha1.GenericEventSource{
			*event: {URL: *url, Config: *config, Insecure: true, JSONBody: *jsonBody, Metadata: metadata},
		}},
	}

	// From here on as in pkg/eventsources/cmd.
	logger := bus.Logger().Named("eventsource").With(logging.LabelEventSourceName, object.Name)
	ctx := logging.WithLogger(signals.SetupSignalHandler(), logger)
	adaptor := eventsources.NewEventSourceAdaptor(object, busConfig, "eventbus-argo-events", "pod-0",
		metrics.NewMetrics(object.Namespace))
	if err := adaptor.Start(ctx); err != nil {
		logger.Fatalw("failed to start eventsource server", zap.Error(err))
	}
}
