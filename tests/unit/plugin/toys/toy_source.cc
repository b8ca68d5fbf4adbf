// A source on the C++ SDK that emits one event and is finished.
#include <penstock/plugin.hpp>

class Once : public penstock::Source {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::String("text").Default("hello").Help("The payload of the one event.")};
  Once(const penstock::Host& h, const penstock::Config& config)
      : Source(h), text_(config.Str("text")) {}
  void Run() override {
    penstock::Event event;
    event.SetPayload(text_);
    Emit(event);
  }

 private:
  std::string text_;
};
PENSTOCK_SOURCE_PLUGIN(Once, "once", "0.3.0", "Emits one event.")
