#include "verify/verify.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "platform/child.h"
#include "verify/file_checks.h"
#include "verify/trial.h"

namespace penstock::verify {
namespace {

constexpr size_t kMostLines = 10'000;

// A directory for what the plugin is told to write, removed with all in it.
class Scratch {
 public:
  Scratch() {
    std::string path = std::filesystem::temp_directory_path() / "verify-XXXXXX";
    if (mkdtemp(path.data()) != nullptr) path_ = path;
  }
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A port of the loopback address that nobody listens on, and nobody else can get meanwhile.
class ClosedPort {
 public:
  ClosedPort() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(socket_, generic, size) == 0 && getsockname(socket_, generic, &size) == 0)
      port_ = ntohs(address.sin_port);
  }
  ~ClosedPort() { close(socket_); }
  ClosedPort(const ClosedPort&) = delete;
  ClosedPort& operator=(const ClosedPort&) = delete;
  uint16_t port() const { return port_; }

 private:
  const int socket_;
  uint16_t port_ = 9;
};

// What a child said of its stage.
struct Heard {
  std::map<std::string, Check> said;
  std::set<std::string> begun;
  std::string current = "load", step = "its start";
  bool done = false, broken = false;
};

bool Hear(std::string_view line, Heard* heard) {
  const auto word = [&line] {
    const size_t end = std::min(line.find(' '), line.size());
    const std::string out(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
    return out;
  };
  const std::string what = word();
  if (what == "begin") {
    heard->current = line;
    heard->begun.insert(heard->current);
  } else if (what == "step") {
    heard->step = line;
  } else if (what == "done" || what == "broken") {
    (what == "done" ? heard->done : heard->broken) = true;
  } else {
    for (const Verdict verdict : {Verdict::kWarning, Verdict::kFail, Verdict::kSkip}) {
      if (what != VerdictName(verdict)) continue;
      const std::string name = word();
      heard->said.emplace(name, Check{name, verdict, std::string(line)});
    }
  }
  return heard->said.size() + heard->begun.size() < kMostLines;
}

// Why a child that is not done has ended.
std::string HowItEnded(const ChildOutcome& outcome, const std::string& step) {
  const std::string in = " in " + step;
  if (outcome.end == ChildEnd::kSilent) {
    return "hangs" + in + ": it did not return within " +
           std::to_string(kCallSilence.count() / 1000) +
           " s and was ended; make it return, the gateway would hang as well";
  }
  if (outcome.end == ChildEnd::kTooMuch) return "says more than it should" + in;
  if (outcome.end == ChildEnd::kExited) {
    return "ends the whole process" + in + " (exit code " + std::to_string(outcome.number) +
           "); return an error instead";
  }
  const std::string signal = strsignal(outcome.number);
  if (outcome.number == SIGXCPU) return "used too much processor time" + in + " and was ended";
  if (outcome.number == SIGKILL)
    return "was killed from outside" + in + ", perhaps as memory ran out; try again";
  if (outcome.number == SIGABRT) {
    return "ends the process" + in + " (" + signal +
           "): an exception left a function that must not throw, or an assertion failed; catch it "
           "and answer with a status";
  }
  return "crashes" + in + " (" + signal + "); find the place with a sanitizer or a debugger";
}

const char* StageName(Stage stage) {
  switch (stage) {
    case Stage::kLoad:
      return "load";
    case Stage::kOptions:
      return "options";
    case Stage::kCreate:
      return "create";
    case Stage::kLife:
      return "life";
    default:
      return "run";
  }
}

class Verifier {
 public:
  Verifier(const Request& request, const std::string& executable)
      : request_(request), executable_(executable) {}

  Report Run() {
    CheckFile(request_.file, &report_);
    for (const Stage stage :
         {Stage::kLoad, Stage::kCreate, Stage::kOptions, Stage::kLife, Stage::kRun})
      RunStage(stage);
    for (Check& check : report_.checks) {
      const auto info = std::ranges::find(AllChecks(), check.name, &CheckInfo::name);
      if (check.verdict == Verdict::kPass) check.text = info->promise;
    }
    return std::move(report_);
  }

 private:
  // The check without which the later ones are of no use; nullptr: none failed.
  const CheckInfo* Obstacle() const {
    for (const Check& check : report_.checks) {
      const auto info = std::ranges::find(AllChecks(), check.name, &CheckInfo::name);
      if (check.verdict == Verdict::kFail && info->essential) return &*info;
    }
    return nullptr;
  }

  void RunStage(Stage stage) {
    Heard heard;
    std::string obstacle, end;  // why the stage did not come to its end
    if (const CheckInfo* failed = Obstacle()) {
      obstacle = std::string("of no use as long as \"") + failed->name + "\" fails";
    } else {
      end = RunStageChild(stage, &heard);
      if (!heard.done) obstacle = "the failure of \"" + heard.current + "\" came first";
    }
    for (const CheckInfo& info : AllChecks()) {
      const bool fits =
          info.kind == 0 || !report_.note || info.kind == static_cast<uint32_t>(report_.note->kind);
      if (info.stage == stage && fits) report_.checks.push_back(Judge(info, heard, end, obstacle));
    }
    KeepOthers(stage, heard);
  }

  // Faults that showed in this stage, of checks that belong to others.
  void KeepOthers(Stage stage, const Heard& heard) {
    for (const auto& [name, check] : heard.said) {
      const auto info = std::ranges::find(AllChecks(), name, &CheckInfo::name);
      if (check.verdict != Verdict::kFail || info->stage == stage) continue;
      const auto judged = std::ranges::find(report_.checks, name, &Check::name);
      if (judged == report_.checks.end()) {
        early_.emplace(name, check);
      } else if (judged->verdict != Verdict::kFail) {
        *judged = check;
      }
    }
  }

  // Empty: it said all that it had to say.
  std::string RunStageChild(Stage stage, Heard* heard) {
    std::vector<std::string> words = {kChild,
                                      StageName(stage),
                                      request_.file,
                                      scratch_.path() + "/" + StageName(stage),
                                      std::to_string(port_.port()),
                                      request_.config_file};
    words.insert(words.end(), request_.options.begin(), request_.options.end());
    const auto outcome = RunChild(executable_, words, {kCallSilence},
                                  [&](std::string_view line) { return Hear(line, heard); });
    std::string end;
    if (!outcome) {
      end = outcome.error().message;
    } else if (!heard->done && !heard->broken) {
      end = HowItEnded(*outcome, heard->step);
    }
    // A plugin that loads once and not again: the stage's first check has to say so.
    const auto own = [stage](const CheckInfo& info) { return info.stage == stage; };
    const CheckInfo& first = *std::ranges::find_if(AllChecks(), own);
    const auto known = std::ranges::find(AllChecks(), heard->current, &CheckInfo::name);
    if (heard->done || own(*known)) return end;
    if (const auto said = heard->said.find(heard->current);
        end.empty() && said != heard->said.end())
      end = said->second.text;
    heard->current = first.name;
    return end;
  }

  Check Judge(const CheckInfo& info, const Heard& heard, const std::string& end,
              const std::string& obstacle) const {
    if (const auto early = early_.find(info.name); early != early_.end()) return early->second;
    if (const auto said = heard.said.find(info.name); said != heard.said.end()) return said->second;
    if (heard.done) return {info.name, Verdict::kPass, ""};
    if (!end.empty() && heard.current == info.name) return {info.name, Verdict::kFail, end};
    if (heard.begun.contains(info.name) && heard.current != info.name)
      return {info.name, Verdict::kPass, ""};
    return {info.name, Verdict::kSkip, obstacle};
  }

  const Request& request_;
  const std::string& executable_;
  const Scratch scratch_;
  const ClosedPort port_;
  Report report_;
  std::map<std::string, Check> early_;
};

}  // namespace

Report Verify(const Request& request, const std::string& executable) {
  return Verifier(request, executable).Run();
}

}  // namespace penstock::verify
