// crash-images: the states of a disk after power cuts, from the log of recorder.so.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "faults/images/crash_image.h"

namespace penstock_faults {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kSuccess = 0, kFound = 1, kUsage = 2;
constexpr size_t kMaxKept = 20;  // failing images

struct Options {
  std::string log, directory, json;
  uint64_t seed = 0, count = 1000, first = 0;
  std::vector<uint64_t> only;
  NameChoice names = NameChoice::kBoth;
  unsigned jobs = 1, timeout_s = 30;
  bool keep = false, without_syncs = false;
  std::vector<std::string> command;
};

std::vector<PowerCut> Plan(const CrashLog& log, const Options& options) {
  const CutPlan plan(log, options.seed, options.names);
  std::vector<PowerCut> cuts;
  for (const uint64_t number : options.only) cuts.push_back(plan.Cut(number));
  if (!options.only.empty()) return cuts;
  for (uint64_t i = 0; i < options.count; ++i) cuts.push_back(plan.Cut(options.first + i));
  return cuts;
}

void RefuseErrors(const CrashLog& log) {
  if (log.errors().empty()) return;
  throw std::runtime_error("the log proves nothing, the recorder could not follow " +
                           std::to_string(log.errors().size()) + " calls: " + log.errors()[0]);
}

Json ToJson(const PowerCut& cut) {
  return {{"image", cut.number},      {"seed", cut.seed},           {"cut", cut.position},
          {"fate", ToText(cut.fate)}, {"names", ToText(cut.names)}, {"mark_bytes", cut.mark_bytes}};
}

int List(const Options& options) {
  const CrashLog log(options.log);
  for (size_t i = 0; i < log.records().size(); ++i)
    std::cout << i << ' ' << ToText(log.records()[i]) << '\n';
  return kSuccess;
}

int Verify(const Options& options) {
  const CrashLog log(options.log);
  std::vector<std::string> found = log.errors();
  for (std::string& difference : DifferencesAtEnd(log, options.directory))
    found.push_back(std::move(difference));
  for (const std::string& one : found) std::cout << one << '\n';
  std::cout << log.records().size() << " records, " << log.marks().size() << " bytes of marks, "
            << found.size() << " findings\n";
  return found.empty() ? kSuccess : kFound;
}

int Make(const Options& options) {
  const CrashLog log(options.log);
  RefuseErrors(log);
  fs::create_directories(options.directory);
  std::ofstream(options.directory + "/marks") << log.marks();
  std::ofstream list(options.directory + "/images.jsonl");
  ForEachImage(log, Plan(log, options), options.without_syncs,
               [&](const PowerCut& cut, const Image& image) {
                 Materialise(image, options.directory + "/" + std::to_string(cut.number));
                 list << ToJson(cut) << '\n';
                 return true;
               });
  std::cout << "seed " << options.seed << '\n';
  return kSuccess;
}

// ---- run

struct Verdict {
  bool good;
  std::string text;
};

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) return std::string("died of ") + strsignal(WTERMSIG(status));
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

std::string Tail(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  return all.size() > 600 ? "..." + all.substr(all.size() - 600) : all;
}

// Runs the command, its output in a file, and ends it after the time limit.
Verdict RunCommand(const std::vector<std::string>& command, const std::string& output,
                   unsigned timeout_s) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    throw std::runtime_error("cannot start " + command[0] + ": " + std::strerror(error));
  const auto handle = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  pollfd wait{handle, POLLIN, 0};
  const bool in_time = poll(&wait, 1, static_cast<int>(timeout_s * 1000)) == 1;
  if (!in_time) kill(pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  close(handle);
  if (!in_time) return {false, "not ended within " + std::to_string(timeout_s) + " s"};
  return {status == 0, status == 0 ? "" : HowItEnded(status) + ": " + Tail(output)};
}

// The images of one run, shared by its threads.
class Run {
 public:
  Run(const CrashLog& log, const Options& options) : log_(log), options_(options) {
    fs::create_directories(options.directory);
    marks_ = options.directory + "/marks";
    std::ofstream(marks_) << log.marks();
  }

  void Execute() {
    std::vector<PowerCut> cuts = Plan(log_, options_);
    std::sort(cuts.begin(), cuts.end(),
              [](const PowerCut& a, const PowerCut& b) { return a.position < b.position; });
    std::vector<std::jthread> threads;
    const size_t share = (cuts.size() + options_.jobs - 1) / options_.jobs;
    for (size_t at = 0; at < cuts.size(); at += share) {
      std::vector<PowerCut> part(
          cuts.begin() + static_cast<ptrdiff_t>(at),
          cuts.begin() + static_cast<ptrdiff_t>(std::min(at + share, cuts.size())));
      threads.emplace_back([this, part = std::move(part)] { Work(part); });
    }
  }

  int Report() const {
    if (!broken_.empty()) throw std::runtime_error(broken_);
    Json fates = Json::object();
    for (const auto& [name, n] : images_of_)
      fates[name] = {{"images", n}, {"failed", Failed(name)}};
    const Json all = {{"seed", options_.seed},
                      {"images", images_},
                      {"failed", failed_},
                      {"records", log_.records().size()},
                      {"marks", log_.marks().size()},
                      {"by", fates},
                      {"first_failures", failures_}};
    if (!options_.json.empty()) std::ofstream(options_.json) << all.dump(2) << '\n';
    for (const auto& [name, n] : images_of_)
      std::cout << name << ": " << n << " images, " << Failed(name) << " failed\n";
    std::cout << "seed " << options_.seed << ": " << images_ << " images of "
              << log_.records().size() << " records, " << failed_ << " failed\n";
    return failed_ == 0 ? kSuccess : kFound;
  }

