// A sink that takes events and never answers.
#include <penstock/plugin.hpp>

class Silent : public penstock::Sink {
 public:
  Silent(const penstock::Host& h, const penstock::Config&) : Sink(h) {}

  size_t Submit(const penstock_message_batch& batch) override {
    host().Ready("has one");
    return batch.count;
  }
};

PENSTOCK_SINK_PLUGIN(Silent, "silent", "1.0.0", "Never answers.")
