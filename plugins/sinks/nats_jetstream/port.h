// Where everything that the loop thread must know arrives: answers, changes of the connection, new
// messages (which the publisher keeps itself). Outlives the loop, so that a thread that is late
// harms nobody.
#pragma once

#include <nats/nats.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::nats_jetstream {

struct Answer {
  uint64_t key;  // of the reply subject
  natsMsg* msg;  // owned by whoever takes the answer
  bool plain;    // an acknowledgement without remarks
};

struct Note {
  enum Kind {
    kUp,          // the connection is ready for messages; text: where to
    kNotYet,      // it is connected, but something is missing; text says what
    kFailed,      // it could not be made, or ended before it was up; text says why
    kDown,        // it was up and has ended; text says why
    kNotAllowed,  // the server refuses what it was sent; text is the server's
    kWarning,     // for the log
    kInfo
  };
  Kind kind;
  uint64_t connection;  // which one
  std::string text;
  bool slow = false;  // kFailed: trying again at once is of no use
};

class Port {
 public:
  Port();
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // Any thread.
  void PostAnswers(std::vector<Answer>* answers);  // empties it
  void PostNote(Note note);
  void Wake();

  // The loop thread. Waits until something arrives, a socket is ready or the time is over. Returns
  // whether the watched socket is readable or writable, for the connection that has this id.
  struct Ready {
    bool readable = false, writable = false;
  };
  Ready Wait(uint64_t connection, int64_t timeout_ns);
  // Says that the loop is about to wait: from now on posting wakes it.
  void AnnounceWait() { waiting_.store(true); }
  void CancelWait() { waiting_.store(false); }
  void TakeAnswers(std::vector<Answer>* answers, std::vector<Note>* notes);
  bool HasPosts();

  // Watching a connection's socket. Any thread.
  void Watch(int fd, uint64_t connection);
  void WatchWrites(int fd, uint64_t connection, bool on);
  void Unwatch(int fd);

 private:
  const int wake_fd_;
  const int epoll_fd_;
  std::atomic<bool> waiting_{false};
  std::mutex mutex_;
  std::vector<Answer> answers_;
  std::vector<Note> notes_;
};

}  // namespace penstock::nats_jetstream
