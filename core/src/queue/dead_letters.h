// Where the dead letters of one source are kept.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "queue/progress.h"

namespace penstock::queue {

// Any thread.
class DeadLetters {
 public:
  DeadLetters() = default;
  DeadLetters(const DeadLetters&) = delete;
  DeadLetters& operator=(const DeadLetters&) = delete;
  virtual ~DeadLetters() = default;

  enum class Room {
    kReserved,  // for this one; it must be kept later
    kFull,      // ask again
    kNowhere,   // nothing is kept at all
  };
  virtual Room Reserve(const Letter& letter, const std::string& sink) = 0;
  // Keeps letters that room was reserved for; calls stored from some thread once they are on disk.
  virtual void Keep(const std::string& sink, std::vector<Letter> letters,
                    std::function<void()> stored) = 0;
};

}  // namespace penstock::queue
