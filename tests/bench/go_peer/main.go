// The gateway that a Go engineer would write in an afternoon with the best client libraries (grpc-go, nats.go, franz-go):
// the peer to measure beside. It reads one stream to its end, publishes with every acknowledgement awaited, and prints
// "EVENTS_PER_S x CPU_US y RSS_KIB z".
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"penstock.test/server/contract"
)

var (
	source = flag.String("source", "", "host:port of the event server")
	config = flag.String("config", "", "sent as EventSource.config")
	sink   = flag.String("sink", "null", "null, jetstream or kafka")
	bus    = flag.String("bus", "", "nats://host:port or host:port")
	topic  = flag.String("topic", "bench.a", "subject or topic")
	ids    = flag.Bool("ids", false, "send a Nats-Msg-Id")
)

const inFlight = 16384

var acked atomic.Int64

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func usage() (cpuSeconds float64, rssKiB int64) {
	var r syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	us := r.Utime.Usec + r.Stime.Usec
	return float64(r.Utime.Sec+r.Stime.Sec) + 1e-6*float64(us), r.Maxrss
}

// put takes an event; drain returns when all are acknowledged.
func openSink() (put func(payload []byte, number int64), drain func()) {
	switch *sink {
	case "jetstream":
		return openJetStream()
	case "kafka":
		return openKafka()
	}
	return func([]byte, int64) { acked.Add(1) }, func() {}
}

// A window kept by a first-in, first-out list of futures; a failed one is published again.
func openJetStream() (func([]byte, int64), func()) {
	nc, err := nats.Connect(*bus, nats.MaxReconnects(-1))
	check(err)
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(inFlight),
		jetstream.WithPublishAsyncTimeout(5*time.Second))
	check(err)
	type item struct {
		future jetstream.PubAckFuture
		msg    *nats.Msg
	}
	window := make(chan item, inFlight)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for it := range window {
			for settled := false; !settled; {
				select {
				case <-it.future.Ok():
					settled = true
				case <-it.future.Err():
					time.Sleep(100 * time.Millisecond)
					again := &nats.Msg{Subject: it.msg.Subject, Data: it.msg.Data, Header: it.msg.Header}
					if future, err := js.PublishMsgAsync(again); err == nil {
						it.future = future
					}
				}
			}
			acked.Add(1)
		}
	}()
	run := time.Now().UnixMicro()
	put := func(payload []byte, number int64) {
		msg := &nats.Msg{Subject: *topic, Data: payload}
		if *ids {
			msg.Header = nats.Header{"Nats-Msg-Id": {fmt.Sprintf("%016x%016x", run, number)}}
		}
		for {
			if future, err := js.PublishMsgAsync(msg); err == nil {
				window <- item{future, msg}
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return put, func() { close(window); <-done }
}

func openKafka() (func([]byte, int64), func()) {
	client, err := kgo.NewClient(kgo.SeedBrokers(*bus), kgo.DefaultProduceTopic(*topic),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(100000), kgo.AllowAutoTopicCreation(),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	check(err)
	confirm := func(_ *kgo.Record, err error) {
		check(err)
		acked.Add(1)
	}
	put := func(payload []byte, _ int64) {
		client.Produce(context.Background(), &kgo.Record{Value: payload}, confirm)
	}
	return put, func() { check(client.Flush(context.Background())) }
}

func main() {
	flag.Parse()
	put, drain := openSink()
	conn, err := grpc.NewClient(*source, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithInitialWindowSize(2<<20), grpc.WithInitialConnWindowSize(2<<20),
		grpc.WithReadBufferSize(256<<10))
	check(err)
	request := &contract.EventSource{Name: "b", Config: []byte(*config)}
	start := time.Now()
	cpu, _ := usage()
	stream, err := contract.NewEventingClient(conn).StartEventSource(context.Background(), request)
	check(err)
	var count int64
	for {
		event, err := stream.Recv()
		if err != nil {
			break
		}
		put(event.Payload, count)
		count++
	}
	drain()
	seconds := time.Since(start).Seconds()
	cpuEnd, rss := usage()
	fmt.Printf("EVENTS_PER_S %.0f CPU_US %.3f COUNT %d REFUSED %d RSS_KIB %d\n", float64(count)/seconds,
		(cpuEnd-cpu)*1e6/float64(count), count, count-acked.Load(), rss)
}
