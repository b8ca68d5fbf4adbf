// An event server of the generic contract, for tests. ../README.md describes its flags, lines and payloads.
package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"penstock.test/server/contract"
)

// What one stream does.
type streamFlags struct {
	count, first  uint64
	size          int
	rate          float64
	burst         uint64
	closeAfter    int64
	status        string
	oversizeAt    int64
	oversizeSize  int
	json, binary  bool
	resume, early bool
}

func (f *streamFlags) register(set *flag.FlagSet) {
	set.Uint64Var(&f.count, "count", f.count, "events; 0: no end. After the last one the stream stays open")
	set.Uint64Var(&f.first, "first", f.first, "number of the first event")
	set.IntVar(&f.size, "size", f.size, "bytes of a payload")
	set.Float64Var(&f.rate, "rate", f.rate, "events a second; 0: as many as go out")
	set.Uint64Var(&f.burst, "burst", f.burst, "of those so many at once")
	set.Int64Var(&f.closeAfter, "close-after", f.closeAfter, "end the stream after so many events")
	set.StringVar(&f.status, "status", f.status, "with this code")
	set.Int64Var(&f.oversizeAt, "oversize-at", f.oversizeAt, "the event of this number has oversize-size bytes")
	set.IntVar(&f.oversizeSize, "oversize-size", f.oversizeSize, "")
	set.BoolVar(&f.json, "json", f.json, "the default")
	set.BoolVar(&f.binary, "binary", f.binary, "binary payloads")
	set.BoolVar(&f.resume, "resume", f.resume, "the numbers go on where the last stream ended")
	set.BoolVar(&f.early, "early-headers", f.early, "answer before the first event")
}

// Words "key=value" among others that are left alone, separated by white space or commas.
func (f streamFlags) withConfig(config string) (streamFlags, error) {
	set := flag.NewFlagSet("config", flag.ContinueOnError)
	f.register(set)
	for _, word := range strings.FieldsFunc(config, func(r rune) bool { return strings.ContainsRune(" \t\r\n,", r) }) {
		key, value, given := strings.Cut(word, "=")
		if set.Lookup(key) == nil {
			continue
		}
		if !given {
			value = "true"
		}
		if err := set.Set(key, value); err != nil {
			return f, fmt.Errorf("%s: %w", word, err)
		}
	}
	return f, nil
}

func (f streamFlags) payload(number uint64, id string) []byte {
	size := f.size
	if f.oversizeAt >= 0 && number == uint64(f.oversizeAt) {
		size = f.oversizeSize
	}
	if f.binary {
		return binaryPayload(number, id, size)
	}
	return jsonPayload(number, id, size)
}

func (f streamFlags) end() error {
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(strconv.Quote(f.status))); err != nil {
		n, _ := strconv.Atoi(f.status)
		code = codes.Code(n)
	}
	if code == codes.OK {
		return nil
	}
	return status.Error(code, "as --status says")
}

type server struct {
	contract.UnimplementedEventingServer
	id, token string
	flags     streamFlags
	streams   atomic.Uint64
	number    atomic.Uint64
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (s *server) StartEventSource(request *contract.EventSource, stream grpc.ServerStreamingServer[contract.Event]) error {
	id := s.streams.Add(1)
	headers, _ := metadata.FromIncomingContext(stream.Context())
	authorization := first(headers.Get("authorization"))
	from, _ := peer.FromContext(stream.Context())
	fmt.Printf("STREAM %d name=%x config=%x authorization=%x agent=%x peer=%s\n", id, request.GetName(),
		request.GetConfig(), authorization, first(headers.Get("user-agent")), from.Addr)
	if s.token != "" && authorization != "Bearer "+s.token {
		fmt.Printf("END %d sent=0 bytes=0\n", id)
		return status.Error(codes.Unauthenticated, "wrong or no bearer token")
	}
	flags, err := s.flags.withConfig(string(request.GetConfig()))
	if err != nil {
		return status.Error(codes.InvalidArgument, "config: "+err.Error())
	}
	return s.send(id, flags, request.GetName(), stream)
}

// Sends until the stream is to end or the client has gone.
func (s *server) send(id uint64, flags streamFlags, name string, stream grpc.ServerStreamingServer[contract.Event]) error {
	number := flags.first
	if flags.resume {
		number = s.number.Load()
	}
	var sent, bytes uint64
	defer func() {
		s.number.Store(number)
		fmt.Printf("END %d sent=%d bytes=%d\n", id, sent, bytes)
	}()
	if flags.early {
		if err := stream.SendHeader(nil); err != nil {
			return err
		}
	}
	start := time.Now()
	for flags.closeAfter < 0 || sent < uint64(flags.closeAfter) {
		if flags.count > 0 && sent == flags.count {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		if flags.rate > 0 {
			due := start.Add(time.Duration(float64(sent/flags.burst*flags.burst) / flags.rate * float64(time.Second)))
			select {
			case <-stream.Context().Done():
				return stream.Context().Err()
			case <-time.After(time.Until(due)):
			}
		}
		payload := flags.payload(number, fmt.Sprintf("%s-%d", s.id, id))
		if err := stream.Send(&contract.Event{Name: name, Payload: payload}); err != nil {
			return err
		}
		sent++
		number++
		bytes += uint64(len(payload))
	}
	return flags.end()
}

func transport(certFile, keyFile, caFile string) (grpc.ServerOption, error) {
	if certFile == "" {
		return grpc.EmptyServerOption{}, nil
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New(caFile + " holds no certificate")
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return grpc.Creds(credentials.NewTLS(config)), nil
}

func listen(port int, address string) (net.Listener, error) {
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}

func serve() error {
	s := &server{flags: streamFlags{size: 256, burst: 1, closeAfter: -1, oversizeAt: -1, oversizeSize: 5 << 20, status: "OK"}}
	s.flags.register(flag.CommandLine)
	port := flag.Int("port", 0, "0: a free one")
	address := flag.String("listen", "", "instead of a port: unix:/path")
	flag.StringVar(&s.id, "id", "", "in the payloads; made up when empty")
	flag.StringVar(&s.token, "token", "", "bearer that a client must show")
	cert := flag.String("tls-cert", "", "")
	key := flag.String("tls-key", "", "")
	ca := flag.String("tls-ca", "", "demand a client certificate of this authority")
	flag.Parse()
	if s.id == "" {
		random := make([]byte, 4)
		_, _ = rand.Read(random)
		s.id = hex.EncodeToString(random)
	}
	s.number.Store(s.flags.first)
	creds, err := transport(*cert, *key, *ca)
	if err != nil {
		return err
	}
	listener, err := listen(*port, *address)
	if err != nil {
		return err
	}
	g := grpc.NewServer(creds)
	contract.RegisterEventingServer(g, s)
	if tcp, isTCP := listener.Addr().(*net.TCPAddr); isTCP {
		fmt.Printf("PORT %d\n", tcp.Port)
	} else {
		fmt.Println("PORT 0")
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		g.Stop()
	}()
	return g.Serve(listener)
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "test server:", err)
		os.Exit(2)
	}
}
