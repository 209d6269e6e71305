// SPDX-License-Identifier: Apache-2.0
#include "wire/bulk_format.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace holdfast::bulk {
namespace {

std::vector<std::byte> MakeBatch(const std::vector<Want>& wants, BatchHeader header) {
  std::vector<std::byte> bytes(kBatchHeaderBytes);
  for (const Want& w : wants) AppendWant(w, &bytes);
  header.length = static_cast<uint32_t>(bytes.size());
  header.count = static_cast<uint16_t>(wants.size());
  StoreBatchHeader(header, bytes.data());
  return bytes;
}

std::vector<Want> SampleWants() {
  return {
      {.oid = {1, 2}, .version = 3, .size = 4, .room = 5, .name = "s3+http://h/b/k", .etag = "e"},
      {.oid = {~0ull, 7}, .version = 0, .size = 0, .room = ~0ull, .name = "", .etag = ""},
      {.oid = {0, 0},
       .version = 9,
       .size = 1,
       .room = 0,
       .name = std::string_view("\n\0x", 3),
       .etag = "\"q\""}};
}

BatchHeader SampleHeader() {
  return {.request = 77, .received = 1ull << 40, .patience = 5s, .mode = BulkMode::kFetch};
}

TEST(BulkFormat, ClientHelloComesBack) {
  ClientHello hello{.cluster_hash = 0x1122334455667788u};
  hello.token[0] = std::byte{1};
  hello.token[31] = std::byte{255};
  auto back = DecodeClientHello(Encode(hello));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->cluster_hash, hello.cluster_hash);
  EXPECT_TRUE(TokensEqual(back->token, hello.token));
  hello.token[31] = std::byte{254};
  EXPECT_FALSE(TokensEqual(back->token, hello.token));
}

TEST(BulkFormat, AnotherVersionIsNamedInBothHellos) {
  auto client = DecodeClientHello(Encode(ClientHello{.version = 9}));
  EXPECT_EQ(client.status().code(), Code::kInvalid);
  EXPECT_NE(client.status().message().find("version 9"), std::string::npos);
  EXPECT_EQ(DecodeServerHello(Encode(ServerHello{.version = 9})).status().code(), Code::kInvalid);
}

TEST(BulkFormat, ServerHelloComesBackWithinItsLimits) {
  auto back = DecodeServerHello(Encode(ServerHello{.code = Code::kDenied, .text_bytes = 512}));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->code, Code::kDenied);
  EXPECT_EQ(back->text_bytes, 512u);
  EXPECT_FALSE(DecodeServerHello(Encode(ServerHello{.text_bytes = 513})).ok());
  EXPECT_FALSE(DecodeServerHello(Encode(ServerHello{.code = static_cast<Code>(200)})).ok());
}

TEST(BulkFormat, BatchComesBack) {
  auto wants = SampleWants();
  auto bytes = MakeBatch(wants, SampleHeader());
  auto length = BatchLength(bytes);
  ASSERT_TRUE(length.ok());
  EXPECT_EQ(**length, bytes.size());
  std::vector<Want> back(5);  // what was in there before must go
  auto header = DecodeBatch(bytes, &back);
  ASSERT_TRUE(header.ok()) << header.status().ToString();
  EXPECT_EQ(header->request, 77u);
  EXPECT_EQ(header->received, 1ull << 40);
  EXPECT_EQ(header->patience, 5s);
  EXPECT_EQ(header->mode, BulkMode::kFetch);
  ASSERT_EQ(back.size(), wants.size());
  for (size_t i = 0; i < wants.size(); ++i) {
    EXPECT_EQ(back[i].oid, wants[i].oid);
    EXPECT_EQ(back[i].version, wants[i].version);
    EXPECT_EQ(back[i].size, wants[i].size);
    EXPECT_EQ(back[i].room, wants[i].room);
    EXPECT_EQ(back[i].name, wants[i].name);
    EXPECT_EQ(back[i].etag, wants[i].etag);
  }
}

TEST(BulkFormat, ABatchWithoutItemsIsAnAcknowledgement) {
  std::vector<Want> wants;
  auto header = DecodeBatch(MakeBatch({}, {.received = 12}), &wants);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->count, 0u);
  EXPECT_EQ(header->received, 12u);
}

