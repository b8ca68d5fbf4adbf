#include "config/table_reader.h"

#include <algorithm>
#include <charconv>

namespace penstock::config {
namespace {

constexpr size_t kNameMost = 512;

std::string OutOfRange(const std::string& least, const std::string& most,
                       const std::string& found) {
  return Cat("must be from ", least, " to ", most, ", found ", found);
}

Result<std::string> EntryText(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kString:
      return AsString(node).map([](std::string_view text) { return std::string(text); });
    case Node::Kind::kInteger:
      return std::to_string(node.integer);
    case Node::Kind::kBoolean:
      return std::string(node.boolean ? "true" : "false");
    case Node::Kind::kFloat:
      return AsFloat(node).map([](double number) {
        char text[64];
        const auto end = std::to_chars(text, text + sizeof text, number).ptr;
        return std::string(text, end);
      });
    default:
      return Fail(Code::kConfig, Expected("a string, a number, true or false", node));
  }
}

class EntryReader {
 public:
  EntryReader(Findings* findings, std::vector<Entry>* out) : findings_(findings), out_(out) {}

  void Read(const Node& table, const std::string& path, const std::string& prefix) {
    for (const Member& member : table.members) {
      const std::string key = prefix + member.key;
      const std::string full = Cat(path, ".", member.key);
      if (member.value.IsTable()) {
        Read(member.value, full, key + ".");
      } else if (key.empty() || HasControlCharacter(key)) {
        findings_->Error(member.key_where.ToPosition(),
                         Cat(full, ": a key is not empty and holds no control characters"));
      } else if (auto text = EntryText(member.value); !text) {
        findings_->Error(member.value.where.ToPosition(), Cat(full, ": ", text.error().message));
      } else {
        out_->push_back({key, &member.value, std::move(*text)});
      }
    }
  }

 private:
  Findings* findings_;
  std::vector<Entry>* out_;
};

}  // namespace

bool IsInstanceName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

std::vector<Entry> ReadEntries(const Node& table, const std::string& path, Findings* findings) {
  std::vector<Entry> entries;
  EntryReader(findings, &entries).Read(table, path, "");
  std::vector<const Entry*> sorted;
  for (const Entry& entry : entries) sorted.push_back(&entry);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Entry* a, const Entry* b) { return a->key < b->key; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i]->key != sorted[i - 1]->key) continue;
    findings->Error(sorted[i]->node->where.ToPosition(),
                    Cat(path, ": ", Quote(sorted[i]->key), " is set twice, the other is at ",
                        PlaceText(sorted[i - 1]->node->where)));
  }
  return entries;
}

TableReader::TableReader(const Node* node, std::string path, Findings* findings)
    : node_(node), path_(std::move(path)), findings_(findings) {
  if (node_ != nullptr && !node_->IsTable()) {
    findings_->Error(node_->where.ToPosition(), Cat(path_, ": ", Expected("a table", *node_)));
    node_ = nullptr;
  }
}

std::string TableReader::PathOf(std::string_view key) const {
  if (key.empty()) return path_;
  return path_.empty() ? std::string(key) : Cat(path_, ".", key);
}

void TableReader::Error(const Node& at, std::string_view key, std::string_view text) {
  findings_->Error(at.where.ToPosition(), Cat(PathOf(key), ": ", text));
}

const Node* TableReader::Find(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  const Member* member = node_ == nullptr ? nullptr : node_->Find(key);
  return member == nullptr ? nullptr : &member->value;
}

TableReader TableReader::Table(std::string_view key) {
  return TableReader(Find(key), PathOf(key), findings_);
}

void TableReader::Name(std::string_view key, std::string* out) {
  const Node* node = Find(key);
  if (node == nullptr) return;
  const auto text = AsString(*node);
  if (!text) return Error(*node, key, text.error().message);
  if (text->empty()) return Error(*node, key, "must not be empty");
  if (text->size() > kNameMost) {
    return Error(*node, key, Cat("is longer than ", std::to_string(kNameMost), " bytes"));
  }
  if (HasControlCharacter(*text)) return Error(*node, key, "must not hold control characters");
  *out = *text;
}

void TableReader::Integer(std::string_view key, uint64_t least, uint64_t most, uint64_t* out) {
  const Node* node = Find(key);
  if (node == nullptr) return;
  const auto value = AsInteger(*node);
  if (!value) return Error(*node, key, value.error().message);
  if (*value < 0 || static_cast<uint64_t>(*value) < least || static_cast<uint64_t>(*value) > most) {
    return Error(*node, key,
                 OutOfRange(std::to_string(least), std::to_string(most), std::to_string(*value)));
  }
  *out = static_cast<uint64_t>(*value);
}

void TableReader::Duration(std::string_view key, std::chrono::nanoseconds least,
                           std::chrono::nanoseconds most, std::chrono::nanoseconds* out) {
  const Node* node = Find(key);
  if (node == nullptr) return;
  const auto value = AsDuration(*node);
  if (!value) return Error(*node, key, value.error().message);
  if (*value < least.count() || *value > most.count()) {
    return Error(*node, key,
                 OutOfRange(FormatDuration(least.count()), FormatDuration(most.count()),
                            FormatDuration(*value)));
  }
  *out = std::chrono::nanoseconds(*value);
}

void TableReader::Size(std::string_view key, uint64_t least, uint64_t most, uint64_t* out) {
  const Node* node = Find(key);
  if (node == nullptr) return;
  const auto value = AsSize(*node);
  if (!value) return Error(*node, key, value.error().message);
  const auto size = static_cast<uint64_t>(*value);
  if (size < least || size > most) {
    return Error(*node, key, OutOfRange(FormatSize(least), FormatSize(most), FormatSize(size)));
  }
  *out = size;
}

std::vector<const Node*> TableReader::Strings(std::string_view key) {
  const Node* node = Find(key);
  if (node == nullptr) return {};
  if (node->kind == Node::Kind::kString) return {node};
  if (node->kind != Node::Kind::kList) {
    Error(*node, key, Expected("a list of strings", *node));
    return {};
  }
  std::vector<const Node*> out;
  for (const Node& item : node->items) {
    if (const auto text = AsString(item); !text) {
      Error(item, key, text.error().message);
    } else {
      out.push_back(&item);
    }
  }
  return out;
}

size_t TableReader::ChooseName(std::string_view key, std::span<const std::string_view> names) {
  const Node* node = Find(key);
  if (node == nullptr) return names.size();
  const auto text = AsString(*node);
  if (!text) {
    Error(*node, key, text.error().message);
    return names.size();
  }
  const auto found = std::find(names.begin(), names.end(), *text);
  if (found == names.end()) {
    Error(*node, key,
          Cat("expected ", Join(names, "or"), ", found ", Quote(*text), DidYouMean(*text, names)));
  }
  return static_cast<size_t>(found - names.begin());
}

void TableReader::RefuseUnknown() {
  if (node_ == nullptr) return;
  for (const Member& member : node_->members) {
    if (std::find(known_.begin(), known_.end(), member.key) != known_.end()) continue;
    const std::string_view thing = member.value.IsTable() ? "unknown table " : "unknown key ";
    const std::string place = path_.empty() ? "" : Cat(" in [", path_, "]");
    findings_->Error(
        member.key_where.ToPosition(),
        Cat(thing, Quote(member.key), place, findings_->full() ? "" : Suggest(member.key, known_)));
  }
}

}  // namespace penstock::config
