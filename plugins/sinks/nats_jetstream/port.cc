#include "port.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <stdexcept>
#include <utility>

namespace penstock::nats_jetstream {
namespace {

constexpr uint64_t kWakeId = ~uint64_t{0};

int Checked(int fd, const char* what) {
  if (fd < 0) throw std::runtime_error(std::string(what) + " failed: too many open files?");
  return fd;
}

}  // namespace

Port::Port()
    : wake_fd_(Checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")),
      epoll_fd_(Checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")) {
  Watch(wake_fd_, kWakeId);
}

Port::~Port() {
  for (const Answer& answer : answers_) natsMsg_Destroy(answer.msg);
  close(epoll_fd_);
  close(wake_fd_);
}

void Port::PostAnswers(std::vector<Answer>* answers) {
  if (answers->empty()) return;
  {
    std::lock_guard lock(mutex_);
    answers_.insert(answers_.end(), answers->begin(), answers->end());
  }
  answers->clear();
  Wake();
}

void Port::PostNote(Note note) {
  {
    std::lock_guard lock(mutex_);
    notes_.push_back(std::move(note));
  }
  Wake();
}

void Port::Wake() {
  if (!waiting_.exchange(false)) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);
}

Port::Ready Port::Wait(uint64_t connection, int64_t timeout_ns) {
  epoll_event events[4];
  const int64_t kMillisecond = 1000000;
  const int timeout =
      timeout_ns < 0 ? -1 : static_cast<int>((timeout_ns + kMillisecond - 1) / kMillisecond);
  const int n = epoll_wait(epoll_fd_, events, 4, timeout);
  Ready ready;
  for (int i = 0; i < n; ++i) {
    if (events[i].data.u64 == kWakeId) {
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t got = read(wake_fd_, &count, sizeof count);
    } else if (events[i].data.u64 == connection) {
      ready.readable = (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
      ready.writable = (events[i].events & EPOLLOUT) != 0;
    }
  }
  return ready;
}

void Port::TakeAnswers(std::vector<Answer>* answers, std::vector<Note>* notes) {
  answers->clear();
  notes->clear();
  std::lock_guard lock(mutex_);
  answers->swap(answers_);
  notes->swap(notes_);
}

bool Port::HasPosts() {
  std::lock_guard lock(mutex_);
  return !answers_.empty() || !notes_.empty();
}

void Port::Watch(int fd, uint64_t connection) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = connection;
  epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
}

void Port::WatchWrites(int fd, uint64_t connection, bool on) {
  epoll_event event{};
  event.events = EPOLLIN;
  if (on) event.events |= EPOLLOUT;
  event.data.u64 = connection;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event);
}

void Port::Unwatch(int fd) { epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr); }

}  // namespace penstock::nats_jetstream