 private:
  void Work(const std::vector<PowerCut>& cuts) {
    try {
      ForEachImage(log_, cuts, options_.without_syncs,
                   [this](const PowerCut& cut, const Image& image) {
                     TryImage(cut, image);
                     const std::lock_guard lock(mutex_);
                     return broken_.empty();
                   });
    } catch (const std::exception& e) {
      const std::lock_guard lock(mutex_);
      broken_ = e.what();
    }
  }

  void TryImage(const PowerCut& cut, const Image& image) {
    const std::string directory = options_.directory + "/" + std::to_string(cut.number);
    const std::string output = directory + ".out";
    Materialise(image, directory);
    std::vector<std::string> command = options_.command;
    command.insert(command.end(), {directory, marks_, std::to_string(cut.mark_bytes)});
    const Verdict verdict = RunCommand(command, output, options_.timeout_s);
    const std::lock_guard lock(mutex_);
    ++images_;
    const std::string group = std::string(ToText(cut.names)) + " " + ToText(cut.fate);
    ++images_of_[group];
    if (!verdict.good) Fail(cut, group, verdict.text);
    if (options_.keep || (!verdict.good && failed_ <= kMaxKept)) return;
    fs::remove_all(directory);
    fs::remove(output);
  }

  void Fail(const PowerCut& cut, const std::string& group, const std::string& text) {
    ++failed_;
    ++failed_of_[group];
    if (failed_ > kMaxKept) return;
    std::cout << "FAILED " << ToText(cut) << ": " << text << std::endl;
    Json one = ToJson(cut);
    one["text"] = text;
    failures_.push_back(std::move(one));
  }

  size_t Failed(const std::string& group) const {
    const auto found = failed_of_.find(group);
    return found == failed_of_.end() ? 0 : found->second;
  }

  const CrashLog& log_;
  const Options& options_;
  std::string marks_;
  std::mutex mutex_;
  std::string broken_;
  size_t images_ = 0, failed_ = 0;
  std::map<std::string, size_t> images_of_, failed_of_;
  Json failures_ = Json::array();
};

int RunAll(const Options& options) {
  if (options.command.empty())
    throw std::runtime_error("run needs the command that judges an image, behind --");
  const CrashLog log(options.log);
  RefuseErrors(log);
  std::cout << "seed " << options.seed << std::endl;
  Run run(log, options);
  run.Execute();
  return run.Report();
}

// ---- command line

void AddImageOptions(CLI::App* command, Options* options) {
  static const std::map<std::string, NameChoice> names = {
      {"ext4", NameChoice::kExt4}, {"strict", NameChoice::kStrict}, {"both", NameChoice::kBoth}};
  command->add_option("--seed", options->seed, "of the power cuts (default: a random one)");
  command->add_option("--count", options->count, "how many images")->capture_default_str();
  command->add_option("--first", options->first, "number of the first image");
  command->add_option("--image", options->only, "these images only: replays them");
  command->add_flag("--without-syncs", options->without_syncs,
                    "as if the syncs did nothing: shows that a check can fail");
  command->add_option("--names", options->names, "when a name is durable: ext4, strict, both")
      ->transform(CLI::CheckedTransformer(names));
}

int Main(int argc, char** argv) {
  Options options;
  options.seed = std::random_device{}();
  int words = argc;  // what stands behind -- is not ours
  for (int i = 1; i < argc && words == argc; ++i)
    if (std::strcmp(argv[i], "--") == 0) words = i;
  for (int i = words + 1; i < argc; ++i) options.command.emplace_back(argv[i]);

  CLI::App app("The states of a disk after power cuts, from the log of recorder.so.");
  app.require_subcommand(1);
  CLI::App* list = app.add_subcommand("list", "Print the log");
  CLI::App* verify = app.add_subcommand(
      "verify", "Compare the end of the log with the real directory: did the recorder see all?");
  CLI::App* make = app.add_subcommand("make", "Write images into a directory");
  CLI::App* run = app.add_subcommand(
      "run",
      "Run a command for each image: COMMAND IMAGE MARKS BYTES; 0 means good. MARKS is a "
      "file with all marks, of which the first BYTES were there before the power cut");
  for (CLI::App* command : {list, verify, make, run})
    command->add_option("LOG", options.log)->required();
  for (CLI::App* command : {verify, make, run})
    command->add_option("DIRECTORY", options.directory)->required();
  for (CLI::App* command : {make, run}) AddImageOptions(command, &options);
  run->add_option("--jobs", options.jobs, "images at once")->check(CLI::Range(1, 64));
  run->add_option("--timeout", options.timeout_s, "seconds for one command");
  run->add_option("--json", options.json, "write the result to this file");
  run->add_flag("--keep", options.keep, "keep all images, not only the failing ones");
  try {
    app.parse(words, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kSuccess : kUsage;
  }
  if (*list) return List(options);
  if (*verify) return Verify(options);
  return *make ? Make(options) : RunAll(options);
}

}  // namespace
}  // namespace penstock_faults

int main(int argc, char** argv) {
  try {
    return penstock_faults::Main(argc, argv);
  } catch (const std::exception& e) {
    std::cerr << "crash-images: " << e.what() << '\n';
    return penstock_faults::kUsage;
  }
}
