// Runs the plugin on the SDK's fake host: heartbeat_test ./source-heartbeat.so
#include <cstdlib>
#include <iostream>
#include <penstock/fakes.hpp>

namespace {

using namespace penstock::fakes;

void Expect(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "does not hold: " << what << "\n";
  std::exit(1);
}

void EmitsWhatItIsTold(const penstock_plugin& plugin) {
  FakeSourceHost host;
  FakeSource source(host, plugin,
                    {{"text", "beat"}, {"interval", std::chrono::milliseconds(1)}, {"count", 3}});
  source.Run();
  Expect(source.WaitReturned(), "it is finished after three");
  const std::vector<FakeEvent> events = host.events();
  Expect(events.size() == 3 && events[2].payload == "beat 3", "the third says beat 3");
  Expect(events[0].content_type == "text/plain", "each is text");
}

void StopsWhileItWaits(const penstock_plugin& plugin) {
  FakeSourceHost host;
  FakeSource source(host, plugin, {{"text", "beat"}, {"interval", std::chrono::hours(1)}});
  source.Run();
  Expect(host.WaitEvents(1), "the first comes at once");
  Expect(source.StopAndTime() < std::chrono::seconds(5), "stop does not wait for the interval");
  Expect(host.faults().empty(), "it keeps the contract");
}

void RefusesAnEmptyText(const penstock_plugin& plugin) {
  const auto found = Check(plugin, {{"text", ""}});
  Expect(found.size() == 1 && found[0].option == "text", "check() names the option");
}

}  // namespace

int main(int, char** argv) {
  const penstock_plugin& plugin = LoadPlugin(argv[1]);
  EmitsWhatItIsTold(plugin);
  StopsWhileItWaits(plugin);
  RefusesAnEmptyText(plugin);
}
