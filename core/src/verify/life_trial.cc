// Making, starting and ending instances.
#include "verify/host.h"
#include "verify/process.h"
#include "verify/values.h"

namespace penstock::verify {
namespace {

constexpr size_t kFirstCycles = 3;  // after which what is made once per process is there
constexpr size_t kMoreCycles = 6;
constexpr milliseconds kSettles{3'000};

// Runs the cycle until libraries have made what they keep, and then some more: whatever grows by
// one in each is a leak.
template <typename Cycle>
void WatchGrowth(const Subject& subject, const char* calls, const Cycle& cycle) {
  for (size_t i = 0; i < kFirstCycles; ++i) cycle();
  const size_t threads = CountThreads(), descriptors = CountDescriptors();
  for (size_t i = 0; i < kMoreCycles; ++i) cycle();
  const auto grown = [](size_t now, size_t before) { return now >= before + kMoreCycles; };
  if (Await(kSettles, [&] {
        return !grown(CountThreads(), threads) && !grown(CountDescriptors(), descriptors);
      }))
    return;
  const bool fds = grown(CountDescriptors(), descriptors);
  subject.trial.Fault(
      std::string("after ") + std::to_string(kMoreCycles) + " times " + calls + " there are " +
      (fds ? std::to_string(CountDescriptors() - descriptors) + " more file descriptors"
           : std::to_string(CountThreads() - threads) + " more threads") +
      "; destroy() must " + (fds ? "close" : "end and join") + " what create() and start() made");
}

}  // namespace

void TryCreate(const Subject& subject) {
  subject.trial.Begin("check");
  const config::Options options = GoodOptions(subject);
  subject.trial.Begin("create");
  const size_t threads = CountThreads();
  Instance instance(subject, new Host(&subject.trial));
  instance.Create(options);
  if (CountThreads() > threads)
    subject.trial.Fault("create() starts a thread; leave that to start()");
  if (subject.plugin.extension != nullptr &&
      subject.plugin.extension(instance.get(), "penstock.no-such-extension") != nullptr)
    subject.trial.Fault("extension() has an answer for a name that nobody knows; answer NULL");
  instance.Destroy();
  if (const std::string text = CapturedOutput(); !text.empty())
    subject.trial.Fault("prints \"" + text + "\"; log through the host instead");
  subject.trial.Begin("create-leaks");
  WatchGrowth(subject, "create() and destroy()", [&] { CreateAndDestroy(subject, options); });
}

void TryOptions(const Subject& subject) {
  subject.trial.Begin("bad-options");
  bool failed = false;
  for (const config::Options& options : BadOptions(subject)) {
    RunCheck(subject, options);
    failed = CreateAndDestroy(subject, options) != PENSTOCK_OK || failed;
  }
  subject.trial.Begin("error-text");
  if (!failed) subject.trial.Say("error-text", Verdict::kSkip, "no options made create() fail");
}

void TryLife(const Subject& subject) {
  subject.trial.Begin("start");
  const config::Options options = GoodOptions(subject);
  const auto cycle = [&](const char* stop_check) {
    Instance instance(subject, new Host(&subject.trial));
    instance.Create(options);
    instance.Start();
    subject.trial.Begin(stop_check);
    instance.Stop();
    instance.Destroy();
  };
  cycle("stop");
  subject.trial.Begin("order");
  {  // never started
    Instance instance(subject, new Host(&subject.trial));
    instance.Create(options);
    instance.Stop();
    instance.Destroy();
  }
  {  // never stopped
    Instance instance(subject, new Host(&subject.trial));
    instance.Create(options);
    instance.Start();
    instance.Destroy();
  }
  {  // two at once; one stopped twice
    Instance one(subject, new Host(&subject.trial)), other(subject, new Host(&subject.trial));
    one.Create(options);
    other.Create(options);
    one.Start();
    other.Start();
    one.Stop();
    one.Stop();
    one.Destroy();
    other.Stop();
    other.Destroy();
  }
  subject.trial.Begin("start-leaks");
  WatchGrowth(subject, "create(), start(), stop() and destroy()", [&] { cycle("start-leaks"); });
}

}  // namespace penstock::verify
