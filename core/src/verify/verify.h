// Whether a plugin keeps the promises of plugin.h: what its file says, what happens when it is
// loaded, how it behaves. Its code runs in child processes only, so that a crash or a hang of it is
// a verdict.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugin/elf.h"

namespace penstock::verify {

struct Request {
  std::string file;
  std::string config_file;           // whose first table for this plugin is used; empty: none
  std::vector<std::string> options;  // "KEY=VALUE", for what has no default
};

enum class Verdict { kPass, kWarning, kFail, kSkip };
std::string_view VerdictName(Verdict verdict);  // "pass", "warn", "fail", "skip"

// text: what holds (pass), what is wrong, why and what to do (warning, fail), or why it was not
// checked (skip).
struct Check {
  std::string name;
  Verdict verdict = Verdict::kSkip;
  std::string text;
};

struct Report {
  std::optional<plugin::Note> note;
  std::vector<Check> checks;
  size_t Count(Verdict verdict) const;
};

// Runs every check that fits the plugin's kind, in the order of AllChecks. executable: a program
// that calls ChildMain when its first argument is kChild. Takes some seconds; kCallSilence more for
// each call that never returns.
Report Verify(const Request& request, const std::string& executable = "/proc/self/exe");

inline constexpr char kChild[] = "verify-child";
// What the child runs; arguments: what follows kChild. Ends the process.
[[noreturn]] void ChildMain(const std::vector<std::string>& arguments);

// When a check is made, and of what.
enum class Stage { kFile, kLoad, kCreate, kOptions, kLife, kRun };
struct CheckInfo {
  const char* name;
  Stage stage;
  uint32_t kind;        // PENSTOCK_SOURCE, PENSTOCK_SINK; 0: both
  bool essential;       // when it fails no later stage is of use
  const char* promise;  // what holds when it passes
};
std::span<const CheckInfo> AllChecks();

}  // namespace penstock::verify
