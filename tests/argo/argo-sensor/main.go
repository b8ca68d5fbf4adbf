// Argo Events' own Sensor side as a program of its own, without Kubernetes: by its drivers alone, or as a whole Sensor
// with a Log trigger. It prints READY once no later event can be missed, and a line of JSON for each event that it
// dispatches.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"sync"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"

	"github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	"github.com/argoproj/argo-events/pkg/eventbus"
	eventbuscommon "github.com/argoproj/argo-events/pkg/eventbus/common"
	"github.com/argoproj/argo-events/pkg/metrics"
	"github.com/argoproj/argo-events/pkg/sensors"
	"github.com/argoproj/argo-events/pkg/shared/logging"

	"penstock.test/argo/bus"
)

const (
	dependency = "dep"
	trigger    = "log"
	hostname   = "host-0"
)

// dispatched is what the program prints of an event; a whole Sensor has no extensions.
type dispatched struct {
	ID              string         `json:"id"`
	Source          string         `json:"source"`
	Subject         string         `json:"subject"`
	Type            string         `json:"type"`
	Time            time.Time      `json:"time"`
	DataContentType string         `json:"datacontenttype"`
	Extensions      map[string]any `json:"extensions,omitempty"`
	Data            []byte         `json:"data"` // base64
}

// lines writes whole lines to stdout, from several goroutines.
type lines struct {
	mutex sync.Mutex
}

func (l *lines) ready() { l.write([]byte("READY")) }

func (l *lines) event(event dispatched) {
	text, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	l.write(text)
}

func (l *lines) write(text []byte) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if _, err := os.Stdout.Write(append(text, '\n')); err != nil {
		panic(err)
	}
}

func newSensor(name, source, event string) *v1alpha1.Sensor {
	return &v1alpha1.Sensor{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "argo-events"},
		Spec: v1alpha1.SensorSpec{
			Dependencies: []v1alpha1.EventDependency{
				{Name: dependency, EventSourceName: source, EventName: event}},
			Triggers: []v1alpha1.Trigger{{Template: &v1alpha1.TriggerTemplate{
				Name: trigger, Conditions: dependency, Log: &v1alpha1.LogTrigger{}}}},
		},
	}
}

// runDrivers is the part of pkg/sensors that receives, without the triggers.
func runDrivers(ctx context.Context, config *v1alpha1.BusConfig, sensor *v1alpha1.Sensor, out *lines) error {
	driver, err := eventbus.GetSensorDriver(ctx, *config, sensor, hostname)
	if err != nil {
		return err
	}
	if err := driver.Initialize(); err != nil {
		return err
	}
	wanted := sensor.Spec.Dependencies[0]
	deps := []eventbuscommon.Dependency{
		{Name: wanted.Name, EventSourceName: wanted.EventSourceName, EventName: wanted.EventName}}
	connection, err := driver.Connect(ctx, trigger, dependency, deps, false)
	if err != nil {
		return err
	}
	defer connection.Close()
	transform := func(_ string, event cloudevents.Event) (*cloudevents.Event, error) { return &event, nil }
	filter := func(string, cloudevents.Event) bool { return true }
	action := func(events map[string]cloudevents.Event) {
		for _, event := range events {
			out.event(dispatched{event.ID(), event.Source(), event.Subject(), event.Type(), event.Time(),
				event.DataContentType(), event.Extensions(), event.Data()})
		}
	}
	subject := ""
	return connection.Subscribe(ctx, make(chan struct{}), make(chan struct{}), time.Time{}, transform, filter, action,
		&subject)
}

func main() {
	name := flag.String("name", "sensor", "of the Sensor object; what it has read belongs to this name")
	source := flag.String("event-source", "es", "the dependency's eventSourceName")
	event := flag.String("event-name", "ev", "the dependency's eventName")
	whole := flag.Bool("whole", false, "a whole Sensor with a Log trigger; on JetStream it writes /tmp/graft.log")
	busFlags := bus.DefineFlags()
	flag.Parse()
	config, err := busFlags.Config()
	if err != nil {
		bus.UsageError(err)
	}

	out := &lines{}
	logger := bus.Logger(watch(out)).Named("sensor").With("sensorName", *name)
	ctx := logging.WithLogger(signals.SetupSignalHandler(), logger)
	sensor := newSensor(*name, *source, *event)
	if *whole {
		err = sensors.NewSensorContext(nil, nil, sensor, config, "eventbus-argo-events", hostname,
			metrics.NewMetrics(sensor.Namespace)).Start(ctx)
	} else {
		err = runDrivers(ctx, config, sensor, out)
	}
	if err != nil {
		logger.Fatalw("failed to listen to events", zap.Error(err))
	}
}
