// A sink that does what none may: its submit does not return, until a file appears.
#include <unistd.h>

#include <penstock/plugin.hpp>
#include <string>

class Stuck : public penstock::Sink {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::String("until").Required().Help("The file that ends it."),
  };

  Stuck(const penstock::Host& h, const penstock::Config& config)
      : Sink(h), until_(config.Str("until")) {}

  size_t Submit(const penstock_message_batch& batch) override {
    host().Ready("in submit");
    while (::access(until_.c_str(), F_OK) != 0) ::usleep(10'000);
    for (size_t i = 0; i < batch.count; ++i)
      Complete(penstock_message_at(&batch, i)->token, PENSTOCK_DELIVERED);
    return batch.count;
  }

 private:
  const std::string until_;
};

PENSTOCK_SINK_PLUGIN(Stuck, "stuck", "1.0.0", "Does not return from submit.")
