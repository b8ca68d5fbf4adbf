// Recorder and image builder on a stand-in store: a sound one passes, and each flaw is found.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "faults/images/crash_image.h"

namespace penstock_faults {
namespace {

namespace fs = std::filesystem;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Images are many and short-lived: in memory, where there is such a place.
fs::path Scratch() {
  return fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
}

int Images() {
  const char* text = std::getenv("CRASH_TOOLS_IMAGES");
  return text != nullptr ? std::atoi(text) : 100;
}

class CrashToolsTest : public ::testing::Test {
 protected:
  CrashToolsTest() {
    std::string pattern = (Scratch() / "crash-tools-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    fs::create_directory(directory_ / "root");
  }
  ~CrashToolsTest() override { fs::remove_all(directory_); }

  // The exit status; output_ is what it said.
  int Run(const std::string& command) {
    const std::string log = (directory_ / "output").string();
    const int status = std::system((command + " >" + log + " 2>&1").c_str());
    std::ifstream in(log);
    output_.assign(std::istreambuf_iterator<char>(in), {});
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  // Runs a program whose first argument is the recorded directory.
  void Preload(const std::string& program, const std::string& more) {
    const std::string dir = directory_.string();
    ASSERT_EQ(Run("LD_PRELOAD=" RECORDER " PENSTOCK_RECORD_DIR=" + dir +
                  "/root PENSTOCK_RECORD_LOG=" + dir + "/log PENSTOCK_RECORD_MARK=" + dir +
                  "/marks " + program + " " + dir + "/root " + more),
              0)
        << output_;
  }
  void Record(const std::string& flaw, int transactions = 150) {
    Preload(STANDIN_WRITER, std::to_string(transactions) + " " + flaw);
  }
  int Verify() {
    return Run(CRASH_IMAGES " verify " + (directory_ / "log").string() + " " +
               (directory_ / "root").string());
  }
  // How many images failed, of Images(); -1: none could be made.
  int Failed(const std::string& names, const std::string& more = "",
             const std::string& check = STANDIN_CHECK) {
    const std::string dir = directory_.string(), json = dir + "/result.json";
    const int status = Run(CRASH_IMAGES " run " + dir + "/log " + dir +
                           "/images --seed 1 --names " + names + " --json " + json + " --count " +
                           std::to_string(Images()) + " " + more + " -- " + check);
    if (status > 1) return -1;
    std::ifstream in(json);
    result_ = nlohmann::json::parse(in);
    EXPECT_EQ(status == 0, result_["failed"] == 0);
    return result_["failed"];
  }

  fs::path directory_;
  std::string output_;
  nlohmann::json result_;
};

TEST_F(CrashToolsTest, NothingAcknowledgedIsLost) {
  ASSERT_NO_FATAL_FAILURE(Record(""));
  EXPECT_EQ(Verify(), 0) << output_;
  EXPECT_EQ(Failed("both", "--jobs 2"), 0) << output_;
  EXPECT_EQ(result_["images"], Images());
}

TEST_F(CrashToolsTest, FindsThatNothingIsSynced) {
  ASSERT_NO_FATAL_FAILURE(Record("nosync"));
  EXPECT_EQ(Verify(), 0) << output_;
  EXPECT_GT(Failed("ext4"), Images() / 10);
}

TEST_F(CrashToolsTest, FindsThatTheMetaPageIsNotSynced) {
  ASSERT_NO_FATAL_FAILURE(Record("nometasync"));
  EXPECT_GT(Failed("ext4"), Images() / 10);
}

TEST_F(CrashToolsTest, FindsAnAcknowledgementBeforeTheCommit) {
  ASSERT_NO_FATAL_FAILURE(Record("ack-before-commit"));
  EXPECT_GT(Failed("ext4"), Images() / 10);
}

TEST_F(CrashToolsTest, FindsUnsyncedNamesWhereTheFileSystemIsStrict) {
  ASSERT_NO_FATAL_FAILURE(Record("unsynced-names"));
  EXPECT_GT(Failed("strict"), Images() / 10);
  EXPECT_EQ(Failed("ext4"), 0) << output_;
}

TEST_F(CrashToolsTest, RefusesALogThatMissesSomething) {
  ASSERT_NO_FATAL_FAILURE(Record("stdio", 5));
  EXPECT_EQ(Failed("ext4"), -1);
  EXPECT_THAT(output_, HasSubstr("writing through stdio"));
  EXPECT_EQ(Verify(), 1);
}

TEST_F(CrashToolsTest, FindsWhatTheRecorderDidNotSee) {
  ASSERT_NO_FATAL_FAILURE(Record("", 5));
  const std::string data = (directory_ / "root/store/data.mdb").string();
  std::ofstream(data, std::ios::in | std::ios::out).seekp(5000) << "x";
  EXPECT_EQ(Verify(), 1);
  EXPECT_THAT(output_, HasSubstr("store/data.mdb: "));
}

TEST_F(CrashToolsTest, TheRecorderSeesEveryWayToWrite) {
  for (int seed = 1; seed <= 4; ++seed) {
    ASSERT_NO_FATAL_FAILURE(Preload(SCRIBBLER, std::to_string(seed) + " 500"));
    ASSERT_EQ(Verify(), 0) << "after run " << seed << ": " << output_;
  }
  EXPECT_EQ(Run("ls -R " + (directory_ / "root").string()), 0);
  EXPECT_THAT(output_, HasSubstr("f1")) << "it did write";
}

TEST_F(CrashToolsTest, WhatIsWrittenToTheMarkIsAtItsPlaceInTheLog) {
  const std::string dir = directory_.string();
  ASSERT_NO_FATAL_FAILURE(Preload("sh -c 'mkdir $1/a; echo one >>" + dir + "/marks; rmdir $1/a; " +
                                      "echo two >>" + dir + "/marks' sh",
                                  ""));
  ASSERT_EQ(Run(CRASH_IMAGES " list " + dir + "/log"), 0);
  EXPECT_THAT(output_, ContainsRegex("mkdir(.|\n)*mark(.|\n)*one(.|\n)*rmdir(.|\n)*two"));
}

TEST_F(CrashToolsTest, ReplaysOneImage) {
  ASSERT_NO_FATAL_FAILURE(Record("nosync", 60));
  ASSERT_GT(Failed("ext4"), 0);
  const nlohmann::json first = result_["first_failures"][0];
  EXPECT_EQ(Failed("ext4", "--image " + first["image"].dump()), 1);
  EXPECT_EQ(result_["first_failures"][0], first);
}

TEST_F(CrashToolsTest, NothingOfAnEarlierRunIsInAnImage) {
  ASSERT_NO_FATAL_FAILURE(Record("", 5));
  const std::string dir = directory_.string();
  const std::string once =
      CRASH_IMAGES " run " + dir + "/log " + dir + "/images --seed 1 --count 1 --keep -- sh -c";
  ASSERT_EQ(Run(once + " 'echo >$0/stale'"), 0) << output_;
  EXPECT_EQ(Run(once + " 'test ! -e $0/stale'"), 0) << output_;
}

TEST_F(CrashToolsTest, ACommandThatHangsIsAFailure) {
  ASSERT_NO_FATAL_FAILURE(Record("", 5));
  const std::string dir = directory_.string();
  EXPECT_EQ(Run(CRASH_IMAGES " run " + dir + "/log " + dir +
                "/images --count 1 --timeout 1 -- sh -c 'exec sleep 60'"),
            1);
  EXPECT_THAT(output_, HasSubstr("not ended within 1 s"));
}

// ---- the real store

class StoreCrashTest : public CrashToolsTest {
 protected:
  // How many images fail of a load with this flaw.
  int Judge(const std::string& flaw, const std::string& more = "") {
    Preload(STORE_WRITER, "3 400 " + flaw);
    EXPECT_EQ(Verify(), 0) << output_;
    return Failed("both", "--jobs 2 " + more, STORE_CHECK);
  }
};

TEST_F(StoreCrashTest, NothingAcknowledgedIsLostAndNoCursorRunsAhead) {
  EXPECT_EQ(Judge(""), 0) << output_;
}

TEST_F(StoreCrashTest, FindsAnAcknowledgementBeforeTheCommit) {
  EXPECT_GT(Judge("ack-early"), Images() / 10);
}

TEST_F(StoreCrashTest, FindsACursorBeforeTheReceipt) {
  EXPECT_GT(Judge("cursor-early"), Images() / 10);
}

TEST_F(StoreCrashTest, FindsThatNothingIsSynced) {
  EXPECT_GT(Judge("", "--without-syncs"), Images() / 10);
}

}  // namespace
}  // namespace penstock_faults
