// `penstock plugins verify`, the built binary: our own plugins pass, and each defect is found by
// the check that is meant for it.
#include "verify/verify.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "component/generic/test_server.h"
#include "fakes/nats_server.h"

namespace penstock::verify {
namespace {

using ::testing::HasSubstr;
using Names = std::set<std::string>;

struct Outcome {
  int code = -1;
  std::string out;
};

Outcome RunVerify(const std::string& arguments, const std::string& defect = "") {
  const std::string command = "PENSTOCK_BAD='" + defect + "' " PENSTOCK_BINARY " plugins verify " +
                              arguments + " 2>&1 </dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  Outcome outcome;
  std::array<char, 4096> chunk{};
  for (size_t n; (n = fread(chunk.data(), 1, chunk.size(), pipe)) > 0;)
    outcome.out.append(chunk.data(), n);
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

nlohmann::json VerifyFile(const std::string& arguments, int code, const std::string& defect = "") {
  const Outcome outcome = RunVerify(arguments + " --json", defect);
  EXPECT_EQ(outcome.code, code) << outcome.out;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

Names WithVerdict(const nlohmann::json& report, const std::string& verdict) {
  Names out;
  for (const auto& check : report["checks"])
    if (check["verdict"] == verdict) out.insert(check["name"]);
  return out;
}

std::string TextOf(const nlohmann::json& report, const std::string& name) {
  for (const auto& check : report["checks"])
    if (check["name"] == name) return check["text"];
  return "there is no check " + name;
}

// ---- plugins that are as they should be

struct Good {
  const char *name, *arguments;
  Names skipped;
};

void PrintTo(const Good& good, std::ostream* out) { *out << good.name; }

class GoodPlugin : public ::testing::TestWithParam<Good> {};

TEST_P(GoodPlugin, Passes) {
  const auto report = VerifyFile(GetParam().arguments, 0);
  EXPECT_EQ(report["verdict"], "pass");
  EXPECT_EQ(WithVerdict(report, "fail"), Names{}) << report.dump(1);
  EXPECT_EQ(WithVerdict(report, "warn"), Names{}) << report.dump(1);
  EXPECT_EQ(WithVerdict(report, "skip"), GetParam().skipped) << report.dump(1);
}

INSTANTIATE_TEST_SUITE_P(
    Verify, GoodPlugin,
    ::testing::Values(
        Good{"generic", OWN_PLUGINS "/source-generic.so", {"run-full", "events", "rest", "owners"}},
        Good{"generator", OWN_PLUGINS "/source-generator.so", {"error-text", "rest"}},
        Good{"nats", OWN_PLUGINS "/sink-nats-jetstream.so", {"error-text"}},
        Good{"kafka",
             OWN_PLUGINS "/sink-kafka.so --option client.bootstrap.servers=127.0.0.1:1",
             {"error-text", "receipts", "stop-receipts"}},
        Good{"stdout", OWN_PLUGINS "/sink-stdout.so", {"error-text"}},
        Good{"file", OWN_PLUGINS "/sink-file.so", {"error-text"}},
        Good{"null", OWN_PLUGINS "/sink-null.so", {"error-text"}},
        Good{"heartbeat",
             EXAMPLE_PLUGINS "/source-heartbeat.so --option text=hello --option interval=1ms",
             {"error-text", "rest"}},
        Good{"tally", EXAMPLE_PLUGINS "/sink-tally.so", {"error-text"}},
        Good{"withoutdefectsink", BAD_PLUGINS "/sink/sink-bad.so", {"error-text"}},
        Good{"withoutdefectsource", BAD_PLUGINS "/source/source-bad.so", {"error-text"}}),
    [](const auto& test) { return test.param.name; });

// With somebody who answers nothing is skipped that matters.
TEST(VerifyWithPeer, ASourceIsTriedOnItsEvents) {
  testing::TestServer server({});
  const auto report = VerifyFile(
      OWN_PLUGINS "/source-generic.so --option insecure=true --option url=" + server.url(), 0);
  EXPECT_EQ(WithVerdict(report, "skip"), Names{"rest"}) << report.dump(1);
}

#ifdef VERIFY_WITH_NATS
TEST(VerifyWithPeer, ASinkIsTriedOnItsReceipts) {
  const fakes::NatsServer server;
  const auto report = VerifyFile(OWN_PLUGINS
                                     "/sink-nats-jetstream.so --option stream.create=true --option "
                                     "stream.name=S --option stream.subjects=verify "
                                     "--option servers=" +
                                     server.address(),
                                 0);
  EXPECT_EQ(WithVerdict(report, "skip"), Names{"error-text"}) << report.dump(1);
}
#endif

// ---- files that are wrong in themselves

struct BadFile {
  const char *folder, *file, *check, *text;
};

void PrintTo(const BadFile& bad, std::ostream* out) { *out << bad.folder; }

class VerifyBadFile : public ::testing::TestWithParam<BadFile> {};

TEST_P(VerifyBadFile, IsFoundByItsCheck) {
  const BadFile& bad = GetParam();
  const auto report = VerifyFile(std::string(BAD_PLUGINS "/") + bad.folder + "/" + bad.file, 1);
  EXPECT_EQ(WithVerdict(report, "fail"), Names{bad.check}) << report.dump(1);
  EXPECT_THAT(TextOf(report, bad.check), HasSubstr(bad.text));
}

INSTANTIATE_TEST_SUITE_P(
    Verify, VerifyBadFile,
    ::testing::Values(BadFile{"without_note", "sink-bad.so", "file", "no Penstock note"},
                      BadFile{"executable_stack", "sink-bad.so", "file", "executable stack"},
                      BadFile{"nowhere", "sink-bad.so", "file", "No such file"},
                      BadFile{"misnamed", "sink-other.so", "name", "rename it to sink-bad.so"},
                      BadFile{"no_name", "bad.so", "name", "rename it to sink-bad.so"},
                      BadFile{"open", "sink-bad.so", "exports", "bad_helper"},
                      BadFile{"unloadable", "sink-bad.so", "nodelete", "-z,nodelete"},
                      BadFile{"relative", "sink-bad.so", "runpath", "\"lib\""}),
    [](const auto& test) { return test.param.folder; });

TEST(VerifyFile, AWarningIsNoFailure) {
  const auto elsewhere = VerifyFile(BAD_PLUGINS "/elsewhere/sink-bad.so", 0);
  EXPECT_EQ(WithVerdict(elsewhere, "warn"), Names{"runpath"});
  const auto protobuf = VerifyFile(BAD_PLUGINS "/protobuf/sink-bad.so", 0);
  EXPECT_EQ(WithVerdict(protobuf, "warn"), Names{"protobuf"});
  EXPECT_THAT(TextOf(protobuf, "protobuf"), HasSubstr("LITE_RUNTIME"));
}

// ---- defects that show at work

struct Defect {
  const char *plugin, *defect, *check, *text;
  Names also{};  // what cannot but fail with it
};

void PrintTo(const Defect& defect, std::ostream* out) { *out << defect.defect; }

class VerifyDefect : public ::testing::TestWithParam<Defect> {};

TEST_P(VerifyDefect, IsFoundByItsCheck) {
  const Defect& bad = GetParam();
  const std::string file = std::string(BAD_PLUGINS "/") + bad.plugin + "/" + bad.plugin + "-bad.so";
  const auto report = VerifyFile(file, 1, bad.defect);
  EXPECT_EQ(report["verdict"], "fail");
  Names expected = bad.also;
  expected.insert(bad.check);
  EXPECT_EQ(WithVerdict(report, "fail"), expected) << report.dump(1);
  EXPECT_THAT(TextOf(report, bad.check), HasSubstr(bad.text));
}

const Defect kDefects[] = {
    {"sink", "load-thread", "load-threads", "1 thread"},
    {"sink", "load-print", "load-output", "prints \"hello"},
    {"sink", "load-open", "load-descriptors", "/dev/null"},
    {"sink", "load-signal", "load-process", "the signal handlers"},
    {"sink", "load-locale", "load-process", "the locale"},
    {"sink", "load-environment", "load-process", "the environment"},
    {"sink", "load-slow", "load", "more than 2000 ms"},
    {"sink", "load-crash", "load", "crashes in its constructors (Segmentation fault)"},
    {"sink", "load-exit", "load", "ends the whole process in its constructors"},
    {"sink", "version", "table", "version"},
    {"sink", "option-twice", "table", "stands there twice"},
    {"sink", "option-name", "table", "an option's name"},
    {"sink", "default-choice", "table", "not among its choices"},
    {"sink", "default-bounds", "defaults", "must be from 1 to 9, found 99"},
    {"sink", "default-type", "defaults", "has a default that cannot be read"},
    {"sink", "no-help", "options", "\"text\" has no help"},
    {"sink", "no-summary", "options", "no summary"},
    {"sink", "check-refuses", "check", "text: is never right; give real ones, --option text="},
    {"sink", "check-crash", "check", "crashes in check()"},
    {"sink", "check-hang", "check", "hangs in check()"},
    {"sink", "create-crash", "create", "crashes in create()"},
    {"sink", "create-throw", "create", "threw an exception (this goes too far)"},
    {"sink", "create-refuses", "create", "nothing is right"},
    {"sink", "create-thread", "create", "starts a thread"},
    {"sink", "create-print", "create", "prints \"hello"},
    {"sink", "create-leak", "create-leaks", "6 more file descriptors", {"start-leaks"}},
    {"sink", "destroy-crash", "create", "crashes in destroy()"},
    {"sink", "empty-crash", "bad-options", "crashes in create()"},
    {"sink", "empty-silent", "error-text", "without a text"},
    {"sink", "empty-no-nul", "error-text", "no NUL"},
    {"sink", "start-fails", "start", "nobody answers"},
    {"sink", "start-slow", "start", "at most 5000 ms"},
    {"sink", "start-leak", "start-leaks", "6 more threads"},
    {"sink", "stop-slow", "stop", "at most 2000 ms"},
    {"sink", "stop-hang", "stop", "hangs in stop()"},
    {"sink", "stop-twice", "order", "crashes in stop()"},
    {"sink", "submit-blocks", "submit", "at most 2000 ms"},
    {"sink", "submit-crash", "submit", "crashes in submit()"},
    {"sink", "accepts-too-many", "submit", "accepted 17 of 16"},
    {"sink", "receipt-twice", "receipts", "two receipts"},
    {"sink", "receipt-foreign", "receipts", "which no message had"},
    {"sink", "receipt-unaccepted", "receipts", "did not accept"},
    {"sink", "receipt-outcome", "receipts", "outcome 17"},
    {"sink", "receipt-lost", "stop-receipts", "1 of 352 accepted messages had no receipt"},
    {"sink", "metric", "host-calls", "\"Sent\""},
    {"sink", "state", "host-calls", "the state 77"},
    {"sink", "early-receipt", "host-calls", "given no message", {"receipts"}},
    {"sink", "late-receipt", "quiet", "host->complete() after destroy()"},
    {"source", "run-gives-up", "run", "gave up: nobody answers"},
    {"source", "run-crash", "run", "crashes in"},
    {"source", "run-ignores-stop", "run", "5 s after stop()"},
    {"source", "run-ignores-stopped", "run-full", "answered STOPPED"},
    {"source", "run-forgets", "run-stopped", "stop() came before it"},
    {"source", "event-id-long", "events", "129 bytes"},
    {"source", "event-id-twice", "events", "comes twice"},
    {"source", "event-attribute", "events", "\"No_Such\""},
    {"source", "rest-dropped", "rest", "offer the rest again"},
    {"source", "late-log", "quiet", "host->log() after destroy()"},
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    // What a sanitizer allocates, or sees for itself.
    {"sink", "create-memory", "create", "crashes in create()"},
    {"sink", "reads-later", "submit", "crashes in submit()"},
    {"source", "owner-frees-early", "owners", "changed before the host released its owner"},
#endif
};

INSTANTIATE_TEST_SUITE_P(Verify, VerifyDefect, ::testing::ValuesIn(kDefects), [](const auto& test) {
  std::string name = test.param.defect;
  std::replace(name.begin(), name.end(), '-', '_');
  return std::string(test.param.plugin) + "_" + name;
});

// ---- the command

TEST(VerifyCommand, SaysForPeopleWhatFailed) {
  const Outcome outcome = RunVerify(BAD_PLUGINS "/sink/sink-bad.so", "receipt-twice");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, HasSubstr("sink-bad.so: sink bad 1.0.0, plugin ABI "));
  EXPECT_THAT(outcome.out, HasSubstr("\n  FAIL  receipts\n    a message got two receipts"));
  EXPECT_THAT(outcome.out, HasSubstr("\n  pass  quiet "));
  EXPECT_THAT(outcome.out, HasSubstr(", 1 failed\n"));
}

TEST(VerifyCommand, TakesOptionsFromAConfiguration) {
  const std::string path = ::testing::TempDir() + "verify-" + std::to_string(getpid()) + ".toml";
  std::ofstream(path) << "[sources.a]\nplugin = \"generator\"\n[sinks.b]\nplugin = \"bad\"\n"
                      << "from = [\"a\"]\ntext = \"hello\"\nsize = 3\n";
  VerifyFile(BAD_PLUGINS "/sink/sink-bad.so --config " + path, 0);
  std::ofstream(path, std::ios::app) << "colour = 1\n";
  const auto report = VerifyFile(BAD_PLUGINS "/sink/sink-bad.so --config " + path, 1);
  EXPECT_THAT(TextOf(report, "check"), HasSubstr("unknown key \"colour\""));
  const auto other = VerifyFile(BAD_PLUGINS "/source/source-bad.so --config " + path, 1);
  EXPECT_THAT(TextOf(other, "check"), HasSubstr("no table has plugin = \"bad\""));
  std::remove(path.c_str());
}

TEST(VerifyCommand, GivenOptionsAreChecked) {
  const auto unknown = VerifyFile(BAD_PLUGINS "/sink/sink-bad.so --option colour=red", 1);
  EXPECT_THAT(TextOf(unknown, "check"), HasSubstr("unknown key \"colour\""));
  const auto bound = VerifyFile(BAD_PLUGINS "/sink/sink-bad.so --option size=77", 1);
  EXPECT_THAT(TextOf(bound, "check"), HasSubstr("must be from 1 to 9, found 77"));
}

TEST(VerifyCommand, WrongUsageIsExitCode2) {
  for (const char* arguments : {"", "x.so --option", "x.so --option text", "x.so y.so",
                                "x.so --option a=b --config c", "x.so --frob"})
    EXPECT_EQ(RunVerify(arguments).code, 2) << arguments;
}

TEST(VerifyDocument, NamesEveryCheck) {
  std::ifstream in(PLUGINS_DOCUMENT);
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  for (const CheckInfo& check : AllChecks())
    EXPECT_THAT(text, HasSubstr("`" + std::string(check.name) + "`"));
}

}  // namespace
}  // namespace penstock::verify
