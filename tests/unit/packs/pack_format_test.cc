// SPDX-License-Identifier: Apache-2.0
#include "packs/pack_format.h"

#include "packs/pack_index.h"
#include "tests/unit/packs/fixture.h"

namespace holdfast::packs {
namespace {

std::string Text(const Buffer& buffer) { return std::string(AsText(buffer.view())); }

struct Made {
  std::vector<PackedObject> objects;
  std::string bytes;
};
Made MakePack(int count) {
  Made made;
  for (int n = 0; n < count; ++n) {
    const std::string bytes = BytesOf(n);
    made.objects.push_back(
        {UriOf(n), "e" + std::to_string(n), bytes.size(), Hash64(AsBytes(bytes))});
    made.bytes += bytes;
  }
  made.bytes += Text(EncodeTail(made.objects));
  return made;
}

TEST(PackFormat, WhatIsWrittenIsReadAgain) {
  const Made made = MakePack(50);
  const auto read = ReadPack(AsBytes(made.bytes));
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(*read, made.objects);
}

TEST(PackFormat, EveryFlippedBitAndEveryCutIsSeen) {
  const Made made = MakePack(6);
  for (size_t i = 0; i < made.bytes.size(); ++i) {
    std::string damaged = made.bytes;
    damaged[i] ^= static_cast<char>(1 << (i % 8));
    EXPECT_FALSE(ReadPack(AsBytes(damaged)).ok()) << i;
    EXPECT_FALSE(ReadPack(AsBytes(made.bytes).first(i)).ok()) << i;
  }
}

TEST(PackFormat, DamageOfAnObjectNamesIt) {
  Made made = MakePack(6);
  made.bytes[0] ^= 1;  // object 0 is empty, so this is of object 1
  EXPECT_NE(ReadPack(AsBytes(made.bytes)).status().message().find(UriOf(1)), std::string::npos);
}

TEST(PackFormat, ThePackIsNamedByObjectsVersionsAndOrder) {
  const std::vector<PackedObject> objects = MakePack(3).objects;
  std::vector<PackedObject> other = objects;
  other[1].hash = 7;
  EXPECT_EQ(PackName(objects), PackName(other)) << "a name is known before the bytes are";
  other[1].etag = "other";
  EXPECT_NE(PackName(objects), PackName(other));
  other = objects;
  std::swap(other[0], other[1]);
  EXPECT_NE(PackName(objects), PackName(other));
  EXPECT_EQ(PackFileName({0x1234, 0xabcd}), "0000000000001234000000000000abcd.pack");
}

class PackIndexTest : public testing::Test {
 protected:
  PackIndexTest() {
    for (int n = 0; n < 200; ++n) {
      rows_.push_back({.oid = OidOf(UriOf(n)),
                       .pack = static_cast<uint32_t>(n % 2),
                       .offset = static_cast<uint32_t>(n * 10),
                       .size = 10,
                       .hash = Mix64(static_cast<uint64_t>(n)),
                       .etag = "e" + std::to_string(n)});
    }
    bytes_ = Text(PackIndex::Encode(packs_, rows_));
  }
  std::vector<PackIndex::Pack> packs_{{{1, 2}, 2'000}, {{3, 4}, 2'000}};
  std::vector<PackIndex::Row> rows_;
  std::string bytes_;
};

TEST_F(PackIndexTest, FindsWhatItHas) {
  const auto index = PackIndex::Decode(AsBytes(bytes_), kMiB);
  ASSERT_TRUE(index.ok()) << index.status().ToString();
  EXPECT_EQ(index->objects(), 200u);
  EXPECT_EQ(index->packs()[1].name, (Oid{3, 4}));
  for (const PackIndex::Row& row : rows_) {
    const auto entry = index->Find(row.oid);
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(entry->pack, row.pack);
    EXPECT_EQ(entry->offset, row.offset);
    EXPECT_EQ(entry->size, row.size);
    EXPECT_EQ(entry->hash, row.hash);
    EXPECT_EQ(entry->etag, row.etag);
  }
  EXPECT_FALSE(index->Find(OidOf(UriOf(200))).has_value());
  EXPECT_FALSE(index->Find({0, 0}).has_value());
  EXPECT_FALSE(index->Find({UINT64_MAX, UINT64_MAX}).has_value());
}

TEST_F(PackIndexTest, EveryFlippedBitAndEveryCutIsSeen) {
  for (size_t i = 0; i < bytes_.size(); ++i) {
    std::string damaged = bytes_;
    damaged[i] ^= static_cast<char>(1 << (i % 8));
    EXPECT_FALSE(PackIndex::Decode(AsBytes(damaged), kMiB).ok()) << i;
    EXPECT_FALSE(PackIndex::Decode(AsBytes(bytes_).first(i), kMiB).ok()) << i;
  }
}

TEST_F(PackIndexTest, PlacesOutsideOfTheirPackAreRefused) {
  rows_[7].offset = 1'995;
  const std::string bytes = Text(PackIndex::Encode(packs_, rows_));
  EXPECT_EQ(PackIndex::Decode(AsBytes(bytes), kMiB).status().code(), Code::kCorrupt);
  rows_[7].offset = 0;
  rows_[7].pack = 2;
  const std::string other = Text(PackIndex::Encode(packs_, rows_));
  EXPECT_EQ(PackIndex::Decode(AsBytes(other), kMiB).status().code(), Code::kCorrupt);
}

TEST_F(PackIndexTest, TakesNoMoreMemoryThanItMay) {
  const auto refused = PackIndex::Decode(AsBytes(bytes_), 1'000);
  EXPECT_EQ(refused.status().code(), Code::kNoSpace) << refused.status().ToString();
}

TEST_F(PackIndexTest, AnEmptyOneIsOne) {
  const std::string bytes = Text(PackIndex::Encode({}, {}));
  const auto index = PackIndex::Decode(AsBytes(bytes), kMiB);
  ASSERT_TRUE(index.ok()) << index.status().ToString();
  EXPECT_FALSE(index->Find({1, 1}).has_value());
}

}  // namespace
}  // namespace holdfast::packs
