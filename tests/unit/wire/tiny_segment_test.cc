// SPDX-License-Identifier: Apache-2.0
#include "wire/tiny_segment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/hash.h"

namespace holdfast::disk {
namespace {

struct Pack {
  explicit Pack(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
      names.push_back("file:///o/" + std::to_string(i));
      payloads.push_back(std::string(i * 7 % 60, static_cast<char>('a' + i % 26)));
    }
    for (uint32_t i = 0; i < count; ++i) {
      objects.push_back({.oid = Hash128(AsBytes(names[i])),
                         .version = HashVersion("e", payloads[i].size()),
                         .payload_hash = Hash64(AsBytes(payloads[i])),
                         .loaded_s = 1'000 + i,
                         .expires_s = i % 3,
                         .name = names[i],
                         .etag = "e",
                         .payload = AsBytes(payloads[i])});
    }
    AppendPack(objects, &bytes);
  }
  std::vector<std::string> names, payloads;
  std::vector<Tiny> objects;
  std::vector<std::byte> bytes;
};

void ExpectSame(const Tiny& a, const Tiny& b) {
  EXPECT_EQ(a.oid, b.oid);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.payload_hash, b.payload_hash);
  EXPECT_EQ(a.loaded_s, b.loaded_s);
  EXPECT_EQ(a.expires_s, b.expires_s);
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.etag, b.etag);
  EXPECT_EQ(AsText(a.payload), AsText(b.payload));
}

TEST(TinySegment, APackSaysWhatWasPutIn) {
  for (const uint32_t count : {0u, 1u, 25u, 255u}) {
    const Pack pack(count);
    EXPECT_EQ(pack.bytes.size(), PackBytes(pack.objects));
    EXPECT_EQ(pack.bytes.size() % kAlign, 0u);
    const Result<std::vector<Tiny>> all = DecodePack(pack.bytes);
    ASSERT_TRUE(all.ok()) << all.status().ToString();
    ASSERT_EQ(all->size(), count);
    for (uint32_t i = 0; i < count; ++i) {
      ExpectSame((*all)[i], pack.objects[i]);
      ExpectSame(*DecodeTiny(pack.bytes, i), pack.objects[i]);
    }
    EXPECT_EQ(DecodeTiny(pack.bytes, count).status().code(), Code::kCorrupt);
  }
}

TEST(TinySegment, EveryFlippedBitOfAHeadIsSeen) {
  const Pack pack(5);
  const auto head = LoadAs<uint32_t>(pack.bytes.data() + 8);
  for (uint32_t bit = 0; bit < head * 8; ++bit) {
    std::vector<std::byte> bytes = pack.bytes;
    bytes[bit / 8] ^= std::byte{1} << static_cast<int>(bit % 8);
    EXPECT_EQ(DecodePack(bytes).status().code(), Code::kCorrupt) << bit;
  }
}

TEST(TinySegment, APackThatIsCutOffIsNone) {
  const Pack pack(5);
  uint64_t whole = LoadAs<uint32_t>(pack.bytes.data() + 8);
  for (const Tiny& t : pack.objects) whole += t.payload.size();
  for (uint64_t size = 0; size < whole; ++size) {
    EXPECT_FALSE(DecodePack(ByteView(pack.bytes).first(size)).ok()) << size;
  }
  EXPECT_TRUE(DecodePack(ByteView(pack.bytes).first(whole)).ok());
}

TinyTable SomeTable() {
  TinyTable table{.run = 7, .order = 9, .level = 2, .run_packs = 8, .first_pack = 3, .end = 4672};
  for (uint32_t pack = 3; pack < 6; ++pack) {
    table.packs.push_back({4096 + (pack - 3) * 192, 2});
    for (uint64_t i = 0; i < 2; ++i) {
      table.objects.push_back(
          {.oid = {(uint64_t{pack} << 61) + i, i}, .loaded_s = 5, .expires_s = 6});
    }
  }
  return table;
}

Result<TinyTable> Again(const TinyTable& table, uint64_t limit = 8192) {
  Buffer bytes(table.bytes());
  EncodeTinyTable(table, bytes.data());
  return DecodeTinyTable(bytes.view(), limit);
}

TEST(TinySegment, ATableSaysWhatWasPutIn) {
  const TinyTable table = SomeTable();
  const Result<TinyTable> again = Again(table);
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(again->run, 7u);
  EXPECT_EQ(again->order, 9u);
  EXPECT_EQ(again->level, 2u);
  EXPECT_EQ(again->run_packs, 8u);
  EXPECT_EQ(again->first_pack, 3u);
  EXPECT_EQ(again->end, 4672u);
  ASSERT_EQ(again->packs.size(), 3u);
  EXPECT_EQ(again->packs[1].offset, 4288u);
  EXPECT_EQ(again->packs[1].objects, 2u);
  ASSERT_EQ(again->objects.size(), 6u);
  EXPECT_EQ(again->objects[5].oid, table.objects[5].oid);
  EXPECT_EQ(again->objects[5].expires_s, 6u);
}

TEST(TinySegment, TablesThatCannotBeAreRefused) {
  const auto refused = [](const std::function<void(TinyTable&)>& change) {
    TinyTable table = SomeTable();
    change(table);
    return Again(table).status().code() == Code::kCorrupt;
  };
  EXPECT_EQ(Again(SomeTable(), 4608).status().code(), Code::kCorrupt);  // ends beyond
  EXPECT_TRUE(refused([](TinyTable& t) { t.run_packs = 2; }));
  EXPECT_TRUE(refused([](TinyTable& t) { t.first_pack = 6; }));
  EXPECT_TRUE(refused([](TinyTable& t) { t.packs[0].offset = 0; }));
  EXPECT_TRUE(refused([](TinyTable& t) { t.packs[1].offset = 4096 - 64; }));
  EXPECT_TRUE(refused([](TinyTable& t) { t.packs[2].offset = 5120; }));
  EXPECT_TRUE(refused([](TinyTable& t) { t.packs[2].objects = 3; }));
  EXPECT_TRUE(refused([](TinyTable& t) { t.packs[2].objects = 1; }));
  EXPECT_TRUE(refused([](TinyTable& t) { std::swap(t.objects[0], t.objects[5]); }));
  EXPECT_TRUE(refused([](TinyTable& t) { t.packs.pop_back(); }));
  EXPECT_FALSE(refused([](TinyTable& t) { t.level = 3; }));
  Buffer bytes(SomeTable().bytes());
  EncodeTinyTable(SomeTable(), bytes.data());
  for (uint64_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeTinyTable(bytes.view().first(size), 8192).ok()) << size;
  }
}

TEST(TinySegment, ASealSaysWhichKindItIs) {
  for (const SegmentKind kind : {SegmentKind::kRecords, SegmentKind::kPacks}) {
    Buffer block(kBlock);
    EncodeSeal({.kind = kind,
                .node = 1,
                .cluster = 2,
                .sequence = 3,
                .segment_bytes = 65'536,
                .table_offset = 8'192,
                .entries = 96,
                .table_hash = 5},
               block.data());
    const Result<Seal> seal = DecodeSeal(block.view(), 65'536);
    ASSERT_TRUE(seal.ok());
    EXPECT_EQ(seal->kind, kind);
    EXPECT_EQ(seal->table_bytes(), kind == SegmentKind::kPacks ? 96u : 96u * kEntryBytes);
  }
}

}  // namespace
}  // namespace holdfast::disk
