// Power cuts, chosen by a seed: which moment, what becomes of what was not synced, which file
// system. The image of a seed and a number is the same for ever, so that one number replays it.
#ifndef PENSTOCK_TESTS_FAULTS_IMAGES_CRASH_IMAGE_H
#define PENSTOCK_TESTS_FAULTS_IMAGES_CRASH_IMAGE_H

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "faults/images/crash_log.h"
#include "faults/images/disk_model.h"

namespace penstock_faults {

struct PowerCut {
  uint64_t seed, number;
  size_t position;  // in front of this record of the log
  Fate fate;
  NameModel names;
  size_t mark_bytes;  // so many bytes of the log's marks were written before it
};
std::string ToText(const PowerCut& cut);

enum class NameChoice { kExt4, kStrict, kBoth };

// The power cut of this number. A third of them anywhere, a third while a sync is under way, a
// third close behind a mark: there an acknowledgement is fresh.
class CutPlan {
 public:
  CutPlan(const CrashLog& log, uint64_t seed, NameChoice names);
  PowerCut Cut(uint64_t number) const;

 private:
  const CrashLog& log_;
  const uint64_t seed_;
  const NameChoice names_;
  std::vector<size_t> marks_;                     // positions behind marks
  std::vector<std::pair<size_t, size_t>> syncs_;  // positions between begin and end
};

// Calls use for the image of each cut, in the order of their positions (it takes `cuts` in any).
// The log is played once for each name model. without_syncs: as if the syncs did nothing. False
// from use ends it.
void ForEachImage(const CrashLog& log, std::vector<PowerCut> cuts, bool without_syncs,
                  const std::function<bool(const PowerCut&, const Image&)>& use);

// Writes the image into a directory, in place of what was there. Throws std::runtime_error.
void Materialise(const Image& image, const std::string& directory);

// How the directory differs from the state at the end of the log; empty: not at all. Says whether
// the recorder saw everything. Content of lock.mdb is not compared.
std::vector<std::string> DifferencesAtEnd(const CrashLog& log, const std::string& directory);

}  // namespace penstock_faults

#endif  // PENSTOCK_TESTS_FAULTS_IMAGES_CRASH_IMAGE_H
