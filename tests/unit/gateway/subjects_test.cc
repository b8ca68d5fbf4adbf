#include "gateway/subjects.h"

#include <gtest/gtest.h>

namespace penstock::gateway {
namespace {

TEST(Subjects, MatchTokenByToken) {
  EXPECT_TRUE(SubjectMatches("default.a.b", "default.*.*"));
  EXPECT_TRUE(SubjectMatches("default.a.b", "default.>"));
  EXPECT_TRUE(SubjectMatches("default.a.b", ">"));
  EXPECT_TRUE(SubjectMatches("default.a.b", "default.a.b"));
  EXPECT_FALSE(SubjectMatches("default.a.b.c", "default.*.*"));
  EXPECT_FALSE(SubjectMatches("default.a", "default.*.*"));
  EXPECT_FALSE(SubjectMatches("default", "default.>"));
  EXPECT_FALSE(SubjectMatches("default..b", "default.*.*"));
  EXPECT_FALSE(SubjectMatches("other.a.b", "default.*.*"));
  EXPECT_FALSE(SubjectMatches("", "*"));
}

}  // namespace
}  // namespace penstock::gateway
