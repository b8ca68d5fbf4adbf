// A whole sink plugin, as somebody outside would write it: appends each payload to a file.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <penstock/plugin.hpp>
#include <string>

class Append : public penstock::Sink {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::String("path").Required().Help("The file to append to."),
      penstock::Option::Template("prefix").Default("{source}").Help("What a line begins with."),
  };

  static void Check(const penstock::Config& config, const penstock::Report& report) {
    if (config.Str("path").empty()) report.Error("path", "is empty; name a file");
  }

  Append(const penstock::Host& h, const penstock::Config& config)
      : Sink(h), path_(config.Str("path")) {}
  ~Append() override {
    if (file_ != nullptr) std::fclose(file_);
  }

  void Start() override {
    file_ = std::fopen(path_.c_str(), "a");
    if (file_ == nullptr) throw std::runtime_error(path_ + ": " + std::strerror(errno));
    host().Info("appending to " + path_);
  }

  size_t Submit(const penstock_message_batch& batch) override {
    for (size_t i = 0; i < batch.count; ++i) {
      const penstock_message& m = *penstock_message_at(&batch, i);
      std::string line(m.templates[0].ptr, m.templates[0].len);
      line.append(" ").append(m.payload.ptr, m.payload.len).append("\n");
      const bool written =
          std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
      Complete(m.token, written ? PENSTOCK_DELIVERED : PENSTOCK_UNKNOWN);
    }
    return batch.count;
  }

 private:
  const std::string path_;
  std::FILE* file_ = nullptr;
};

PENSTOCK_SINK_PLUGIN(Append, "append", "1.0.0", "Appends each payload to a file.")
