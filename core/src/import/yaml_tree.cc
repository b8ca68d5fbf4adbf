#include "import/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <sstream>

#include "config/text.h"
#include "platform/utf8.h"

namespace penstock::import_argo {
namespace {

using config::Cat;
using config::Quote;

constexpr size_t kMostBytes = 1 << 20;
constexpr size_t kMostNodes = 100'000;    // with the copies that aliases make
constexpr size_t kMostCopied = 4u << 20;  // bytes of text in those copies
constexpr size_t kMostDepth = 64;
constexpr size_t kMostDocuments = 10'000;

// Leaves yaml-cpp's parser from inside of its events.
struct Fault {
  Place place;
  std::string text;
};

Place PlaceOf(const YAML::Mark& mark) {
  if (mark.is_null()) return {1, 1};
  return {static_cast<uint32_t>(mark.line) + 1, static_cast<uint32_t>(mark.column) + 1};
}

bool IsOneOf(std::string_view text, std::span<const std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

bool IsDigits(std::string_view text, std::string_view digits) {
  return !text.empty() && text.find_first_not_of(digits) == text.npos;
}

bool IsNumber(std::string_view text) {
  if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
  constexpr std::array<std::string_view, 6> kSpecial = {".inf", ".Inf", ".INF",
                                                        ".nan", ".NaN", ".NAN"};
  if (IsOneOf(text, kSpecial)) return true;
  if (text.empty() || !IsDigits(text.substr(0, 1), "0123456789.")) return false;
  std::string plain(text);
  std::erase(plain, '_');
  if (plain.starts_with("0x")) return IsDigits(plain.substr(2), "0123456789abcdefABCDEF");
  if (plain.starts_with("0b")) return IsDigits(plain.substr(2), "01");
  if (plain.starts_with("0o")) return IsDigits(plain.substr(2), "01234567");
  const size_t exponent = plain.find_first_of("eE");
  std::string_view mantissa = std::string_view(plain).substr(0, exponent);
  if (exponent != plain.npos) {
    std::string_view power = std::string_view(plain).substr(exponent + 1);
    if (power.starts_with('+') || power.starts_with('-')) power.remove_prefix(1);
    if (!IsDigits(power, "0123456789")) return false;
  }
  return std::ranges::count(mantissa, '.') <= 1 && IsDigits(mantissa, "0123456789.") &&
         mantissa != ".";
}

// Of a scalar without quotes and tag.
void Resolve(Node* node) {
  constexpr std::array<std::string_view, 5> kNull = {"", "~", "null", "Null", "NULL"};
  constexpr std::array<std::string_view, 11> kTrue = {"y",    "Y",    "yes", "Yes", "YES", "true",
                                                      "True", "TRUE", "on",  "On",  "ON"};
  constexpr std::array<std::string_view, 11> kFalse = {
      "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"};
  if (IsOneOf(node->text, kNull)) {
    node->kind = Kind::kNull;
  } else if (IsOneOf(node->text, kTrue)) {
    node->kind = Kind::kBool;
    node->text = "true";
  } else if (IsOneOf(node->text, kFalse)) {
    node->kind = Kind::kBool;
    node->text = "false";
  } else {
    node->kind = IsNumber(node->text) ? Kind::kNumber : Kind::kString;
  }
}

// Makes trees of the parser's events.
class Builder : public YAML::EventHandler {
 public:
  std::vector<Node> Take() { return std::move(documents_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_.size() == kMostDocuments) throw Fault{PlaceOf(mark), "too many documents"};
    anchors_.clear();
    open_.clear();
    root_ = Node{};
    root_.place = PlaceOf(mark);
  }
  void OnDocumentEnd() override { documents_.push_back(std::move(root_)); }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Count(PlaceOf(mark));
    Node node;
    node.place = PlaceOf(mark);
    Put(std::move(node), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Count(PlaceOf(mark));
    Node node;
    node.kind = Kind::kString;
    node.place = PlaceOf(mark);
    node.text = value;
    if (tag.empty() || tag == "?") {
      Resolve(&node);
    } else if (tag != "!" && tag != "tag:yaml.org,2002:str") {
      throw Fault{node.place, Cat("the tag ", Quote(tag), " is not understood")};
    }
    Put(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      throw Fault{PlaceOf(mark), "an alias inside of what it stands for"};
    Node copy = found->second;
    Spend(copy, PlaceOf(mark));
    Put(std::move(copy), 0);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    Open(Kind::kList, PlaceOf(mark), anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    Open(Kind::kMap, PlaceOf(mark), anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  // A list or map whose end is still to come.
  struct Unfinished {
    Node node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;
    Node key;
    std::set<std::string> keys;
    std::vector<Node> merged;  // the values of <<
  };

  void Count(Place place) {
    if (++nodes_ > kMostNodes)
      throw Fault{place,
                  Cat("more than ", std::to_string(kMostNodes), " values, aliases expanded")};
  }

  void Spend(const Node& node, Place place) {
    Count(place);
    copied_ += node.text.size();
    for (const Node& item : node.items) Spend(item, place);
    for (const Member& member : node.members) {
      copied_ += member.key.size();
      Spend(member.value, place);
    }
    if (copied_ > kMostCopied) throw Fault{place, "aliases that expand to too much text"};
  }

  void Open(Kind kind, Place place, YAML::anchor_t anchor) {
    Count(place);
    if (open_.size() == kMostDepth) throw Fault{place, "nested too deeply"};
    Unfinished one;
    one.node.kind = kind;
    one.node.place = place;
    one.anchor = anchor;
    open_.push_back(std::move(one));
  }

  void Close() {
    Unfinished done = std::move(open_.back());
    open_.pop_back();
    // What stands in the map itself comes first, then what is merged, in its order.
    for (Node& map : done.merged) {
      for (Member& member : map.members) {
        if (done.keys.insert(member.key).second) done.node.members.push_back(std::move(member));
      }
    }
    Put(std::move(done.node), done.anchor);
  }

  // Puts a finished value where it belongs.
  void Put(Node node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = node;
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Unfinished& parent = open_.back();
    if (parent.node.kind == Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.has_key) {
      if (node.kind == Kind::kList || node.kind == Kind::kMap)
        throw Fault{node.place, "a key that is a list or a map"};
      parent.key = std::move(node);
      parent.has_key = true;
    } else {
      parent.has_key = false;
      AddMember(&parent, std::move(node));
    }
  }

  static void AddMember(Unfinished* parent, Node value) {
    const Node& key = parent->key;
    if (key.text == "<<" && (value.kind == Kind::kMap || value.kind == Kind::kList)) {
      if (value.kind == Kind::kMap) {
        parent->merged.push_back(std::move(value));
      } else {
        for (Node& map : value.items) parent->merged.push_back(std::move(map));
      }
      return;
    }
    if (!parent->keys.insert(key.text).second)
      throw Fault{key.place, Cat("the key ", Quote(key.text), " stands twice in one map")};
    parent->node.members.push_back({key.text, key.place, std::move(value)});
  }

  std::vector<Node> documents_;
  Node root_;
  std::vector<Unfinished> open_;
  std::map<YAML::anchor_t, Node> anchors_;
  size_t nodes_ = 0, copied_ = 0;
};

// Where the first byte stands that is no text.
const char* NotText(std::string_view text, Place* place) {
  *place = {1, 1};
  while (!text.empty()) {
    const size_t length = Utf8CharacterLength(text);
    if (length == 0) return "not UTF-8 text";
    if (text[0] == '\0') return "a NUL byte: this is not a text file";
    if (text[0] == '\n') {
      ++place->line;
      place->column = 0;
    }
    ++place->column;
    text.remove_prefix(length);
  }
  return nullptr;
}

}  // namespace

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kBool:
      return "true or false";
    case Kind::kNumber:
      return "a number";
    case Kind::kString:
      return "a string";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "a map";
  }
  return "";
}

const Node* Node::Find(std::string_view key) const {
  const auto found = std::ranges::find(members, key, &Member::key);
  return found == members.end() ? nullptr : &found->value;
}

tl::expected<std::vector<Node>, config::Finding> ReadYaml(const std::string& file,
                                                          const std::string& text) {
  const auto fault = [&](Place place, std::string what) {
    return tl::unexpected(config::Finding{
        config::Severity::kError, {file, place.line, place.column}, std::move(what)});
  };
  if (text.size() > kMostBytes) return fault({}, "is larger than 1MiB, the most that is read");
  Place place;
  if (const char* what = NotText(text, &place)) return fault(place, what);
  Builder builder;
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Fault& f) {
    return fault(f.place, f.text);
  } catch (const YAML::Exception& e) {
    return fault(PlaceOf(e.mark), Cat("not YAML: ", e.msg));
  } catch (const std::exception& e) {
    return fault({1, 1}, Cat("not YAML: ", e.what()));
  }
  return builder.Take();
}

}  // namespace penstock::import_argo
