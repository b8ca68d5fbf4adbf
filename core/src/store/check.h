// Is a store sound, and if not, what is lost? Asked without LMDB, which may crash on a damaged
// file, and for the same reason best in a child process.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "platform/result.h"
#include "store/pages.h"
#include "store/report.h"

namespace penstock::store {

enum class Depth {
  kStructure,  // every page of the two trees, and that every page has one use
  kFull,       // and every value, and that no event is missing
};

// Checks the store in the directory, which nobody may be writing to. It only reads, takes a few
// bits of memory for each page, and goes through the file about once. The error: it could not be
// checked, and why; what is wrong with the store is in the report.
Result<Report> Verify(const std::string& directory, Depth depth,
                      const PageFile::Progress& progress = {});

// ---- in a child process

// What the child runs, after its arguments are read: prints on standard output how far it is, and a
// report in the end. Returns its exit code: 0 sound, 1 there is damage, 2 it could not be checked.
// After RepairMain 0 means that the new store is sound, and the report says what it lacks.
int CheckMain(const std::string& directory, Depth depth);
int RepairMain(const std::string& directory, const std::string& out_directory);

struct CheckLimits {
  std::chrono::milliseconds no_progress{std::chrono::minutes(2)};
  size_t max_output = 16 << 20;
  std::function<void()> alive{};  // called whenever the child says that it goes on
};

// Runs a program, whose arguments make it call CheckMain or RepairMain, and waits for its report. A
// crash of it, and having been silent for too long, are findings. A signal from outside (SIGKILL
// when memory runs out) is the error kRetry. Blocks; the child is gone when it returns.
Result<Report> CheckInChild(const std::string& executable,
                            const std::vector<std::string>& arguments,
                            const CheckLimits& limits = {});

}  // namespace penstock::store