TEST(BulkFormat, AReaderSaysThatPlacesWillDo) {
  std::vector<Want> wants;
  BatchHeader header = SampleHeader();
  EXPECT_FALSE(DecodeBatch(MakeBatch(SampleWants(), header), &wants)->places);
  header.places = true;
  EXPECT_TRUE(DecodeBatch(MakeBatch(SampleWants(), header), &wants)->places);
}

TEST(BulkFormat, APlaceComesBackIfARecordCanLieThere) {
  std::array<std::byte, kAnswerBytes> bytes;
  StoreAnswer({.request = 5, .item = 6, .more = true, .place = true}, bytes.data());
  auto answer = DecodeAnswer(bytes);
  ASSERT_TRUE(answer.ok());
  EXPECT_TRUE(answer->place && answer->more);
  EXPECT_EQ(answer->body_bytes(), kPlaceBytes);
  const disk::Place place{.segment = 65'534, .offset = disk::kMaxSegmentBytes - 64};
  auto back = DecodePlace(Encode(place));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, place);
  for (uint64_t wrong : {uint64_t{0}, disk::kFirstRecord - 64, disk::kFirstRecord + 1,
                         disk::kMaxSegmentBytes, ~uint64_t{63}}) {
    EXPECT_FALSE(DecodePlace(Encode({.segment = 1, .offset = wrong})).ok()) << wrong;
  }
  auto reserved = Encode(place);
  reserved[13] = std::byte{1};
  EXPECT_FALSE(DecodePlace(reserved).ok());
}

TEST(BulkFormat, AnAnswerSaysWhenItsObjectExpires) {
  std::array<std::byte, kAnswerBytes> bytes;
  StoreAnswer({.size = 5, .payload_hash = 7, .expires_s = 4'000'000'000}, bytes.data());
  Result<Answer> answer = DecodeAnswer(bytes);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->expires_s, 4'000'000'000u);
  EXPECT_EQ(answer->body_bytes(), 5u);
  StoreAnswer({.code = Code::kNotFound, .text_bytes = 12, .expires_s = 9}, bytes.data());
  answer = DecodeAnswer(bytes);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->expires_s, 0u);
  EXPECT_EQ(answer->body_bytes(), 12u);
  StoreAnswer({.expires_s = 9, .place = true}, bytes.data());  // the record there says it
  EXPECT_EQ(DecodeAnswer(bytes).status().code(), Code::kCorrupt);
}

TEST(BulkFormat, LengthIsKnownFromEightBytesAndLimited) {
  auto bytes = MakeBatch(SampleWants(), SampleHeader());
  for (size_t n = 0; n < 8; ++n) {
    auto length = BatchLength({bytes.data(), n});
    ASSERT_TRUE(length.ok());
    EXPECT_FALSE(length->has_value());
  }
  EXPECT_EQ(**BatchLength({bytes.data(), 8}), bytes.size());
  for (uint32_t wrong : {0u, 39u, static_cast<uint32_t>(kMaxBatchBytes) + 1, ~0u}) {
    StoreAs(bytes.data(), wrong);
    EXPECT_EQ(BatchLength(bytes).status().code(), Code::kCorrupt) << wrong;
  }
}

TEST(BulkFormat, EveryTruncationOfABatchIsCorrupt) {
  auto bytes = MakeBatch(SampleWants(), SampleHeader());
  std::vector<Want> wants;
  for (size_t n = 0; n < bytes.size(); ++n) {
    std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
    if (n >= 4) StoreAs(cut.data(), static_cast<uint32_t>(n));  // a length that agrees
    EXPECT_EQ(DecodeBatch(cut, &wants).status().code(), Code::kCorrupt) << n;
  }
  bytes.push_back(std::byte{0});
  StoreAs(bytes.data(), static_cast<uint32_t>(bytes.size()));
  EXPECT_EQ(DecodeBatch(bytes, &wants).status().code(), Code::kCorrupt);
}

TEST(BulkFormat, FieldsOutOfRangeAreCorrupt) {
  const auto good = MakeBatch(SampleWants(), SampleHeader());
  std::vector<Want> wants;
  auto expect_corrupt = [&](size_t at, auto value) {
    auto bytes = good;
    StoreAs(bytes.data() + at, value);
    EXPECT_EQ(DecodeBatch(bytes, &wants).status().code(), Code::kCorrupt) << at;
  };
  expect_corrupt(4, uint32_t{1});                                       // magic
  expect_corrupt(24, static_cast<uint64_t>(kMaxPatience.count()) + 1);  // patience
  expect_corrupt(24, ~uint64_t{0});
  expect_corrupt(32, uint16_t{1025});  // count
  expect_corrupt(32, uint16_t{2});
  expect_corrupt(32, uint16_t{4});
  expect_corrupt(34, uint8_t{3});                          // mode
  expect_corrupt(34, uint8_t{0});                          // names without kFetch
  expect_corrupt(35, uint8_t{2});                          // places
  expect_corrupt(36, uint8_t{1});                          // reserved
  expect_corrupt(kBatchHeaderBytes + 40, uint16_t{4097});  // name
  expect_corrupt(kBatchHeaderBytes + 42, uint16_t{257});   // ETag
  expect_corrupt(kBatchHeaderBytes + 44, uint32_t{1});     // reserved
}

TEST(BulkFormat, AnswerComesBack) {
  Answer answer{.request = 5, .item = 1023, .version = 6, .size = 7, .payload_hash = 8};
  std::array<std::byte, kAnswerBytes> bytes;
  StoreAnswer(answer, bytes.data());
  auto back = DecodeAnswer(bytes);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->request, 5u);
  EXPECT_EQ(back->item, 1023u);
  EXPECT_EQ(back->version, 6u);
  EXPECT_EQ(back->payload_hash, 8u);
  EXPECT_EQ(back->body_bytes(), 7u);
  EXPECT_FALSE(back->more);
  answer.more = true;
  StoreAnswer(answer, bytes.data());
  EXPECT_TRUE(DecodeAnswer(bytes)->more);
  StoreAnswer({.code = Code::kNoSpace, .size = 1000, .text_bytes = 3}, bytes.data());
  back = DecodeAnswer(bytes);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->size, 1000u);
  EXPECT_EQ(back->body_bytes(), 3u);
}

