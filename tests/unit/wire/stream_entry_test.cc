// SPDX-License-Identifier: Apache-2.0
#include "wire/stream_entry.h"

#include <gtest/gtest.h>

#include <map>

#include "base/units.h"

namespace holdfast::wire {
namespace {

TEST(StreamNames, OnesThatAShellAndAUriCanCarry) {
  for (const char* good : {"a", "job-17/shuffle", "A.b_c:d@e+f=g", "0"}) {
    EXPECT_TRUE(CheckStreamName(good).ok()) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("a b"), std::string("a\nb"), std::string("\xc3\xa9"),
        std::string(201, 'a'), std::string("%")}) {
    EXPECT_EQ(CheckStreamName(bad).code(), Code::kInvalid) << bad;
  }
}

TEST(StreamNames, OfChunks) {
  EXPECT_EQ(ChunkName(0xab, 0xcdef, 7), "stream:00000000000000ab/000000000000cdef/7");
  EXPECT_TRUE(IsChunkName(ChunkName(UINT64_MAX, UINT64_MAX, UINT32_MAX)));
  EXPECT_LE(ChunkName(UINT64_MAX, UINT64_MAX, UINT32_MAX).size(), 64u);
  EXPECT_FALSE(IsChunkName("file:///stream:"));
}

TEST(StreamCatalogues, AreTheSameWhateverTheOrderAndMoveOnlyWithTheirNodes) {
  const std::vector<NodeId> nodes{1, 2, 3, 4, 5}, shuffled{4, 2, 5, 1, 3};
  std::map<NodeId, int> firsts;
  for (int i = 0; i < 1'000; ++i) {
    const std::string name = "stream-" + std::to_string(i);
    const std::vector<NodeId> picks = CataloguesOf(name, nodes);
    ASSERT_EQ(picks.size(), 2u);
    EXPECT_NE(picks[0], picks[1]);
    EXPECT_EQ(CataloguesOf(name, shuffled), picks);
    std::vector<NodeId> fewer;
    for (NodeId node : nodes) {
      if (node != picks[0]) fewer.push_back(node);
    }
    EXPECT_EQ(CataloguesOf(name, fewer)[0], picks[1]);
    ++firsts[picks[0]];
  }
  for (const auto& [node, count] : firsts) EXPECT_NEAR(count, 200, 60) << node;
  EXPECT_EQ(CataloguesOf("x", std::vector<NodeId>{7}), (std::vector<NodeId>{7}));
  EXPECT_TRUE(CataloguesOf("x", {}).empty());
}

TEST(StreamEntries, WhatNoWriterWouldSayIsCorrupt) {
  const StreamEntry good =
      Sealed({.writer = 1, .hash = 2, .records = 3, .bytes = 4, .nodes = {5, kNoNode}});
  EXPECT_TRUE(CheckEntry(good).ok());
  auto corrupt = [&](auto&& change) {
    StreamEntry entry = good;
    change(entry);
    EXPECT_EQ(CheckEntry(Sealed(entry)).code(), Code::kCorrupt);
  };
  corrupt([](StreamEntry& e) { e.writer = 0; });
  corrupt([](StreamEntry& e) { e.hash = 0; });
  corrupt([](StreamEntry& e) { e.records = 0; });
  corrupt([](StreamEntry& e) { e.pieces = 0; });
  corrupt([](StreamEntry& e) { e.piece = 1; });
  corrupt([](StreamEntry& e) { e.pieces = 2; });
  corrupt([](StreamEntry& e) { e.nodes[0] = kNoNode; });
  corrupt([](StreamEntry& e) { e.nodes[1] = 5; });
}

// Also in what any value would do for: the number of records that are lost with a chunk.
TEST(StreamEntries, AFlippedBitIsCorrupt) {
  const StreamEntry good = Sealed({.writer = 1,
                                   .first_record = 10,
                                   .hash = 2,
                                   .number = 1,
                                   .records = 3,
                                   .bytes = 4,
                                   .nodes = {5, 6}});
  EXPECT_TRUE(CheckEntry(good).ok());
  for (size_t bit = 0; bit < 8 * sizeof(good); ++bit) {
    StreamEntry entry = good;
    std::as_writable_bytes(std::span(&entry, 1))[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_EQ(CheckEntry(entry).code(), Code::kCorrupt) << bit;
  }
}

}  // namespace
}  // namespace holdfast::wire
