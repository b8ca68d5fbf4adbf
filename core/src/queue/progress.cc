#include "queue/progress.h"

namespace penstock::queue {

const char* DropReasonName(DropReason reason) {
  switch (reason) {
    case DropReason::kWhenFull:
      return "when_full";
    case DropReason::kBehind:
      return "behind";
    case DropReason::kRejected:
      return "rejected";
    case DropReason::kUnencodable:
      return "unencodable";
    case DropReason::kCorrupted:
      return "corrupted";
    case DropReason::kRetryLimit:
      return "retry_limit";
    case DropReason::kForgotten:
      return "forgotten";
    case DropReason::kFiltered:
      return "filtered";
    case DropReason::kFilterError:
      return "filter_error";
  }
  return "?";
}

}  // namespace penstock::queue
