#include "verify/verify.h"

namespace penstock::verify {
namespace {

constexpr uint32_t kBoth = 0;
constexpr CheckInfo kChecks[] = {
    {"file", Stage::kFile, kBoth, true, "a shared object for this host, with a sound note"},
    {"name", Stage::kFile, kBoth, false, "the file is named after the plugin in its note"},
    {"libraries", Stage::kFile, kBoth, true, "every library that it needs is there"},
    {"exports", Stage::kFile, kBoth, false, "exports penstock_plugin_entry and nothing else"},
    {"nodelete", Stage::kFile, kBoth, false, "is marked as never to be unloaded"},
    {"runpath", Stage::kFile, kBoth, false, "looks for libraries in the system's places only"},
    {"protobuf", Stage::kFile, kBoth, false, "does not use the full protobuf runtime"},

    {"load", Stage::kLoad, kBoth, true, "is loaded within 2 s"},
    {"load-threads", Stage::kLoad, kBoth, false, "loading starts no thread"},
    {"load-descriptors", Stage::kLoad, kBoth, false, "loading leaves no file descriptor open"},
    {"load-process", Stage::kLoad, kBoth, false,
     "loading leaves signals, locale, environment, directory, umask and streams alone"},
    {"load-output", Stage::kLoad, kBoth, false, "loading prints nothing"},
    {"table", Stage::kLoad, kBoth, true, "the entry is sound and agrees with the note"},
    {"options", Stage::kLoad, kBoth, false, "the plugin and each option say what they are for"},
    {"defaults", Stage::kLoad, kBoth, true, "the defaults parse and lie within their bounds"},

    {"check", Stage::kCreate, kBoth, true, "check() accepts the defaults"},
    {"create", Stage::kCreate, kBoth, true, "create() starts no thread and prints nothing"},
    {"create-leaks", Stage::kCreate, kBoth, false, "create() and destroy() leave nothing behind"},

    {"bad-options", Stage::kOptions, kBoth, false,
     "check() and create() survive options that make no sense"},
    {"error-text", Stage::kOptions, kBoth, false, "a failing create() says why, within its bounds"},

    {"start", Stage::kLife, kBoth, true, "start() succeeds although no peer answers"},
    {"stop", Stage::kLife, kBoth, true, "stop() does not wait, and destroy() not for long"},
    {"order", Stage::kLife, kBoth, false,
     "stop() may come early and twice, destroy() at once, and two may live together"},
    {"start-leaks", Stage::kLife, kBoth, false, "start() to destroy() leaves nothing behind"},

    {"run", Stage::kRun, PENSTOCK_SOURCE, false, "run() lasts until stop() and ends soon after"},
    {"run-full", Stage::kRun, PENSTOCK_SOURCE, false, "run() ends when emit answers STOPPED"},
    {"run-stopped", Stage::kRun, PENSTOCK_SOURCE, false, "run() after stop() ends at once"},
    {"events", Stage::kRun, PENSTOCK_SOURCE, false, "what it emits is as plugin.h says"},
    {"rest", Stage::kRun, PENSTOCK_SOURCE, false, "what emit does not take is offered again"},
    {"owners", Stage::kRun, PENSTOCK_SOURCE, false, "events keep their bytes until released"},
    {"submit", Stage::kRun, PENSTOCK_SINK, false, "submit() does not block"},
    {"receipts", Stage::kRun, PENSTOCK_SINK, false,
     "each accepted message gets one receipt, no other gets any"},
    {"stop-receipts", Stage::kRun, PENSTOCK_SINK, false,
     "after stop() what is left gets its receipts within 5 s"},
    {"host-calls", Stage::kRun, kBoth, false, "it calls the host with sound arguments"},
    {"quiet", Stage::kRun, kBoth, false, "it does not call the host after destroy()"},
};

}  // namespace

std::span<const CheckInfo> AllChecks() { return kChecks; }

std::string_view VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "pass";
    case Verdict::kWarning:
      return "warn";
    case Verdict::kFail:
      return "fail";
    default:
      return "skip";
  }
}

size_t Report::Count(Verdict verdict) const {
  size_t n = 0;
  for (const Check& check : checks) n += check.verdict == verdict ? 1 : 0;
  return n;
}

}  // namespace penstock::verify
