#include "event/base64.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "unit/event/go_vectors.h"

namespace penstock::event {
namespace {

std::string Encode(std::string_view bytes) {
  std::string out(Base64Size(bytes.size()), '#');
  EXPECT_EQ(EncodeBase64(bytes, out.data()), out.data() + out.size());
  return out;
}

TEST(Base64Test, EncodesTheVectorsOfTheRfc) {
  EXPECT_EQ(Encode(""), "");
  EXPECT_EQ(Encode("f"), "Zg==");
  EXPECT_EQ(Encode("fo"), "Zm8=");
  EXPECT_EQ(Encode("foo"), "Zm9v");
  EXPECT_EQ(Encode("foob"), "Zm9vYg==");
  EXPECT_EQ(Encode("fooba"), "Zm9vYmE=");
  EXPECT_EQ(Encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Encode({"\x00\xff\xfe\xfb\xf0", 5}), "AP/++/A=");
}

TEST(Base64Test, EncodesEveryLengthAndDecodesBack) {
  std::mt19937 random(2);
  for (size_t size = 0; size < 200; ++size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_EQ(DecodeBase64(Encode(bytes)), bytes) << size;
  }
}

TEST(Base64Test, EncodesInPlaceWhatEndsWhereTheOutputEnds) {
  std::mt19937 random(3);
  for (size_t size = 0; size < 500; ++size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    std::string room(Base64Size(size), '#');
    char* tail = room.data() + room.size() - size;
    bytes.copy(tail, size);
    EncodeBase64({tail, size}, room.data());
    EXPECT_EQ(room, Encode(bytes)) << size;
  }
}

}  // namespace
}  // namespace penstock::event
