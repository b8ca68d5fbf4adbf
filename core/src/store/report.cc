#include "store/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace penstock::store {
namespace {

using Json = nlohmann::json;

Json Encode(const std::vector<LostRange>& ranges) {
  Json out = Json::array();
  for (const LostRange& r : ranges) {
    out.push_back({{"number", r.number}, {"queue", r.queue}, {"first", r.first}, {"end", r.end}});
  }
  return out;
}

Json Encode(const Finding& finding) {
  Json out = {{"severity", finding.severity == Finding::Severity::kNote ? "note" : "damage"},
              {"text", finding.text},
              {"lost", Encode(finding.lost)}};
  if (finding.page) out["page"] = *finding.page;
  return out;
}

Json Encode(const QueueSummary& queue) {
  Json cursors = Json::array();
  for (const CursorSummary& cursor : queue.cursors)
    cursors.push_back({{"sink", cursor.sink}, {"committed", cursor.committed}});
  return {{"number", queue.number},   {"name", queue.name},     {"begin", queue.begin},
          {"end", queue.end},         {"chunks", queue.chunks}, {"events", queue.events},
          {"letters", queue.letters}, {"cursors", cursors},     {"holes", Encode(queue.holes)}};
}

Json Encode(const Repaired& repaired) {
  return {{"from_tree", repaired.from_tree},
          {"from_pages", repaired.from_pages},
          {"letters_returned", repaired.letters_returned},
          {"ignored", repaired.ignored},
          {"beyond_tree", repaired.beyond_tree},
          {"changes", repaired.changes},
          {"holes", Encode(repaired.holes)}};
}

std::vector<LostRange> DecodeRanges(const Json& json) {
  std::vector<LostRange> out;
  for (const Json& r : json)
    out.push_back({r.at("number"), r.at("queue"), r.at("first"), r.at("end")});
  return out;
}

Finding DecodeFinding(const Json& json) {
  Finding out;
  const bool note = json.at("severity") == "note";
  out.severity = note ? Finding::Severity::kNote : Finding::Severity::kDamage;
  out.text = json.at("text");
  if (json.contains("page")) out.page = json.at("page").get<uint64_t>();
  out.lost = DecodeRanges(json.at("lost"));
  return out;
}

QueueSummary DecodeSummary(const Json& json) {
  QueueSummary out;
  out.number = json.at("number");
  out.name = json.at("name");
  out.begin = json.at("begin");
  out.end = json.at("end");
  out.chunks = json.at("chunks");
  out.events = json.at("events");
  out.letters = json.at("letters");
  for (const Json& cursor : json.at("cursors"))
    out.cursors.push_back({cursor.at("sink"), cursor.at("committed")});
  out.holes = DecodeRanges(json.at("holes"));
  return out;
}

Repaired DecodeRepaired(const Json& json) {
  Repaired out;
  out.from_tree = json.at("from_tree");
  out.from_pages = json.at("from_pages");
  out.letters_returned = json.at("letters_returned");
  out.ignored = json.at("ignored");
  out.beyond_tree = json.at("beyond_tree").get<std::vector<std::string>>();
  out.changes = json.at("changes").get<std::vector<std::string>>();
  out.holes = DecodeRanges(json.at("holes"));
  return out;
}

Report DecodeReport(const Json& json) {
  Report out;
  out.fresh = json.at("fresh");
  out.commit = json.at("commit");
  out.file_bytes = json.at("file_bytes");
  out.pages = json.at("pages");
  out.free_pages = json.at("free_pages");
  out.leaked_pages = json.at("leaked_pages");
  out.values = json.at("values");
  for (const Json& finding : json.at("findings")) out.findings.push_back(DecodeFinding(finding));
  out.more_findings = json.at("more_findings");
  out.more_damage = json.at("more_damage");
  for (const Json& queue : json.at("queues")) out.queues.push_back(DecodeSummary(queue));
  if (json.contains("repaired")) out.repaired = DecodeRepaired(json.at("repaired"));
  return out;
}

}  // namespace

bool Report::sound() const {
  return more_damage == 0 && std::none_of(findings.begin(), findings.end(), [](const Finding& f) {
           return f.severity == Finding::Severity::kDamage;
         });
}

std::vector<LostRange> Report::lost() const {
  std::vector<LostRange> out;
  for (const Finding& finding : findings)
    out.insert(out.end(), finding.lost.begin(), finding.lost.end());
  return out;
}

void Report::Add(Finding finding) {
  // What is lost is never left out: it comes last, and there is one finding for each queue.
  if (findings.size() < kMaxFindings || !finding.lost.empty()) {
    findings.push_back(std::move(finding));
    return;
  }
  ++more_findings;
  if (finding.severity == Finding::Severity::kDamage) ++more_damage;
}

void Report::Note(std::string text) { Add({Finding::Severity::kNote, std::move(text), {}, {}}); }

void Report::Damage(std::string text, std::optional<uint64_t> page) {
  Add({Finding::Severity::kDamage, std::move(text), page, {}});
}

std::string ToJson(const Report& report) {
  Json findings = Json::array(), queues = Json::array();
  for (const Finding& finding : report.findings) findings.push_back(Encode(finding));
  for (const QueueSummary& queue : report.queues) queues.push_back(Encode(queue));
  Json out = {{"sound", report.sound()},
              {"fresh", report.fresh},
              {"commit", report.commit},
              {"file_bytes", report.file_bytes},
              {"pages", report.pages},
              {"free_pages", report.free_pages},
              {"leaked_pages", report.leaked_pages},
              {"values", report.values},
              {"findings", findings},
              {"more_findings", report.more_findings},
              {"more_damage", report.more_damage},
              {"queues", queues}};
  if (report.repaired) out["repaired"] = Encode(*report.repaired);
  // Names of sinks and queues come from the file and may be any bytes.
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Report> ReportFromJson(std::string_view json) {
  try {
    return DecodeReport(Json::parse(json));
  } catch (const Json::exception& e) {
    return Fail(Code::kFatal, std::string("not a report: ") + e.what());
  }
}

}  // namespace penstock::store
