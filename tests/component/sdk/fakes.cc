// fakes.hpp alone, with an instance of each.
#include <penstock/fakes.hpp>

void Use(const penstock_plugin& plugin);
void Use(const penstock_plugin& plugin) {
  penstock::fakes::FakeSinkHost sinks;
  const penstock::fakes::FakeSink sink(sinks, plugin, {{"text", "a"}, {"number", 1}});
  penstock::fakes::FakeSourceHost sources;
  const penstock::fakes::FakeSource source(sources, plugin, {});
}
