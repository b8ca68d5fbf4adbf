// The parts of the sink nats-jetstream that need no server.
#include <gtest/gtest.h>

#include <random>

#include "ack.h"
#include "hung.h"
#include "keys.h"
#include "message.h"
#include "nkey.h"

namespace penstock::nats_jetstream {
namespace {

TEST(NatsAck, KnowsPlainAcknowledgements) {
  EXPECT_TRUE(IsPlainAck(R"({"stream":"S", "seq":1})"));
  EXPECT_TRUE(IsPlainAck(R"({"stream":"S","domain":"hub","seq":12345})"));
  EXPECT_FALSE(IsPlainAck(R"({"stream":"S", "seq":5,"duplicate": true})"));
  EXPECT_FALSE(IsPlainAck(R"({"stream":"S","duplicate":true,"seq":5})"));
  EXPECT_FALSE(IsPlainAck(R"({"error":{"code":503},"stream":"S","seq":0})"));
  EXPECT_FALSE(IsPlainAck(R"({"stream":"S","error":{"code":503},"seq":0})"));
  EXPECT_FALSE(IsPlainAck(""));
  EXPECT_FALSE(IsPlainAck("{\"stream\":"));
}

TEST(NatsAck, ReadsRemarksAndErrors) {
  const Ack duplicate = ParseAck(R"({"stream":"S", "seq":5,"duplicate": true})");
  EXPECT_TRUE(duplicate.ok);
  EXPECT_TRUE(duplicate.duplicate);
  const Ack plain = ParseAck(R"( { "stream" : "S" , "seq" : 5 } )");
  EXPECT_TRUE(plain.ok);
  EXPECT_FALSE(plain.duplicate);
  const Ack full = ParseAck(
      R"({"error":{"code":503,"err_code":10077,"description":"maximum \"bytes\" exceeded"},)"
      R"("stream":"S","seq":0})");
  EXPECT_FALSE(full.ok);
  EXPECT_EQ(full.code, 10077);
  EXPECT_EQ(full.text, "maximum \"bytes\" exceeded");
  EXPECT_EQ(ParseAck(R"({"error":{"code":400,"x":[{"y":"}"}]}})").code, 400);
}

TEST(NatsAck, TakesNothingElseForAnAnswer) {
  for (const char* text : {"", "thanks", "{}", "[]", "{\"seq\":1}", "{\"stream\":\"S\"",
                           "{\"stream\":1}", "{\"error\":1}", "\"", "{\"stream\":\"S\\"}) {
    const Ack ack = ParseAck(text);
    EXPECT_FALSE(ack.ok) << text;
    EXPECT_FALSE(ack.text.empty()) << text;
  }
}

TEST(NatsAck, ReplyTokensComeBack) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    const auto slot = static_cast<uint32_t>(random() % kMaxSlots);
    const auto generation = static_cast<uint32_t>(random()) & kGenerationMask;
    char token[kReplyTokenSize];
    WriteReplyToken(ReplyKey(slot, generation), token);
    uint64_t key = 0;
    ASSERT_TRUE(ReadReplyToken({token, sizeof token}, &key));
    EXPECT_EQ(key & (kMaxSlots - 1), slot);
    EXPECT_EQ(key >> 20, generation);
  }
  uint64_t key = 0;
  EXPECT_FALSE(ReadReplyToken("0000000", &key));
  EXPECT_FALSE(ReadReplyToken("000000.0", &key));
}

TEST(NatsHung, GetRarerAndNeverStop) {
  EXPECT_EQ(SecondsAfterHanging(0), 0);
  EXPECT_EQ(SecondsAfterHanging(3), 0);
  EXPECT_EQ(SecondsAfterHanging(4), 60);
  EXPECT_EQ(SecondsAfterHanging(63), 60);
  EXPECT_EQ(SecondsAfterHanging(64), 3600);
  EXPECT_EQ(SecondsAfterHanging(100000), 3600);
}

TEST(NatsHung, AreSaidWhenTheyAreMany) {
  EXPECT_EQ(AboutHung(3), "");
  EXPECT_NE(AboutHung(4).find("; 4 attempts hang in their TLS handshake"), std::string::npos);
  EXPECT_NE(AboutHung(4).find("after 60s"), std::string::npos);
  EXPECT_NE(AboutHung(64).find("after 3600s"), std::string::npos);
}

TEST(NatsNKey, PublicKeyOfAKnownSeed) {
  // From the documentation of NATS.
  EXPECT_EQ(PublicKeyOfSeed("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"),
            "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
}

TEST(NatsNKey, PublicKeysOfNewSeeds) {
  for (const auto kind : {fakes::NKey::kUser, fakes::NKey::kAccount, fakes::NKey::kOperator}) {
    const fakes::NKey key(kind);
    EXPECT_EQ(PublicKeyOfSeed(key.Seed()), key.Public());
  }
}

TEST(NatsNKey, RefusesWhatIsNoSeed) {
  const fakes::NKey key(fakes::NKey::kUser);
  EXPECT_THROW(PublicKeyOfSeed(""), std::runtime_error);
  EXPECT_THROW(PublicKeyOfSeed(key.Public()), std::runtime_error);
  EXPECT_THROW(PublicKeyOfSeed("not base32!"), std::runtime_error);
  EXPECT_THROW(PublicKeyOfSeed(key.Seed().substr(1)), std::runtime_error);
}

TEST(NatsHeader, EncodesAsTheBindingSays) {
  std::string out;
  EncodeHeaderValue("Euro \xe2\x82\xac \xf0\x9f\x98\x80", &out);
  EXPECT_EQ(out, "Euro%20%E2%82%AC%20%F0%9F%98%80");
  EncodeHeaderValue("a\"b%c\r\n\x7f~!", &out);
  EXPECT_EQ(out, "a%22b%25c%0D%0A%7F~!");
}

}  // namespace
}  // namespace penstock::nats_jetstream
