#include "plugin/entry.h"

#include <gmock/gmock.h>

#include <cstddef>
#include <cstring>

namespace penstock::plugin {
namespace {

using ::testing::HasSubstr;

penstock_status Create(const penstock_host*, const penstock_config*, penstock_instance**,
                       penstock_error*) noexcept {
  return PENSTOCK_OK;
}
void Nothing(penstock_instance*) noexcept {}
penstock_status Submit(penstock_instance*, const penstock_message_batch*, size_t*) noexcept {
  return PENSTOCK_OK;
}
penstock_status RunOnce(penstock_instance*, penstock_error*) noexcept { return PENSTOCK_OK; }

class EntryTest : public ::testing::Test {
 protected:
  EntryTest() {
    note_ = {PENSTOCK_ABI_MAJOR, PENSTOCK_ABI_MINOR, Kind::kSink, "toy", "1.0.0"};
    raw_.magic = PENSTOCK_MAGIC;
    raw_.abi_major = PENSTOCK_ABI_MAJOR;
    raw_.abi_minor = PENSTOCK_ABI_MINOR;
    raw_.struct_size = sizeof raw_;
    raw_.kind = PENSTOCK_SINK;
    raw_.option_stride = sizeof(penstock_option);
    raw_.receipt_stride = sizeof(penstock_receipt);
    raw_.id = "toy";
    raw_.version = "1.0.0";
    raw_.create = Create;
    raw_.stop = Nothing;
    raw_.destroy = Nothing;
    raw_.submit = Submit;
  }
  void SetOptions(std::vector<penstock_option> options) {
    options_ = std::move(options);
    raw_.options = options_.data();
    raw_.n_options = options_.size();
  }
  static penstock_option Text(const char* name) {
    return {name, PENSTOCK_OPT_STRING, 0, nullptr, nullptr, 0, 0, "help"};
  }
  std::string Refusal(size_t symbol_size = sizeof(penstock_plugin)) {
    Entry out;
    auto good = CheckEntry(&raw_, symbol_size, note_, &out);
    return good ? "" : good.error().message;
  }

