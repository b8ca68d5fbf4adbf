#include "unit/config/support.h"

namespace penstock::config {
namespace {

TEST(Secret, KnowsItsReferences) {
  for (const char* text :
       {"env:TOKEN", "env:_a1", "file:/etc/x", "credential:orders-token", "credential:a.b@c"}) {
    EXPECT_TRUE(IsSecretReference(text)) << text;
  }
  for (const char* text : {"", "env:", "env:1A", "env:A-B", "env:A B", "file:", "file:x",
                           "credential:", "credential:../x", "credential:a/b", "credential:.x",
                           "hunter2", "Env:A", " env:A"}) {
    EXPECT_FALSE(IsSecretReference(text)) << text;
  }
}

TEST(Secret, ComesFromTheEnvironment) {
  const ScopedVariable variable("PENSTOCK_TEST_SECRET", "s3cret\n");
  EXPECT_EQ(ReadSecret("env:PENSTOCK_TEST_SECRET").value(), "s3cret");
}

TEST(Secret, ComesFromAFileEachTimeAnew) {
  const TempFolder folder;
  const std::string path = folder.Write("token", "one\n\n");
  EXPECT_EQ(ReadSecret("file:" + path).value(), "one\n");
  folder.Write("token", "two");
  EXPECT_EQ(ReadSecret("file:" + path).value(), "two");
}

TEST(Secret, ComesFromACredential) {
  const TempFolder folder;
  folder.Write("orders-token", "s3cret");
  const ScopedVariable directory("CREDENTIALS_DIRECTORY", folder.path().c_str());
  EXPECT_EQ(ReadSecret("credential:orders-token").value(), "s3cret");
}

TEST(Secret, MayHave64KiB) {
  const TempFolder folder;
  const std::string most(64 * 1024, 'x');
  EXPECT_EQ(ReadSecret("file:" + folder.Write("a", most)).value(), most);
  EXPECT_NE(ReadSecret("file:" + folder.Write("b", most + "y")).error().message.find("64KiB"),
            std::string::npos);
}

TEST(Secret, SaysWhatToDo) {
  const TempFolder folder;
  const ScopedVariable no_variable("PENSTOCK_TEST_SECRET", nullptr);
  {
    const ScopedVariable outside("CREDENTIALS_DIRECTORY", nullptr);
    EXPECT_EQ(ReadSecret("credential:t").error().message,
              "the credential t cannot be read: CREDENTIALS_DIRECTORY is not set, as only systemd "
              "does for a unit with LoadCredential=t:/path");
  }
  const ScopedVariable directory("CREDENTIALS_DIRECTORY", folder.path().c_str());
  EXPECT_EQ(ReadSecret("credential:t").error().message,
            "the credential t: cannot be read: No such file or directory: add "
            "LoadCredential=t:/path to the unit");
  EXPECT_EQ(ReadSecret("env:PENSTOCK_TEST_SECRET").error().message,
            "the environment variable PENSTOCK_TEST_SECRET is not set: set it for this process, in "
            "a unit with Environment= or EnvironmentFile=");
  EXPECT_EQ(ReadSecret("file:/nowhere/token").error().message,
            "the secret's file /nowhere/token: cannot be read: No such file or directory");
  EXPECT_EQ(ReadSecret("file:" + folder.path()).error().message,
            "the secret's file " + folder.path() + ": is a directory, expected a file");
  EXPECT_EQ(ReadSecret("file:" + folder.Write("empty", "\n")).error().message,
            "the secret's file " + folder.path() + "/empty is empty: put the secret there");
}

TEST(Secret, IsNeverInAnError) {
  const auto refused = ReadSecret("hunter2");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "not a secret's reference: write env:NAME, file:/path or credential:NAME");
}

}  // namespace
}  // namespace penstock::config
