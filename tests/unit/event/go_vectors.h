// The lines of testdata/go_vectors.txt: what Go's encoding/json and time make of given inputs.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace penstock::event {

struct GoVector {
  char kind;
  std::string input;
  std::string result;
};

inline std::string DecodeBase64(const std::string& text) {
  static const std::string kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  unsigned bits = 0, n = 0;
  for (char c : text) {
    if (c == '=') break;
    const size_t digit = kAlphabet.find(c);
    if (digit == std::string::npos) ADD_FAILURE() << "not base64: " << text;
    bits = bits << 6 | static_cast<unsigned>(digit);
    n += 6;
    if (n < 8) continue;
    n -= 8;
    out += static_cast<char>(bits >> n & 255);
  }
  return out;
}

// Those of the given kinds, as they stand in the file.
inline std::vector<GoVector> ReadGoVectors(const std::string& kinds) {
  std::ifstream file(PENSTOCK_EVENT_TESTDATA "/go_vectors.txt");
  std::vector<GoVector> out;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    GoVector v;
    fields >> v.kind >> v.input >> v.result;
    if (fields && kinds.find(v.kind) != std::string::npos) out.push_back(v);
  }
  EXPECT_GT(out.size(), 20u) << "go_vectors.txt is missing or cut";
  return out;
}

}  // namespace penstock::event
