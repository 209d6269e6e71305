// SPDX-License-Identifier: Apache-2.0
#include "wire/stream_chunk.h"

#include <gtest/gtest.h>

#include <string>

#include "base/hash.h"
#include "base/random.h"
#include "base/units.h"

namespace holdfast::stream {
namespace {

std::string Bytes(Random* random, size_t n) {
  std::string bytes(n, '\0');
  for (char& c : bytes) c = static_cast<char>(random->Next());
  return bytes;
}

// Fills one chunk of `room` bytes with records until the next does not fit.
struct Filled {
  explicit Filled(size_t room_bytes) : room(room_bytes), builder(room.span()) {}
  void Add(const std::string& record) {
    builder.Add(AsBytes(record));
    records.push_back(record);
  }
  ByteView Seal() {
    sealed = builder.Seal({.stream = 1, .writer = 2, .first_record = 3, .number = 4});
    return room.view().first(sealed.bytes);
  }
  Buffer room;
  ChunkBuilder builder;
  std::vector<std::string> records;
  ChunkBuilder::Sealed sealed;
};

TEST(StreamChunk, WhatIsAddedIsRead) {
  Random random(1);
  for (size_t longest : {0, 1, 100, 5'000}) {
    Filled filled(256 * kKiB);  // hashed in several parts
    while (true) {
      const std::string record = Bytes(&random, random.Below(longest + 1));
      if (!filled.builder.Fits(record.size())) break;
      filled.Add(record);
    }
    const ByteView bytes = filled.Seal();
    EXPECT_EQ(filled.sealed.hash, Hash64(bytes));
    Result<ChunkView> view = ChunkView::Open(bytes);
    ASSERT_TRUE(view.ok()) << view.status().ToString();
    EXPECT_EQ(view->title().stream, 1u);
    EXPECT_EQ(view->title().writer, 2u);
    EXPECT_EQ(view->title().first_record, 3u);
    EXPECT_EQ(view->title().number, 4u);
    ASSERT_EQ(view->records(), filled.records.size());
    for (const std::string& record : filled.records) {
      Result<ByteView> read = view->Next();
      ASSERT_TRUE(read.ok());
      EXPECT_EQ(AsText(*read), record);
    }
    EXPECT_TRUE(view->AtEnd());
  }
}

TEST(StreamChunk, TheLongestRecordFillsAChunkToItsLastByte) {
  Random random(2);
  Filled filled(kLeastChunkBytes);
  const uint64_t most = ChunkBuilder::MostRecordBytes(kLeastChunkBytes);
  EXPECT_TRUE(filled.builder.Fits(most));
  EXPECT_FALSE(filled.builder.Fits(most + 1));
  filled.Add(Bytes(&random, most));
  EXPECT_FALSE(filled.builder.Fits(0));
  EXPECT_EQ(filled.Seal().size(), kLeastChunkBytes);
}

TEST(StreamChunk, AFlippedByteCostsItsOwnRecordAlone) {
  Random random(3);
  Filled filled(16 * kKiB);
  for (int i = 0; i < 10; ++i) filled.Add(Bytes(&random, 1'000));
  const ByteView bytes = filled.Seal();
  filled.room.data()[3'500] ^= std::byte{1};
  Result<ChunkView> view = ChunkView::Open(bytes);
  ASSERT_TRUE(view.ok());
  for (int i = 0; i < 10; ++i) {
    Result<ByteView> read = view->Next();
    EXPECT_EQ(read.ok(), i != 3) << i;
    if (!read.ok()) continue;
    EXPECT_EQ(AsText(*read), filled.records[static_cast<size_t>(i)]);
  }
}

TEST(StreamChunk, AnyBytesAreReadOrRefused) {
  Random random(4);
  Filled filled(8 * kKiB);
  for (int i = 0; i < 20; ++i) filled.Add(Bytes(&random, random.Below(200)));
  const std::string good(AsText(filled.Seal()));
  size_t refused = 0, wrong_records = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bad = good;
    if (random.Chance(0.3)) bad.resize(random.Below(bad.size() + 1));
    for (uint64_t n = random.Below(4); n > 0 && !bad.empty(); --n) {
      const size_t near_the_end = bad.size() - 1 - random.Below(std::min<size_t>(bad.size(), 220));
      bad[near_the_end] = static_cast<char>(random.Next());
    }
    Result<ChunkView> view = ChunkView::Open(AsBytes(bad));
    if (!view.ok()) {
      ++refused;
      continue;
    }
    while (!view->AtEnd()) wrong_records += view->Next().ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 1'000u);
  EXPECT_GT(wrong_records, 100u);
}

}  // namespace
}  // namespace holdfast::stream
