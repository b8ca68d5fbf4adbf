// A whole sink plugin: appends each event to a file, one a line.
//
// Submit only takes messages; a thread of the sink's own writes them and gives the receipts, many
// at a time. This is the shape of every sink whose bus takes time to answer.
#include <fstream>
#include <penstock/plugin.hpp>
#include <thread>

class Journal : public penstock::Sink {
 public:
  static constexpr penstock::Option kOptions[] = {
      penstock::Option::String("path").Required().Help("The file to append to."),
      penstock::Option::Template("head")
          .Default("{subject}")
          .Help("What stands before the payload."),
  };

  // Optional: what the option table cannot say. The host adds file, line and column.
  static void Check(const penstock::Config& config, const penstock::Report& report) {
    if (config.Str("path").rfind('/', 0) != 0)
      report.Error("path", "is not absolute; the gateway's own directory says nothing to a user");
  }

  Journal(const penstock::Host& h, const penstock::Config& config)
      : Sink(h),
        path_(config.Str("path")),
        written_(h.Counter("bytes_total", "Payload bytes written.")) {}

  // When nobody calls any more; it may follow Start directly, without a Stop.
  ~Journal() override {
    Journal::Stop();
    if (writer_.joinable()) writer_.join();
  }

  // What cannot mend itself throws here. A bus that is away is no error: report Connecting, go on
  // trying on the own thread, and report Ready when it is there.
  void Start() override {
    file_.open(path_, std::ios::app);
    if (!file_) throw std::runtime_error("cannot open " + path_ + "; does its directory exist?");
    writer_ = std::thread([this] { Write(); });
  }

  // Never blocks. What a message points to stays until its receipt, the message itself does not.
  size_t Submit(const penstock_message_batch& batch) override {
    std::lock_guard<std::mutex> lock(mutex_);
    size_t taken = 0;
    while (taken < batch.count && waiting_.size() < kRoom)
      waiting_.push_back(*penstock_message_at(&batch, taken++));
    refused_ = taken < batch.count;
    wake_.notify_one();
    return taken;  // fewer than all: the host waits for ReadyForMore()
  }

  // Every message that was taken gets its receipt soon; here by being written.
  void Stop() override {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }

 private:
  void Write() {
    for (;;) {
      std::vector<penstock_message> batch;
      bool refused = false;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (waiting_.empty()) return;
        batch.swap(waiting_);
        std::swap(refused, refused_);
      }
      if (refused) ReadyForMore();
      for (const penstock_message& message : batch) {
        file_ << penstock::View(message.templates[0]) << ' ' << penstock::View(message.payload)
              << '\n';
        written_.Add(message.payload.len);
      }
      Answer(batch, static_cast<bool>(file_.flush()));
      file_.clear();
    }
  }

  // Exactly one receipt for each. UNKNOWN: it may have been taken, so that the host tries again.
  void Answer(const std::vector<penstock_message>& batch, bool good) {
    std::vector<penstock_receipt> receipts;
    for (const penstock_message& message : batch) {
      penstock_receipt receipt{};
      receipt.token = message.token;
      receipt.outcome = good ? PENSTOCK_DELIVERED : PENSTOCK_UNKNOWN;
      if (!good) receipt.reason = penstock::Str("the file could not be written; is the disk full?");
      receipts.push_back(receipt);
    }
    Complete(receipts.data(), receipts.size());
  }

  static constexpr size_t kRoom = 1024;

  const std::string path_;
  const penstock::Metric written_;
  std::ofstream file_;
  std::thread writer_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<penstock_message> waiting_;
  bool refused_ = false, stopping_ = false;
};

PENSTOCK_SINK_PLUGIN(Journal, "journal", "1.0.0", "Appends each event to a file, one a line.")
