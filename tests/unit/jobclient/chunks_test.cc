// SPDX-License-Identifier: Apache-2.0
#include "jobclient/chunks.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace holdfast::jobclient {
namespace {

const std::string kUri = "s3+http://ep/b/big";

TEST(ChunkBytes, IsNoLargerThanWhatEveryNodePromises) {
  EXPECT_EQ(ChunkBytes(16 << 20, 0), 16u << 20) << "nobody has said anything";
  EXPECT_EQ(ChunkBytes(16 << 20, 64 << 20), 16u << 20);
  EXPECT_EQ(ChunkBytes(16 << 20, (4 << 20) - 100), (4u << 20) - 4096);
  EXPECT_EQ(ChunkBytes(16 << 20, 100), 0u) << "nothing can be cut so small";
  EXPECT_EQ(ChunkBytes(0, 64 << 20), 0u);
}

TEST(Cut, SmallThingsStayWhole) {
  EXPECT_FALSE(Cut::Of(kUri, 100, "e", 100).has_value());
  EXPECT_FALSE(Cut::Of(kUri, 0, "e", 100).has_value());
  EXPECT_FALSE(Cut::Of(kUri, 1'000, "e", 0).has_value());
  EXPECT_FALSE(Cut::Of(kUri + "#bytes=50-149", 100, "e#9000", 100).has_value());
  EXPECT_FALSE(Cut::Of(kUri, 1'000, std::string(255, 'e'), 100).has_value())
      << "no room in the ETag";
  EXPECT_FALSE(Cut::Of(std::string(4'090, 'u'), 1'000, "e", 100).has_value()) << "nor in the name";
}

TEST(Cut, PiecesOfAWholeLieOnTheGrid) {
  const auto cut = Cut::Of(kUri, 250, "e", 100);
  ASSERT_TRUE(cut.has_value());
  ASSERT_EQ(cut->count(), 3u);
  EXPECT_EQ(cut->NameOf(0), kUri + "#bytes=0-99");
  EXPECT_EQ(cut->NameOf(1), kUri + "#bytes=100-199");
  EXPECT_EQ(cut->NameOf(2), kUri + "#bytes=200-249");
  EXPECT_EQ(cut->etag(), "e#250");
}

TEST(Cut, ARangeSharesItsInnerPiecesWithTheWhole) {
  const std::string name = kUri + "#bytes=150-450";
  const auto cut = Cut::Of(name, 301, "e#9000", 100);
  ASSERT_TRUE(cut.has_value());
  ASSERT_EQ(cut->count(), 4u);
  EXPECT_EQ(cut->NameOf(0), kUri + "#bytes=150-199");
  EXPECT_EQ(cut->NameOf(1), kUri + "#bytes=200-299");
  EXPECT_EQ(cut->NameOf(3), kUri + "#bytes=400-450");
  EXPECT_EQ(cut->At(1), (ByteRange{50, 100}));
  EXPECT_EQ(cut->etag(), "e#9000");
}

TEST(Cut, PiecesAreTheWholeInOrder) {
  Random random(20);
  for (int i = 0; i < 2'000; ++i) {
    const uint64_t chunk = 1 + random.Below(200), offset = random.Below(1'000),
                   length = 1 + random.Below(2'000);
    const std::string name = NameOfRange(kUri, {offset, length});
    const auto cut = Cut::Of(name, length, "e#100000", chunk);
    if (!cut) {
      ASSERT_LE(length, chunk);
      continue;
    }
    uint64_t at = 0;
    for (size_t n = 0; n < cut->count(); ++n) {
      ASSERT_EQ(cut->At(n).offset, at);
      ASSERT_LE(cut->At(n).length, chunk);
      ASSERT_EQ(ParseRangeName(cut->NameOf(n))->range, (ByteRange{offset + at, cut->At(n).length}));
      at = cut->At(n).end();
    }
    ASSERT_EQ(at, length);
  }
}

TEST(ChunkedList, AListWithoutLargeObjectsIsTheList) {
  ObjectList list;
  ASSERT_TRUE(list.Add(kUri, 100, "e").ok());
  const auto chunks = ChunkedList::Make(&list, 100);
  ASSERT_TRUE(chunks.ok());
  EXPECT_EQ(&chunks->pieces(), &list);
  EXPECT_EQ(chunks->FirstOf(0), 0u);
  EXPECT_EQ(chunks->FirstOf(1), 1u);
  EXPECT_EQ(chunks->cut_objects(), 0u);
}

TEST(ChunkedList, PositionsBecomeRunsOfPieces) {
  ObjectList list;
  ASSERT_TRUE(list.Add("file:///a", 10, "a").ok());
  ASSERT_TRUE(list.Add("file:///b", 25, "b").ok());
  ASSERT_TRUE(list.Add("file:///c", 0, "c").ok());
  ASSERT_TRUE(list.Add("file:///b", 25, "b").ok());
  const auto chunks = ChunkedList::Make(&list, 10);
  ASSERT_TRUE(chunks.ok()) << chunks.status().ToString();
  EXPECT_EQ(chunks->cut_objects(), 2u);
  ASSERT_EQ(chunks->pieces().size(), 8u);
  EXPECT_EQ(chunks->pieces().item(3).uri, "file:///b#bytes=20-24");
  EXPECT_EQ(chunks->pieces().item(3).size, 5u);
  EXPECT_EQ(chunks->pieces().item(3).etag, "b#25");
  EXPECT_EQ(chunks->OrderOf(std::vector<uint32_t>{3, 0, 1, 2}),
            (std::vector<uint32_t>{5, 6, 7, 0, 1, 2, 3, 4}));
}

TEST(ChunkedList, WhatAListSaysOfARangeMustFitItsName) {
  const struct {
    uint64_t size;
    const char* etag;
    const char* says;
  } wrong[] = {{9, "e#100", "9 bytes"}, {10, "e", "#"}, {10, "e#19", "#"}, {10, "#100", "#"}};
  for (const auto& one : wrong) {
    ObjectList list;
    ASSERT_TRUE(list.Add(kUri + "#bytes=10-19", one.size, one.etag).ok());
    const auto chunks = ChunkedList::Make(&list, 0);
    ASSERT_FALSE(chunks.ok()) << one.etag;
    EXPECT_EQ(chunks.status().code(), Code::kInvalid);
    EXPECT_NE(chunks.status().message().find(kUri + "#bytes=10-19"), std::string::npos);
    EXPECT_NE(chunks.status().message().find(one.says), std::string::npos);
  }
}

TEST(ChunkedList, MorePiecesThanAListHasAreAnErrorThatSaysSo) {
  ObjectList list;
  ASSERT_TRUE(list.Add(kUri, uint64_t{5'000'000} * 4096, "e").ok());
  const auto chunks = ChunkedList::Make(&list, 4096);
  ASSERT_FALSE(chunks.ok());
  EXPECT_EQ(chunks.status().code(), Code::kInvalid);
  EXPECT_NE(chunks.status().message().find("in chunks of"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::jobclient
