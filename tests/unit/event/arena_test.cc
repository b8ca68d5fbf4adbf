#include "event/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace penstock::event {
namespace {

TEST(ArenaTest, KeepsEveryPieceWhereItIsAndWhatItHolds) {
  std::mt19937 random(1);
  Arena arena;
  std::vector<std::pair<std::string_view, std::string>> pieces;
  for (int i = 0; i < 2000; ++i) {
    const size_t size = random() % 50 == 0 ? random() % 100000 : random() % 300;
    const std::string text(size, static_cast<char>('a' + i % 26));
    const std::string_view copy = arena.Copy(text);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(copy.data()) % alignof(std::max_align_t), 0u);
    pieces.emplace_back(copy, text);
  }
  for (const auto& [copy, text] : pieces) ASSERT_EQ(copy, text);
}

TEST(ArenaTest, GivesTheTailOfTheLatestPieceOutAgain) {
  Arena arena;
  char* first = arena.Allocate(512);
  arena.Shrink(first, 20);
  EXPECT_EQ(arena.used(), 32u);
  EXPECT_EQ(arena.Allocate(1), first + 32);
}

TEST(ArenaTest, ShrinksAPieceThatHasAChunkToItself) {
  Arena arena;
  char* small = arena.Allocate(16);
  char* large = arena.Allocate(100000);
  arena.Shrink(large, 50);
  EXPECT_EQ(arena.Allocate(16), small + 16);
}

TEST(ArenaTest, TakesLittleForASingleSmallEvent) {
  Arena arena;
  arena.Allocate(300);
  EXPECT_LE(arena.reserved(), 1024u);
}

TEST(ArenaTest, WastesNoChunkOnLargePieces) {
  Arena arena;
  for (int i = 0; i < 100; ++i) {
    arena.Allocate(22000);
    arena.Allocate(32);
  }
  EXPECT_LT(arena.reserved(), arena.used() + 20000);
}

}  // namespace
}  // namespace penstock::event
