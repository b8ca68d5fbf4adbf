// The child: loads the plugin and runs one stage.
#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "plugin/entry.h"
#include "plugin/image.h"
#include "verify/process.h"
#include "verify/trial.h"
#include "verify/values.h"

namespace penstock::verify {
namespace {

constexpr rlim_t kCpuSeconds = 60;
constexpr rlim_t kDataBytes = 2ul << 30;
constexpr rlim_t kFiles = 1024;
constexpr int kHighDescriptor = 100;  // where a plugin that counts from 3 does not look
constexpr int kFreedByte = 0x5a;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // its shadow memory is beyond any bound
#else
constexpr bool kSanitized = false;
#endif

void Limit(int resource, rlim_t most) {
  rlimit now{};
  if (getrlimit(resource, &now) != 0) return;
  now.rlim_cur = std::min(most, now.rlim_max);
  setrlimit(resource, &now);
}

// What a constructor does to the process, seen from before and after.
void CompareLoad(Trial* trial, const ProcessState& before, milliseconds took) {
  const ProcessState after = ProcessState::Now();
  if (took > kSoon) {
    trial->Fault("load", "loading took " + std::to_string(took.count()) + " ms, more than " +
                             std::to_string(kSoon.count()) +
                             " ms; move the work of its constructors, or of its libraries', to "
                             "start()");
  }
  if (after.threads > before.threads) {
    trial->Fault("load-threads", "loading starts " +
                                     std::to_string(after.threads - before.threads) +
                                     " threads; start them in start(), for a host that only looks "
                                     "at the plugin");
  }
  if (const std::string left = NewDescriptors(before, after); !left.empty()) {
    trial->Fault("load-descriptors",
                 "loading leaves open: " + left + "; open what is needed in create() or start()");
  }
  if (const std::string changed = Changed(before, after); !changed.empty()) {
    trial->Fault("load-process", "loading changes " + changed +
                                     " of the whole process, which are the host's; leave them "
                                     "alone");
  }
  if (const std::string text = CapturedOutput(); !text.empty()) {
    trial->Fault("load-output", "loading prints \"" + text +
                                    "\", which may be the output of a sink; log through the host");
  }
}

void CheckTexts(Trial* trial, const penstock_plugin& plugin) {
  if (plugin.summary[0] == '\0')
    trial->Fault("options", "the plugin has no summary; say in a sentence what it does");
  for (size_t i = 0; i < plugin.n_options; ++i) {
    if (plugin.options[i].help[0] != '\0') continue;
    trial->Fault("options", "option \"" + std::string(plugin.options[i].name) +
                                "\" has no help, so nobody knows what it is for; give it a "
                                "sentence");
  }
}

// Loads the plugin as the host does; the entry lives as long as the process.
const penstock_plugin& Load(Trial* trial, const std::string& path) {
  trial->Begin("load");
  auto copy = plugin::ReadWhole(path);
  if (!copy) trial->Break(copy.error().message);
  const plugin::ElfFacts facts = plugin::ReadElf(copy->bytes);
  if (!facts.refusal.empty()) trial->Break(facts.refusal);
  const ProcessState before = ProcessState::Now();
  const auto start = std::chrono::steady_clock::now();
  trial->Step("its constructors");
  auto library = plugin::LoadCopy(copy->bytes, "penstock:verify " + facts.note->id, path);
  if (!library) trial->Break(library.error().message);
  CompareLoad(trial, before,
              std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start));
  auto* resident = new plugin::LoadedLibrary(std::move(*library));
  auto* entry = new plugin::Entry;
  trial->Begin("table");
  if (auto good = FindEntry(resident->library, *facts.note, entry); !good)
    trial->Break(good.error().message);
  return entry->table;
}

void RunStage(const std::string& stage, const Subject& subject) {
  if (stage == "load") {
    CheckTexts(&subject.trial, subject.plugin);
    if (const std::string fault = DefaultsFault(subject.plugin); !fault.empty())
      subject.trial.Fault("defaults", fault);
  } else if (stage == "options") {
    TryOptions(subject);
  } else if (stage == "create") {
    TryCreate(subject);
  } else if (stage == "life") {
    TryLife(subject);
  } else if (subject.plugin.kind == PENSTOCK_SOURCE) {
    TrySource(subject);
  } else {
    TrySink(subject);
  }
}

}  // namespace

// STAGE FILE SCRATCH CLOSED_PORT CONFIG OPTION...
void ChildMain(const std::vector<std::string>& arguments) {
  // Whoever asked is the only one who wants to know.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (arguments.size() < 5) _exit(2);
  Trial trial(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, kHighDescriptor));
  CaptureOutput();
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_CPU, kCpuSeconds);
  Limit(RLIMIT_NOFILE, kFiles);
  if (!kSanitized) Limit(RLIMIT_DATA, kDataBytes);
  mallopt(M_PERTURB, kFreedByte);  // who uses what is freed reads something else
  const Request given{arguments[1], arguments[4], {arguments.begin() + 5, arguments.end()}};
  std::error_code ignored;
  std::filesystem::create_directories(arguments[2], ignored);
  try {
    const penstock_plugin& plugin = Load(&trial, given.file);
    RunStage(arguments[0], {trial, plugin, arguments[2], given,
                            static_cast<uint16_t>(std::atoi(arguments[3].c_str()))});
    trial.End(true);
  } catch (const Broken&) {
    trial.End(false);
  }
  _exit(0);  // past the destructors, under which threads of the plugin may still run
}

}  // namespace penstock::verify
