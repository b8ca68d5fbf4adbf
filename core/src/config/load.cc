#include <unordered_map>
#include <utility>

#include "config/config.h"
#include "config/files.h"
#include "config/model.h"
#include "config/node.h"
#include "config/text.h"
#include "config/toml_reader.h"

namespace penstock::config {
namespace {

// Puts the tables of a later file into those of earlier ones.
class Merger {
 public:
  explicit Merger(Findings* findings) : findings_(findings) {}

  void Merge(Node* into, Node from, const std::string& path, bool later_wins) {
    std::unordered_map<std::string, size_t> index;
    for (size_t i = 0; i < into->members.size(); ++i) index.emplace(into->members[i].key, i);
    for (Member& member : from.members) {
      const std::string full = path.empty() ? member.key : Cat(path, ".", member.key);
      const auto found = index.find(member.key);
      if (found == index.end()) {
        into->members.push_back(std::move(member));
        continue;
      }
      Member& earlier = into->members[found->second];
      if (earlier.value.IsTable() && member.value.IsTable()) {
        Merge(&earlier.value, std::move(member.value), full, later_wins || full == "gateway");
      } else if (later_wins) {
        earlier = std::move(member);
      } else {
        findings_->Error(member.key_where.ToPosition(),
                         Cat(full, " is set twice, first at ", PlaceText(earlier.key_where),
                             ": remove one of the two"));
      }
    }
  }

 private:
  Findings* findings_;
};

Loaded LoadAll(const std::vector<FileText>& files, const std::string& main_file, bool incomplete,
               Findings findings) {
  Node root;
  Merger merger(&findings);
  Loaded out;
  out.files.push_back(main_file);
  for (const FileText& file : files) {
    if (file.path != main_file) out.files.push_back(file.path);
    auto parsed = ParseToml(file.text, std::make_shared<const std::string>(file.path));
    if (parsed) {
      merger.Merge(&root, std::move(*parsed), "", false);
    } else {
      incomplete = true;
      findings.Error(parsed.error().where.ToPosition(), std::move(parsed.error().text));
    }
  }
  out.complete = !incomplete;
  out.config = BuildModel(root, main_file, incomplete, &findings);
  out.findings = findings.Take(out.files);
  return out;
}

}  // namespace

Loaded Load(const std::string& main_file) {
  Findings findings;
  bool incomplete = false;
  const std::vector<FileText> files = ReadConfigFiles(main_file, &findings, &incomplete);
  return LoadAll(files, main_file, incomplete, std::move(findings));
}

Loaded LoadText(const std::vector<FileText>& files) {
  return LoadAll(files, files.empty() ? std::string() : files.front().path, false, Findings());
}

}  // namespace penstock::config