TEST(BulkFormat, EveryFlippedBitOfAnAnswerIsCaught) {
  std::array<std::byte, kAnswerBytes> bytes;
  StoreAnswer({.request = 5, .item = 3, .version = 6, .size = 7, .payload_hash = 8}, bytes.data());
  for (size_t bit = 0; bit < kAnswerBytes * 8; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    EXPECT_EQ(DecodeAnswer(flipped).status().code(), Code::kCorrupt) << bit;
  }
}

TEST(BulkFormat, AnswersOutOfRangeAreCorrupt) {
  const Answer wrong[] = {
      {.item = 1024},
      {.code = static_cast<Code>(9)},
      {.size = kMaxObjectBytes + 1},
      {.code = Code::kNotFound, .text_bytes = kMaxTextBytes + 1},
      {.code = Code::kNotFound, .payload_hash = 1},
      {.expires_s = 1, .place = true},
      {.code = Code::kNotFound, .place = true},
      {.version = 1, .place = true},
      {.size = 1, .place = true},
      {.payload_hash = 1, .place = true},
  };
  for (const Answer& answer : wrong) {
    std::array<std::byte, kAnswerBytes> bytes;
    StoreAnswer(answer, bytes.data());
    EXPECT_EQ(DecodeAnswer(bytes).status().code(), Code::kCorrupt);
  }
}

// Whatever a decoder takes from random changes of a good batch lies inside the batch.
TEST(BulkFormat, ChangedBatchesYieldErrorsOrViewsInside) {
  const auto good = MakeBatch(SampleWants(), SampleHeader());
  Random random(1);
  std::vector<Want> wants;
  size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = good;
    for (uint64_t n = 1 + random.Below(3); n > 0; --n) {
      bytes[random.Below(bytes.size())] = static_cast<std::byte>(random.Below(256));
    }
    if (!DecodeBatch(bytes, &wants).ok()) continue;
    ++accepted;
    for (const Want& w : wants) {
      if (w.name.empty()) continue;
      EXPECT_GE(AsBytes(w.name).data(), bytes.data());
      EXPECT_LE(AsBytes(w.name).data() + w.name.size(), bytes.data() + bytes.size());
    }
  }
  EXPECT_GT(accepted, 100u);
}

}  // namespace
}  // namespace holdfast::bulk
