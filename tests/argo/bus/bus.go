// Package bus is what the two programs have in common: the flags that name an event bus, and Argo's logger.
package bus

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/argoproj/argo-events/pkg/apis/events/v1alpha1"
	"github.com/argoproj/argo-events/pkg/shared/logging"
)

// What Argo's controller puts into its configuration, but for one server instead of three.
const defaultStreamConfig = `maxMsgs: 50000
maxAge: 168h
maxBytes: -1
replicas: 1
duplicates: 300s
`

// Flags name a bus: either JetStream or Kafka.
type Flags struct {
	jetstream, streamConfig, kafka, topic *string
}

// DefineFlags adds them to the program's.
func DefineFlags() *Flags {
	return &Flags{
		jetstream:    flag.String("jetstream", "", "nats://HOST:PORT of a JetStream bus; it must offer TLS"),
		streamConfig: flag.String("stream-config", defaultStreamConfig, "YAML: of the stream, if it must be made"),
		kafka:        flag.String("kafka", "", "HOST:PORT of a Kafka bus"),
		topic:        flag.String("topic", "", "of the Kafka bus"),
	}
}

// Config is Argo's form of them.
func (f *Flags) Config() (*v1alpha1.BusConfig, error) {
	switch {
	case (*f.jetstream == "") == (*f.kafka == ""):
		return nil, errors.New("exactly one of --jetstream and --kafka is needed")
	case *f.jetstream != "":
		return &v1alpha1.BusConfig{JetStream: &v1alpha1.JetStreamConfig{
			URL: *f.jetstream, StreamConfig: *f.streamConfig}}, nil
	case *f.topic == "":
		return nil, errors.New("--kafka needs --topic")
	}
	return &v1alpha1.BusConfig{Kafka: &v1alpha1.KafkaBus{URL: *f.kafka, Topic: *f.topic}}, nil
}

// UsageError ends the program.
func UsageError(err error) {
	fmt.Fprintln(os.Stderr, err)
	flag.Usage()
	os.Exit(2)
}

// Logger is the one that Argo makes, sampling and $LOG_LEVEL included, with its output on stderr.
func Logger(more ...zapcore.Core) *zap.SugaredLogger {
	config := logging.ConfigureLogLevelLogger(os.Getenv("LOG_LEVEL"))
	config.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.OutputPaths = []string{"stderr"}
	logger, err := config.Build(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewTee(append(more, core)...)
	}))
	if err != nil {
		panic(err)
	}
	return logger.Named("argo-events").Sugar()
}
