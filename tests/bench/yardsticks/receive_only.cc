// What it costs to read the stream with gRPC's synchronous client and one re-used message, and to
// do nothing with it. Usage: receive_only GRPC_PORT COUNT SIZE. Prints "EVENTS_PER_S x CPU_US y".
#include <grpcpp/grpcpp.h>

#include "generic.grpc.pb.h"
#include "http2.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  auto channel = grpc::CreateCustomChannel(std::string("127.0.0.1:") + argv[1],
                                           grpc::InsecureChannelCredentials(), args);
  const auto stub = generic::Eventing::NewStub(channel);
  generic::EventSource request;
  request.set_name("b");
  request.set_config(std::string(argv[2]) + ' ' + argv[3]);
  const double start = yardstick::Seconds(), cpu = yardstick::CpuSeconds();
  grpc::ClientContext context;
  const auto reader = stub->StartEventSource(&context, request);
  generic::Event event;
  long n = 0;
  while (reader->Read(&event)) ++n;
  const double time = yardstick::Seconds() - start;
  std::printf("EVENTS_PER_S %.0f CPU_US %.3f COUNT %ld REFUSED 0\n", static_cast<double>(n) / time,
              (yardstick::CpuSeconds() - cpu) * 1e6 / static_cast<double>(n), n);
  return reader->Finish().ok() ? 0 : 1;
}
