#include "event/template.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace penstock::event {

struct Template::Placeholder {
  std::string_view name;  // ends in a dot where a key follows
  Part::Kind kind;
  unsigned needs;
  bool TakesKey() const { return name.back() == '.'; }
  std::string Shown() const { return "{" + std::string(name) + (TakesKey() ? "NAME}" : "}"); }
};

const Template::Placeholder Template::kPlaceholders[] = {
    {"source", Part::Kind::kSource, 0},      {"subject", Part::Kind::kSubject, kOwnSubject},
    {"type", Part::Kind::kType, kOwnType},   {"id", Part::Kind::kId, kOwnId},
    {"sink", Part::Kind::kSink, 0},          {"table", Part::Kind::kTable, 0},
    {"metadata.", Part::Kind::kMetadata, 0}, {"attribute.", Part::Kind::kAttribute, kOwnAttributes},
};

namespace {

std::string_view View(const penstock_str& s) { return {s.ptr, s.len}; }

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

size_t CountCharacters(std::string_view utf8) {
  return static_cast<size_t>(std::count_if(
      utf8.begin(), utf8.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }));
}

}  // namespace

class Template::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) { out_.text_ = text; }

  Result<Template> Run() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c != '{' && c != '}') {
        Text(c);
        ++at_;
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == c) {
        Text(c);
        at_ += 2;
      } else if (c == '}') {
        return FailAt(at_, "this } closes nothing; write }} for a brace that stays");
      } else if (Result<void> result = Braces(); !result) {
        return tl::unexpected(result.error());
      }
    }
    return std::move(out_);
  }

 private:
  tl::unexpected<Error> FailAt(size_t at, const std::string& what) const {
    return Fail(Code::kConfig,
                "column " + std::to_string(CountCharacters(text_.substr(0, at)) + 1) + ": " + what);
  }

  void Text(char c) {
    if (out_.parts_.empty() || out_.parts_.back().kind != Part::Kind::kText) {
      out_.parts_.push_back({Part::Kind::kText, {}});
    }
    out_.parts_.back().text += c;
  }

  Result<void> Braces() {
    const size_t end = text_.find_first_of("{}", at_ + 1);
    if (end == std::string_view::npos || text_[end] == '{') {
      return FailAt(at_, "this { is never closed; write {{ for a brace that stays");
    }
    const std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
    for (const Placeholder& known : kPlaceholders) {
      if (!known.TakesKey() && name == known.name) {
        Add(known, {});
      } else if (known.TakesKey() && name.substr(0, known.name.size()) == known.name &&
                 name.size() > known.name.size()) {
        Add(known, name.substr(known.name.size()));
      } else {
        continue;
      }
      at_ = end + 1;
      return {};
    }
    return FailAt(at_, "unknown placeholder {" + std::string(name) + "}" + Hint(name));
  }

  void Add(const Placeholder& placeholder, std::string_view key) {
    out_.parts_.push_back({placeholder.kind, std::string(key)});
    out_.needs_ |= placeholder.needs;
  }

  static std::string Hint(std::string_view name) {
    const size_t dot = name.find('.');
    const std::string_view word = dot == name.npos ? name : name.substr(0, dot + 1);
    const Placeholder* nearest = nullptr;
    size_t distance = 4;
    std::string all;
    for (const Placeholder& known : kPlaceholders) {
      all += (all.empty() ? "" : ", ") + known.Shown();
      const size_t d = EditDistance(word, known.name);
      if (d < distance && d < known.name.size()) {
        nearest = &known;
        distance = d;
      }
    }
    std::string hint;
    if (nearest != nullptr) hint = ", did you mean " + nearest->Shown() + "?";
    return hint + " (known: " + all + ")";
  }

  const std::string_view text_;
  size_t at_ = 0;
  Template out_;
};

Result<Template> Template::Parse(std::string_view text) { return Parser(text).Run(); }

const std::string* Template::constant() const {
  static const std::string kEmpty;
  if (parts_.empty()) return &kEmpty;
  return parts_.size() == 1 && parts_[0].kind == Part::Kind::kText ? &parts_[0].text : nullptr;
}

bool Template::Uses(std::string_view placeholder) const {
  for (const Placeholder& known : kPlaceholders) {
    if (placeholder.substr(0, known.name.size()) != known.name) continue;
    const std::string_view key = placeholder.substr(known.name.size());
    if (known.TakesKey() == key.empty()) continue;
    return std::any_of(parts_.begin(), parts_.end(), [&](const Part& part) {
      return part.kind == known.kind && part.text == key;
    });
  }
  return false;
}

std::string_view Template::Value(const Part& part, const TemplateValues& values) {
  switch (part.kind) {
    case Part::Kind::kText:
      return part.text;
    case Part::Kind::kSource:
      return values.source->event_source;
    case Part::Kind::kSubject:
      return SubjectOf(*values.event, *values.source);
    case Part::Kind::kType:
      return TypeOf(*values.event, *values.source);
    case Part::Kind::kId:
      return values.id;
    case Part::Kind::kSink:
      return values.sink;
    case Part::Kind::kTable:
      return values.source->name;
    case Part::Kind::kMetadata:
      for (const auto& [key, value] : values.source->metadata) {
        if (key == part.text) return value;
      }
      return {};
    case Part::Kind::kAttribute:
      for (const penstock_kv& kv : values.event->attributes) {
        if (View(kv.key) == part.text) return View(kv.value);
      }
      return {};
  }
  return {};
}

std::string_view Template::Render(const TemplateValues& values, Arena& arena) const {
  if (const std::string* text = constant()) return *text;
  size_t size = 0;
  for (const Part& part : parts_) size += Value(part, values).size();
  char* out = arena.Allocate(size);
  char* at = out;
  for (const Part& part : parts_) {
    const std::string_view value = Value(part, values);
    if (!value.empty()) std::memcpy(at, value.data(), value.size());
    at += value.size();
  }
  return {out, size};
}

}  // namespace penstock::event
