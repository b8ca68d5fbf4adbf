// The child's side: what it says of each check as it goes, and how it calls the plugin. Private to
// this folder.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>

#include "config/config.h"
#include "verify/verify.h"

namespace penstock::verify {

using std::chrono::milliseconds;

// A call into the plugin that says nothing for so long is ended with the process.
constexpr milliseconds kCallSilence{10'000};
// What "soon" is. Wide, since machines that build plugins are busy.
constexpr milliseconds kSoon{2'000};
constexpr milliseconds kLater{5'000};

// One of the plugin's functions, how long it may take and what its author does when it takes
// longer.
struct Callee {
  const char* name;
  milliseconds bound;
  const char* remedy;
};

// Thrown when the stage cannot go on; the reason has been said.
struct Broken {};

class Trial {
 public:
  explicit Trial(int out) : out_(out) {}

  // The check that a crash from here on belongs to.
  void Begin(const char* check);
  // The first verdict on a check counts; a check without one passes. Any thread.
  void Say(const std::string& check, Verdict verdict, const std::string& text);
  void Fault(const std::string& check, const std::string& text) {
    Say(check, Verdict::kFail, text);
  }
  // On the current check.
  void Fault(const std::string& text) { Fault(current(), text); }
  [[noreturn]] void Break(const std::string& text) {
    Fault(text);
    throw Broken{};
  }
  // The last thing: whether the stage went to its end, or cannot go on.
  void End(bool whole);

  // Calls the plugin. Taking too long, and an exception, break the current check. (The parameter's
  // type has no noexcept, or nothing could be caught.)
  template <typename R, typename... P, typename... A>
  R Call(const Callee& callee, R (*function)(P...), A... arguments) {
    Step(callee.name);
    const auto start = std::chrono::steady_clock::now();
    try {
      if constexpr (std::is_void_v<R>) {
        function(arguments...);
        return CheckTime(callee, start);
      } else {
        const R answer = function(arguments...);
        CheckTime(callee, start);
        return answer;
      }
    } catch (const Broken&) {
      throw;
    } catch (...) {
      Break(
          std::string(callee.name) + " threw an exception " + Thrown() +
          ", which must not leave the plugin; catch it there and answer with a status and a text");
    }
  }
  // What the parent names when the process ends here.
  void Step(const std::string& what);

 private:
  void CheckTime(const Callee& callee, std::chrono::steady_clock::time_point start);
  static std::string Thrown();
  std::string current();

  const int out_;
  std::mutex mutex_;
  std::string current_;
  std::map<std::string, Verdict> said_;
};

// What the stages work on.
struct Subject {
  Trial& trial;
  const penstock_plugin& plugin;
  std::string scratch;  // a directory of this trial
  Request given;
  uint16_t closed_port;  // of the loopback address, where nobody answers
};

void TryOptions(const Subject& subject);
void TryCreate(const Subject& subject);
void TryLife(const Subject& subject);
void TrySource(const Subject& subject);
void TrySink(const Subject& subject);

// Waits until what holds, at most so long; asks every few milliseconds.
bool Await(milliseconds within, const std::function<bool()>& what);

}  // namespace penstock::verify
