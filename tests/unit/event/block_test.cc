#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "event/event.h"

namespace penstock::event {
namespace {

using ::testing::ElementsAre;

penstock_str Str(std::string_view s) { return {s.data(), s.size()}; }

struct FakeOwner : penstock_owner {
  FakeOwner() {
    release = [](penstock_owner* self, uint32_t n) noexcept {
      static_cast<FakeOwner*>(self)->releases.push_back(n);
    };
  }
  std::vector<uint32_t> releases;
};

penstock_event MakeEvent(std::string_view payload, penstock_owner* owner) {
  penstock_event event = {};
  event.payload = Str(payload);
  event.owner = owner;
  return event;
}

penstock_event_batch Batch(const std::vector<penstock_event>& events) {
  return {sizeof(penstock_event_batch), sizeof(penstock_event), events.data(), events.size()};
}

TEST(BlockTest, PointsIntoTheOwnersMemoryAndReleasesItOnce) {
  FakeOwner owner;
  const std::string payload = "payload";
  std::vector<penstock_event> events = {MakeEvent(payload, &owner)};
  auto block = Block::Take(Batch(events), 0, 1, 7, 99);
  auto second_reader = block;
  EXPECT_EQ(block->at(7).payload.data(), payload.data());
  block.reset();
  EXPECT_TRUE(owner.releases.empty());
  EXPECT_EQ(second_reader->at(7).payload, "payload");
  second_reader.reset();
  EXPECT_THAT(owner.releases, ElementsAre(1));
}

TEST(BlockTest, CoalescesOwnersOverNeighbours) {
  FakeOwner a, b;
  std::vector<penstock_event> events;
  for (penstock_owner* owner :
       std::initializer_list<penstock_owner*>{&a, &a, &b, &a, nullptr, &a}) {
    events.push_back(MakeEvent("x", owner));
  }
  Block::Take(Batch(events), 0, events.size(), 0, 1).reset();
  EXPECT_THAT(a.releases, ElementsAre(2, 2));
  EXPECT_THAT(b.releases, ElementsAre(1));
}

TEST(BlockTest, TakesOnlyItsPartOfTheBatch) {
  FakeOwner owner;
  std::vector<penstock_event> events;
  for (std::string_view payload : {"0", "1", "2", "3", "4"}) {
    events.push_back(MakeEvent(payload, &owner));
  }
  auto block = Block::Take(Batch(events), 1, 3, 1000, 1);
  EXPECT_EQ(block->size(), 3u);
  EXPECT_EQ(block->first_offset(), 1000u);
  EXPECT_EQ(block->end_offset(), 1003u);
  EXPECT_EQ(block->at(1000).payload, "1");
  EXPECT_EQ(block->at(1002).payload, "3");
  block.reset();
  EXPECT_THAT(owner.releases, ElementsAre(3));
}

// A complete event in memory that can be overwritten afterwards.
struct Volatile {
  std::string payload = "payload", subject = "subject", id = "id", type = "type",
              content_type = "text/plain", key = "key", value = "value";
  std::vector<penstock_kv> attributes;
  penstock_event event = {};

