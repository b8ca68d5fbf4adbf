// The Lua of a translated filter, held against what the real expression language made of the same
// events. testdata/gen made the vectors.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "event/base64.h"
#include "event/event.h"
#include "filter/filter.h"
#include "import/expr.h"

namespace penstock::import_argo {
namespace {

std::string Decoded(const std::string& base64) {
  std::string out(base64.size(), '\0');
  const char* end = event::DecodeBase64(base64, out.data());
  EXPECT_NE(end, nullptr);
  out.resize(static_cast<size_t>(end - out.data()));
  return out;
}

struct Vector {
  std::string filter, with, without;
};

struct Vectors {
  std::vector<std::string> json, raw;
  std::vector<Vector> filters;
};

Vectors Read() {
  Vectors out;
  std::ifstream file(PENSTOCK_IMPORT_TESTDATA "/filter_vectors.txt");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, text, with, without;
    words >> kind >> text >> with >> without;
    if (kind == "j") out.json.push_back(Decoded(text));
    if (kind == "r") out.raw.push_back(Decoded(text));
    if (kind == "e") out.filters.push_back({Decoded(text), with, without});
  }
  return out;
}

class Events {
 public:
  Events() { source_.metadata = {{"k.v", "1"}, {"team", "blue"}}; }

  char Evaluate(filter::Filter* filter, const std::string& payload, bool json) {
    event::Event event;
    event.payload = payload;
    if (json) event.content_type = "application/json";
    switch (filter->Evaluate({event, source_})) {
      case filter::Verdict::kPass:
        return 'T';
      case filter::Verdict::kDrop:
        return 'F';
      case filter::Verdict::kError:
        return 'E';
    }
    return '?';
  }

 private:
  event::SourceInfo source_;
};

// What cannot be told apart here, so that the answer may be another one: an empty list may be an
// empty object. And where this fails on purpose: any() of a string, the number of members of an
// object, and a member that is not there, as those that are null are not seen.
bool Known(const std::string& filter, const std::string& payload, char argo, char ours) {
  const auto has = [&](const std::string& text) { return filter.find(text) != filter.npos; };
  if (argo == 'E') return payload.find("[]") != std::string::npos;
  if (ours != 'E') return false;
  return (has("any(body.tags") && payload.find("\"tags\":\"") != std::string::npos) ||
         has("len(body") || has(" in body.tags");
}

// Where expr fails the event must not go on; that it is told apart from "no" is more than Argo
// does. A failure instead of an answer loses nothing, but must not be the rule.
bool Same(char argo, char ours) { return argo == 'E' ? ours != 'T' : argo == ours; }

int Compare(const Vector& vector, const std::vector<std::string>& payloads,
            const std::string& results, bool json) {
  const auto lua = TranslateFilter(vector.filter, {json, true});
  if (!lua) return 0;
  const auto filter = filter::Filter::Compile(*lua);
  EXPECT_TRUE(filter) << vector.filter << "\n"
                      << *lua << "\n"
                      << (filter ? "" : filter.error().text);
  if (!filter) return 1;
  Events events;
  EXPECT_EQ(results.size(), payloads.size());
  for (size_t i = 0; i < payloads.size() && i < results.size(); ++i) {
    const char ours = events.Evaluate(filter->get(), payloads[i], json);
    EXPECT_TRUE(Same(results[i], ours) || Known(vector.filter, payloads[i], results[i], ours))
        << vector.filter << "\n"
        << *lua << "\n"
        << payloads[i] << "\nArgo " << results[i] << ", here " << ours << " " << (*filter)->error();
  }
  return 1;
}

TEST(FilterVectors, LuaSaysWhatArgoSays) {
  const Vectors vectors = Read();
  int with = 0, without = 0;
  for (const Vector& vector : vectors.filters) {
    with += Compare(vector, vectors.json, vector.with, true);
    without += Compare(vector, vectors.raw, vector.without, false);
  }
  RecordProperty("translated", with);
  std::cout << vectors.filters.size() << " filters, translated with jsonBody " << with
            << ", without " << without << "\n";
  EXPECT_GT(with, 1000);
  EXPECT_GT(without, 50);
}

// Lua has bounds of its own; most of what is large keeps to them.
TEST(FilterVectors, OfWhatIsLargeSomeIsTranslated) {
  const auto repeated = [](const std::string& text, int n) {
    std::string out;
    while (n-- > 0) out += text;
    return out;
  };
  int translated = 0;
  for (const int n : {10, 30, 60, 90, 150, 250, 600, 1500}) {
    for (const std::string& filter :
         {"body.id in [" + repeated("1, ", n) + "2]", "body.s in [" + repeated("'a', ", n) + "'b']",
          "body.a" + repeated(" + 'x'", n) + " == 'b'", repeated("body.a || ", n) + "body.b",
          repeated("body.a == 'x' && ", n) + "body.b",
          repeated("(", n) + "body.a" + repeated(")", n),
          repeated("not (body.a && ", n) + "body.b" + repeated(")", n),
          repeated("(body.a.b == 1 || ", n) + "body.b" + repeated(")", n),
          repeated("(body.a ?? ", n) + "1" + repeated(")", n) + " == 1",
          repeated("any(body.a, {", n) + "true" + repeated("})", n),
          repeated("(body.a == 1 ? ", n) + "true" + repeated(" : false)", n),
          repeated("-", n) + "body.a < 1", "body" + repeated(".a", n) + " != 1",
          "body.a " + repeated("+ body.a", n) + " > 3", repeated("body.a ** ", n) + "2 > 3"}) {
      if (TranslateFilter(filter, {true, true})) ++translated;
    }
  }
  EXPECT_GT(translated, 30);
}

// A filter that works in Argo and is not translated is a loss; these are those known.
TEST(FilterVectors, WhatWorksInArgoIsTranslated) {
  const Vectors vectors = Read();
  size_t works = 0, left = 0;
  for (const Vector& vector : vectors.filters) {
    if (vector.with.find_first_of("TF") == std::string::npos) continue;
    ++works;
    const auto lua = TranslateFilter(vector.filter, {true, true});
    if (lua) continue;
    ++left;
    std::cout << vector.filter << "   (" << lua.error().text << ")\n";
  }
  std::cout << left << " of " << works << " are not translated\n";
  EXPECT_LT(left * 10, works);
}

}  // namespace
}  // namespace penstock::import_argo
