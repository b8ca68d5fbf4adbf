// A sink that rejects whatever comes while a file is there, and takes it once that is gone.
#include <unistd.h>

#include <penstock/plugin.hpp>
#include <string>

class Picky : public penstock::Sink {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::String("while").Required().Help("The file."),
  };

  Picky(const penstock::Host& h, const penstock::Config& config)
      : Sink(h), path_(config.Str("while")) {}

  size_t Submit(const penstock_message_batch& batch) override {
    for (size_t i = 0; i < batch.count; ++i) {
      penstock_receipt receipt{};
      receipt.token = penstock_message_at(&batch, i)->token;
      receipt.outcome = PENSTOCK_DELIVERED;
      if (access(path_.c_str(), F_OK) == 0) {
        receipt.outcome = PENSTOCK_REJECTED;
        receipt.reason = penstock::Str("this sink is picky");
        receipt.code = 42;
      }
      Complete(&receipt, 1);
    }
    return batch.count;
  }

 private:
  const std::string path_;
};

PENSTOCK_SINK_PLUGIN(Picky, "picky", "1.0.0", "Rejects events while a file is there.")
