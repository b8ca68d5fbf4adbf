// The sink that takes everything and keeps nothing: for trials, and to measure all that lies before
// a sink.
#include <penstock/plugin.hpp>

namespace {

class NullSink : public penstock::Sink {
 public:
  static constexpr uint32_t kCaps = PENSTOCK_CAP_PREFIX;

  NullSink(const penstock::Host& host, const penstock::Config&) : Sink(host) {}

  size_t Submit(const penstock_message_batch& batch) override {
    receipts_.clear();
    for (size_t i = 0; i < batch.count; ++i)
      receipts_.push_back(
          {penstock_message_at(&batch, i)->token, PENSTOCK_DELIVERED, 0, 0, 0, {nullptr, 0}});
    Complete(receipts_.data(), receipts_.size());
    return batch.count;
  }

 private:
  std::vector<penstock_receipt> receipts_;  // of the batch at hand; kept for its memory
};

}  // namespace

PENSTOCK_SINK_PLUGIN(NullSink, "null", PENSTOCK_VERSION, "Takes every event and keeps none.")
