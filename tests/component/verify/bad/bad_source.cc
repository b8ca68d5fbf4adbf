// A source that emits numbered events, with and without an owner, if it is not told to do something
// wrong.
#include <stdexcept>

#include "bad.h"

namespace {

struct Block : penstock_owner {
  explicit Block(std::string text) : penstock_owner{&Give}, payload(std::move(text)) {}
  static void Give(penstock_owner* self, uint32_t) noexcept { delete static_cast<Block*>(self); }
  std::string payload;
};

class BadSource : public penstock::Source {
 public:
  BadSource(const penstock::Host& host, const penstock::Config&) : Source(host) {}
  ~BadSource() override {
    if (Bad("late-log") && n_ > 0) {
      std::thread([host = host().raw()] {
        usleep(50'000);
        host->log(host, PENSTOCK_LOG_INFO, penstock::Str("still here"), nullptr, 0);
      }).detach();
    }
  }

  void Run() override {
    if (Bad("run-gives-up")) throw std::runtime_error("nobody answers");
    if (Bad("run-crash")) Crash();
    while (!Ends()) {
      const bool more = EmitOne(n_++);
      if (!more && !Bad("run-ignores-stopped")) return;
      // What is refused is never freed: it must not run out of memory, which would end it.
      if (!more) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (n_ % 16 == 0) SleepFor(std::chrono::milliseconds(1));
      if (Bad("run-forgets")) running_ = true;
    }
    if (Bad("run-ignores-stop")) WaitForEver();
  }

 private:
  bool Ends() const {
    if (refused_ && Bad("run-ignores-stopped")) return false;
    // stop() counts only when run() has begun before it.
    if (Bad("run-forgets") && !running_ && Stopping()) WaitForEver();
    return Stopping();
  }

  // False: the host takes no more.
  bool EmitOne(uint64_t n) {
    const std::string number = std::to_string(n);
    auto* block = new Block("event " + number + std::string(200, '.'));
    std::string id = number;
    if (Bad("event-id-long")) id.assign(PENSTOCK_EVENT_ID_MAX + 1, 'x');
    if (Bad("event-id-twice")) id = std::to_string(n / 4);
    const penstock_kv attribute{penstock::Str(Bad("event-attribute") ? "No_Such" : "region"),
                                penstock::Str("north")};
    penstock::Event events[2];
    for (penstock::Event& event : events) {
      event.attributes = &attribute;
      event.n_attributes = 1;
    }
    const bool owned = n % 2 == 0;  // the host copies what the others point to
    events[0].payload = penstock::Str(block->payload);
    if (owned) {
      events[0].owner = block;
      events[0].attributes = nullptr;  // it would not live as long
      events[0].n_attributes = 0;
    } else {
      events[0].SetId(id);
    }
    events[1].SetPayload(number);
    const bool more = Give(events, 2);
    if (!owned || Bad("owner-frees-early")) delete block;
    return more;
  }

  bool Give(const penstock_event* events, size_t n) {
    while (n > 0) {
      const penstock_event_batch batch{sizeof batch, sizeof(penstock_event), events, n};
      size_t accepted = 0;
      const penstock_status status =
          host().raw()->emit(host().raw(), &batch, &accepted, 10'000'000);
      events += accepted;
      n -= accepted;
      refused_ = status == PENSTOCK_STOPPED;
      if (refused_) return false;
      if (Bad("rest-dropped") || (status == PENSTOCK_AGAIN && Stopping())) return true;
    }
    return true;
  }

  uint64_t n_ = 0;
  bool running_ = false, refused_ = false;
};

}  // namespace

PENSTOCK_SOURCE_PLUGIN(BadSource, "bad", "1.0.0", "Does things wrong.")