  Volatile() {
    attributes = {{Str(key), Str(value)}, {Str("second"), Str("")}};
    event.payload = Str(payload);
    event.subject = Str(subject);
    event.id = Str(id);
    event.type = Str(type);
    event.content_type = Str(content_type);
    event.attributes = attributes.data();
    event.n_attributes = 2;
    event.time_ns = 5;
    event.ack_token = 77;
  }
  void Overwrite() {
    for (std::string* s : {&payload, &subject, &id, &type, &content_type, &key, &value}) {
      s->assign(s->size(), '#');
    }
    attributes.assign(2, penstock_kv{});
  }
};

std::string_view View(penstock_str s) { return {s.ptr, s.len}; }

TEST(BlockTest, CopiesAllOfAnEventWithoutOwner) {
  Volatile source;
  std::vector<penstock_event> events = {source.event, source.event};
  auto block = Block::Take(Batch(events), 0, 2, 0, 1);
  source.Overwrite();
  events.clear();
  for (uint64_t offset : {0, 1}) {
    const Event& event = block->at(offset);
    EXPECT_EQ(event.payload, "payload");
    EXPECT_EQ(event.subject, "subject");
    EXPECT_EQ(event.id, "id");
    EXPECT_EQ(event.type, "type");
    EXPECT_EQ(event.content_type, "text/plain");
    EXPECT_EQ(event.time_ns, 5);
    EXPECT_EQ(event.ack_token, 77u);
    ASSERT_EQ(event.attributes.size(), 2u);
    EXPECT_EQ(View(event.attributes[0].key), "key");
    EXPECT_EQ(View(event.attributes[0].value), "value");
    EXPECT_EQ(View(event.attributes[1].key), "second");
    EXPECT_EQ(View(event.attributes[1].value), "");
  }
}

TEST(BlockTest, KeepsTheAttributesOfAnOwnedEventWhereTheyAre) {
  FakeOwner owner;
  Volatile source;
  source.event.owner = &owner;
  std::vector<penstock_event> events = {source.event};
  auto block = Block::Take(Batch(events), 0, 1, 0, 1);
  EXPECT_EQ(block->at(0).attributes.data(), source.attributes.data());
}

TEST(BlockTest, GivesTheTimeOfAcceptanceWhereThereIsNone) {
  std::vector<penstock_event> events = {MakeEvent("x", nullptr), MakeEvent("y", nullptr)};
  events[1].time_ns = -3;
  auto block = Block::Take(Batch(events), 0, 2, 0, 123);
  EXPECT_EQ(block->at(0).time_ns, 123);
  EXPECT_EQ(block->at(1).time_ns, -3);
}

TEST(BlockTest, ChargesWhatAnEventPointsToAndItsRecord) {
  Volatile source;
  std::vector<penstock_event> events = {MakeEvent("", nullptr), source.event};
  auto block = Block::Take(Batch(events), 0, 2, 10, 1);
  EXPECT_EQ(block->charged_bytes(10), kRecordOverhead);
  const size_t strings = strlen("payloadsubjectidtypetext/plainkeyvaluesecond");
  EXPECT_EQ(block->charged_bytes(11), kRecordOverhead + strings + 2 * sizeof(penstock_kv));
  EXPECT_EQ(block->total_charged_bytes(), block->charged_bytes(10) + block->charged_bytes(11));
  EXPECT_EQ(block->charged_bytes(11), ChargedBytes(source.event));
}

TEST(BlockTest, ReadsEventsOfAPluginWithALargerStruct) {
  struct Later {
    penstock_event event;
    uint64_t unknown[2];
  };
  FakeOwner owner;
  std::vector<Later> events = {{MakeEvent("a", &owner), {~0ull, ~0ull}},
                               {MakeEvent("b", &owner), {~0ull, ~0ull}}};
  penstock_event_batch batch = {sizeof(batch), sizeof(Later), &events[0].event, 2};
  auto block = Block::Take(batch, 0, 2, 0, 1);
  EXPECT_EQ(block->at(0).payload, "a");
  EXPECT_EQ(block->at(1).payload, "b");
  EXPECT_EQ(block->at(1).ack_token, 0u);
}

TEST(BlockTest, ReadsTheMissingTailOfASmallerStructAsZero) {
  constexpr size_t kStride = offsetof(penstock_event, time_ns);
  FakeOwner owner;
  std::vector<char> memory(2 * kStride);
  for (size_t i = 0; i < 2; ++i) {
    const penstock_event event = MakeEvent(i == 0 ? "a" : "b", &owner);
    std::memcpy(memory.data() + i * kStride, &event, kStride);
  }
  penstock_event_batch batch = {sizeof(batch), kStride,
                                reinterpret_cast<const penstock_event*>(memory.data()), 2};
  auto block = Block::Take(batch, 0, 2, 0, 42);
  EXPECT_EQ(block->at(0).payload, "a");
  EXPECT_EQ(block->at(1).payload, "b");
  EXPECT_EQ(block->at(1).time_ns, 42);
  block.reset();
  EXPECT_TRUE(owner.releases.empty());  // the owner lay beyond the stride: copied
}

TEST(BlockTest, MayBeEmpty) {
  auto block =
      Block::Take({sizeof(penstock_event_batch), sizeof(penstock_event), nullptr, 0}, 0, 0, 5, 1);
  EXPECT_EQ(block->size(), 0u);
  EXPECT_EQ(block->end_offset(), 5u);
  EXPECT_EQ(block->total_charged_bytes(), 0u);
}

}  // namespace
}  // namespace penstock::event
