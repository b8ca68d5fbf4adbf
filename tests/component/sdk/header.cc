// plugin.hpp alone, twice, with a plugin on it.
#include <penstock/plugin.hpp>

class Sink : public penstock::Sink {
 public:
  Sink(const penstock::Host& h, const penstock::Config&) : penstock::Sink(h) {}
  size_t Submit(const penstock_message_batch& batch) override {
    for (size_t i = 0; i < batch.count; ++i)
      Complete(penstock_message_at(&batch, i)->token, PENSTOCK_DELIVERED);
    return batch.count;
  }
};
PENSTOCK_SINK_PLUGIN(Sink, "header", "1.0.0", "Shows that the header compiles.")
