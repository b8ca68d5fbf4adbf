// Runs the plugin on the SDK's fake host: journal_test ./sink-journal.so
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <penstock/fakes.hpp>

namespace {

using namespace penstock::fakes;

void Expect(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "does not hold: " << what << "\n";
  std::exit(1);
}

std::string TemporaryFile() {
  char name[] = "/tmp/journal-test-XXXXXX";
  if (mkstemp(name) < 0) std::exit(1);
  return name;
}

void WritesEachEventOnce(const penstock_plugin& plugin) {
  const std::string path = TemporaryFile();
  FakeSinkHost host;
  {
    FakeSink sink(host, plugin, {{"path", path}});
    sink.Start();
    std::vector<FakeMessage> messages;
    for (int i = 0; i < 3000; ++i) messages.push_back({"event " + std::to_string(i), {"orders"}});
    sink.Submit(std::move(messages));
    Expect(host.WaitReceipts(3000), "each gets a receipt");
  }
  Expect(host.count(PENSTOCK_DELIVERED) == 3000, "each is delivered");
  Expect(host.faults().empty(), "it keeps the contract");
  std::ifstream file(path);
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines)
    Expect(line == "orders event " + std::to_string(lines), "the lines are in order");
  Expect(lines == 3000, "each is a line");
  std::remove(path.c_str());
}

void MayBeDestroyedWithoutAStop(const penstock_plugin& plugin) {
  const std::string path = TemporaryFile();
  const FakeConfig config(plugin, {{"path", path}});
  FakeSinkHost host;
  penstock_instance* instance = nullptr;
  penstock_error error{};
  error.struct_size = sizeof error;
  Expect(plugin.create(host.abi(), config.abi(), &instance, &error) == PENSTOCK_OK, "it is made");
  Expect(plugin.start(instance, &error) == PENSTOCK_OK, "it starts");
  plugin.destroy(instance);
  std::remove(path.c_str());
}

void SaysWhatItCannotOpen(const penstock_plugin& plugin) {
  FakeSinkHost host;
  FakeSink sink(host, plugin, {{"path", "/nonexistent/journal"}});
  try {
    sink.Start();
    Expect(false, "start fails");
  } catch (const std::runtime_error& e) {
    Expect(std::string(e.what()).find("/nonexistent/journal") != std::string::npos, "it is named");
  }
}

}  // namespace

int main(int, char** argv) {
  const penstock_plugin& plugin = LoadPlugin(argv[1]);
  WritesEachEventOnce(plugin);
  MayBeDestroyedWithoutAStop(plugin);
  SaysWhatItCannotOpen(plugin);
  Expect(Check(plugin, {{"path", "journal"}}).size() == 1, "check() wants an absolute path");
}