  penstock_plugin raw_{};
  Note note_;
  std::vector<penstock_option> options_;
};

TEST_F(EntryTest, TakesAGoodTable) {
  SetOptions({Text("a"), Text("tls.key")});
  Entry out;
  ASSERT_TRUE(CheckEntry(&raw_, sizeof raw_, note_, &out));
  EXPECT_STREQ(out.table.id, "toy");
  EXPECT_STREQ(out.table.summary, "") << "a missing text is empty, not NULL";
  EXPECT_EQ(out.table.options, out.options.data());
  EXPECT_STREQ(out.table.options[1].name, "tls.key");
}

// That an older table is taken is shown by tests/component/abi, with a host of a later minor.
TEST_F(EntryTest, TakesALaterTable) {
  struct Later {
    penstock_plugin table;
    uint64_t later;
  };
  raw_.abi_minor = 7;
  note_.abi_minor = 7;
  raw_.struct_size = sizeof(Later);
  raw_.receipt_stride = sizeof(penstock_receipt) + 16;
  const Later later{raw_, 1};
  Entry out;
  auto good = CheckEntry(&later.table, sizeof later, note_, &out);
  ASSERT_TRUE(good) << good.error().message;
  EXPECT_EQ(out.table.submit, Submit);
  EXPECT_EQ(out.table.struct_size, sizeof(penstock_plugin));
  EXPECT_EQ(out.table.receipt_stride, sizeof(penstock_receipt) + 16);
}

TEST_F(EntryTest, TakesOptionsOfALargerStride) {
  struct Larger {
    penstock_option option;
    uint64_t later;
  };
  const Larger options[] = {{Text("a"), 1}, {Text("b"), 2}};
  raw_.options = &options[0].option;
  raw_.n_options = 2;
  raw_.option_stride = sizeof(Larger);
  Entry out;
  ASSERT_TRUE(CheckEntry(&raw_, sizeof raw_, note_, &out));
  EXPECT_STREQ(out.table.options[1].name, "b");
  EXPECT_EQ(out.table.option_stride, sizeof(penstock_option));
}

TEST_F(EntryTest, RefusesAnotherMagic) {
  raw_.magic = 1;
  EXPECT_THAT(Refusal(), HasSubstr("PENSTOCK_MAGIC"));
}

TEST_F(EntryTest, RefusesImpossibleSizes) {
  raw_.struct_size = 8;
  EXPECT_THAT(Refusal(), HasSubstr("struct_size is 8"));
  raw_.struct_size = 1u << 30;
  EXPECT_THAT(Refusal(0), HasSubstr("struct_size"));
  raw_.struct_size = sizeof raw_;
  EXPECT_THAT(Refusal(sizeof raw_ - 8), HasSubstr("struct_size"));
}

TEST_F(EntryTest, RefusesATableSmallerThanThatOf10) {
  raw_.struct_size = offsetof(penstock_plugin, extension);
  EXPECT_THAT(Refusal(), HasSubstr("instead of sizeof(penstock_plugin)"));
}

TEST_F(EntryTest, RefusesImpossibleReceiptStrides) {
  for (const uint32_t stride : {0u, 39u, 32u, 44u, 1u << 20}) {
    raw_.receipt_stride = stride;
    EXPECT_THAT(Refusal(), HasSubstr("its receipt_stride is " + std::to_string(stride) +
                                     " instead of sizeof(penstock_receipt)"));
  }
}

TEST_F(EntryTest, RefusesWhatDisagreesWithTheNote) {
  raw_.id = "other";
  EXPECT_THAT(Refusal(), HasSubstr("not those of its note (sink toy 1.0.0)"));
  raw_.id = "toy";
  raw_.version = "1.0.1";
  EXPECT_THAT(Refusal(), HasSubstr("not those of its note"));
  raw_.version = "1.0.0";
  raw_.kind = PENSTOCK_SOURCE;
  EXPECT_THAT(Refusal(), HasSubstr("not those of its note"));
  raw_.kind = PENSTOCK_SINK;
  raw_.abi_minor = PENSTOCK_ABI_MINOR + 1;
  EXPECT_THAT(Refusal(), HasSubstr("not those of its note"));
  raw_.abi_minor = PENSTOCK_ABI_MINOR;
  raw_.id = nullptr;
  EXPECT_THAT(Refusal(), HasSubstr("not those of its note"));
}

TEST_F(EntryTest, RefusesMissingCallbacks) {
  raw_.submit = nullptr;
  EXPECT_THAT(Refusal(), HasSubstr("it has no submit"));
  raw_.submit = Submit;
  raw_.create = nullptr;
  EXPECT_THAT(Refusal(), HasSubstr("it has no create"));
  raw_.create = Create;
  raw_.stop = nullptr;
  EXPECT_THAT(Refusal(), HasSubstr("it has no stop"));
  raw_.stop = Nothing;
  raw_.destroy = nullptr;
  EXPECT_THAT(Refusal(), HasSubstr("it has no destroy"));
}

TEST_F(EntryTest, ASourceNeedsRunAndWhatItsCapabilitiesPromise) {
  note_.kind = Kind::kSource;
  raw_.kind = PENSTOCK_SOURCE;
  EXPECT_THAT(Refusal(), HasSubstr("it has no run"));
  raw_.run = RunOnce;
  EXPECT_EQ(Refusal(), "");
  raw_.caps = PENSTOCK_CAP_ACK;
  EXPECT_THAT(Refusal(), HasSubstr("it has no on_ack"));
}

TEST_F(EntryTest, RefusesFaultyOptionTables) {
  const auto refusal = [this](std::vector<penstock_option> options) {
    SetOptions(std::move(options));
    return Refusal();
  };
  EXPECT_THAT(refusal({Text("a"), Text("a")}), HasSubstr("\"a\" stands there twice"));
  EXPECT_THAT(refusal({Text("a"), Text("a.b.c")}), HasSubstr("also the table of \"a.b.c\""));
  for (const char* name : {"", "A", "a b", ".a", "a.", "a..b", "a-b"})
    EXPECT_THAT(refusal({Text(name)}), HasSubstr("an option's name")) << name;
  EXPECT_THAT(refusal({Text(nullptr)}), HasSubstr("an option's name"));
  EXPECT_THAT(refusal({Text("retry")}), HasSubstr("a word of the host's own"));
  EXPECT_THAT(refusal({Text("retry.max")}), HasSubstr("a word of the host's own"));
  penstock_option option = Text("a");
  option.type = 77;
  EXPECT_THAT(refusal({option}), HasSubstr("unknown type 77"));
  option = {"a", PENSTOCK_OPT_INT, 0, nullptr, nullptr, 5, 4, ""};
  EXPECT_THAT(refusal({option}), HasSubstr("minimum above its maximum"));
  option = {"a", PENSTOCK_OPT_STRING, 0, "z", "x|y", 0, 0, ""};
  EXPECT_THAT(refusal({option}), HasSubstr("not among its choices"));
  option.default_value = "y";
  EXPECT_EQ(refusal({option}), "");
}

TEST_F(EntryTest, RefusesImpossibleOptionTables) {
  SetOptions({Text("a")});
  raw_.option_stride = 8;
  EXPECT_THAT(Refusal(), HasSubstr("option_stride is 8 instead of sizeof(penstock_option)"));
  raw_.option_stride = sizeof(penstock_option);
  raw_.options = nullptr;
  EXPECT_THAT(Refusal(), HasSubstr("announces 1 options"));
  raw_.options = options_.data();
  raw_.n_options = 1u << 20;
  EXPECT_THAT(Refusal(), HasSubstr("announces"));
}

TEST_F(EntryTest, ASourceHasNoTemplates) {
  note_.kind = Kind::kSource;
  raw_.kind = PENSTOCK_SOURCE;
  raw_.run = RunOnce;
  SetOptions({{"a", PENSTOCK_OPT_TEMPLATE, 0, nullptr, nullptr, 0, 0, ""}});
  EXPECT_THAT(Refusal(), HasSubstr("only sinks can have"));
}

}  // namespace
}  // namespace penstock::plugin
