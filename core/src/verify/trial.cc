#include "verify/trial.h"

#include <algorithm>
#include <thread>

#include "platform/child.h"

namespace penstock::verify {

void Trial::Begin(const char* check) {
  std::lock_guard lock(mutex_);
  current_ = check;
  WriteLine(out_, "begin " + current_);
}

void Trial::Step(const std::string& what) {
  std::lock_guard lock(mutex_);
  WriteLine(out_, "step " + what);
}

void Trial::Say(const std::string& check, Verdict verdict, const std::string& text) {
  std::lock_guard lock(mutex_);
  if (!said_.emplace(check, verdict).second) return;
  std::string line = text.substr(0, 2000);
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
  WriteLine(out_, std::string(VerdictName(verdict)) + " " + check + " " + line);
}

void Trial::End(bool whole) { WriteLine(out_, whole ? "done" : "broken"); }

std::string Trial::current() {
  std::lock_guard lock(mutex_);
  return current_;
}

void Trial::CheckTime(const Callee& callee, std::chrono::steady_clock::time_point start) {
  const auto took =
      std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start);
  if (took <= callee.bound) return;
  Break(std::string(callee.name) + " took " + std::to_string(took.count()) + " ms, at most " +
        std::to_string(callee.bound.count()) + " ms are allowed: " + callee.remedy);
}

std::string Trial::Thrown() {
  try {
    throw;
  } catch (const std::exception& e) {
    return "(" + std::string(e.what()) + ")";
  } catch (...) {
    return "that is no std::exception";
  }
}

bool Await(milliseconds within, const std::function<bool()>& what) {
  const auto deadline = std::chrono::steady_clock::now() + within;
  while (!what()) {
    if (std::chrono::steady_clock::now() >= deadline) return what();
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

}  // namespace penstock::verify
