// A source that logs in a loop.
#include <penstock/plugin.hpp>
#include <string>

class Chatty : public penstock::Source {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::Int("lines").Required().Help("How many lines it logs."),
  };

  Chatty(const penstock::Host& h, const penstock::Config& config)
      : Source(h), lines_(config.Int("lines")) {}

  void Run() override {
    for (int64_t i = 0; i < lines_; ++i) host().Info("line " + std::to_string(i));
  }
  void Stop() override {}

 private:
  const int64_t lines_;
};

PENSTOCK_SOURCE_PLUGIN(Chatty, "chatty", "1.0.0", "Logs in a loop.")
