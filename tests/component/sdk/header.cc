// plugin.hpp alone, twice, with a plugin on it.
#include <penstock/plugin.hpp>

class Sink : public penstock::Sink {
 public:
  static constexpr uint32_t kCaps = PENSTOCK_CAP_DEDUPLICATES;
  static constexpr char kVendor[] = "The tests";
  static constexpr char kLicense[] = "MIT";
  Sink(const penstock::Host& h, const penstock::Config&) : penstock::Sink(h) {}
  size_t Submit(const penstock_message_batch& batch) override {
    for (size_t i = 0; i < batch.count; ++i)
      Complete(penstock_message_at(&batch, i)->token, PENSTOCK_DELIVERED);
    return batch.count;
  }
};
PENSTOCK_SINK_PLUGIN(Sink, "header", "1.0.0", "Shows that the header compiles.")
static_assert(penstock_plugin_entry.caps == PENSTOCK_CAP_DEDUPLICATES);
static_assert(std::string_view(penstock_plugin_entry.vendor) == "The tests");
static_assert(std::string_view(penstock_plugin_entry.license) == "MIT");
static_assert(std::string_view(penstock_plugin_entry.doc_url).empty());
