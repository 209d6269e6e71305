// SPDX-License-Identifier: Apache-2.0
#include "wire/storage_format.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "base/hash.h"

namespace holdfast::storage {
namespace {

using HeadBytes = std::array<std::byte, kHeadBytes>;

HeadBytes Stored(const FrameHead& head) {
  HeadBytes bytes;
  StoreHead(head, bytes.data());
  return bytes;
}

// With a right checksum, so that what lies behind it is reached.
HeadBytes Sealed(HeadBytes bytes) {
  StoreAs(bytes.data() + 48, Hash64({bytes.data(), 48}));
  return bytes;
}

std::vector<std::byte> Body(const std::vector<std::string>& records) {
  std::vector<std::byte> body;
  for (const std::string& record : records) {
    std::byte length[4];
    StoreAs(length, static_cast<uint32_t>(record.size()));
    body.insert(body.end(), length, length + 4);
    const ByteView bytes = AsBytes(record);
    body.insert(body.end(), bytes.begin(), bytes.end());
  }
  return body;
}

TEST(StorageFormat, HellosAreWhatThePageSays) {
  Hello hello{.cluster_hash = 0x1122334455667788};
  hello.token[31] = std::byte{7};
  const auto bytes = Encode(hello);
  EXPECT_EQ(AsText(ByteView(bytes).first(8)), "HLFDSTO1");
  EXPECT_EQ(bytes[8], std::byte{1});
  EXPECT_EQ(bytes[16], std::byte{0x88});
  EXPECT_EQ(bytes[55], std::byte{7});
  Result<Hello> again = DecodeHello(bytes);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->cluster_hash, hello.cluster_hash);
  EXPECT_EQ(again->token, hello.token);
}

TEST(StorageFormat, OtherHellosAreTold) {
  auto bytes = Encode(Hello{});
  bytes[8] = std::byte{2};
  EXPECT_EQ(DecodeHello(bytes).status().code(), Code::kInvalid);
  bytes = Encode(Hello{});
  bytes[63] = std::byte{1};
  EXPECT_EQ(DecodeHello(bytes).status().code(), Code::kCorrupt);
  bytes[0] = std::byte{'G'};
  EXPECT_EQ(DecodeHello(bytes).status().code(), Code::kCorrupt);
  EXPECT_EQ(DecodeHello(ByteView(bytes).first(63)).status().code(), Code::kCorrupt);
}

TEST(StorageFormat, HeadsAreWhatThePageSays) {
  const std::vector<std::byte> body = Body({"a", ""});
  HeadBytes bytes;
  StoreHead({.kind = Kind::kAppend, .tag = 1, .a = 2, .b = 3, .count = 2}, body, bytes.data());
  EXPECT_EQ(AsText(ByteView(bytes).first(4)), "HFSF");
  EXPECT_EQ(bytes[4], std::byte{5});
  EXPECT_EQ(LoadAs<uint64_t>(bytes.data() + 8), 1u);
  EXPECT_EQ(LoadAs<uint64_t>(bytes.data() + 16), 2u);
  EXPECT_EQ(LoadAs<uint32_t>(bytes.data() + 32), 2u);
  EXPECT_EQ(LoadAs<uint32_t>(bytes.data() + 36), body.size());
  EXPECT_EQ(LoadAs<uint64_t>(bytes.data() + 40), Hash64(body));
  Result<FrameHead> head = DecodeHead(bytes);
  ASSERT_TRUE(head.ok());
  EXPECT_EQ(Stored(*head), bytes);
  EXPECT_TRUE(IsBodyOf(*head, body));
  EXPECT_FALSE(IsBodyOf(*head, Body({"b", ""})));
  EXPECT_FALSE(IsBodyOf(*head, ByteView(body).first(3)));
}

TEST(StorageFormat, AFlippedBitIsNoFrame) {
  HeadBytes bytes = Stored({.kind = Kind::kRead, .tag = 9, .a = 4096, .b = 100, .count = 3});
  for (size_t bit = 0; bit < 8 * kHeadBytes; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_EQ(DecodeHead(bytes).status().code(), Code::kCorrupt) << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  EXPECT_TRUE(DecodeHead(bytes).ok());
  EXPECT_EQ(DecodeHead(ByteView(bytes).first(55)).status().code(), Code::kCorrupt);
}

// Heads with right checksums that no honest peer sends.
TEST(StorageFormat, MoversSayWhereTheSegmentsAre) {
  EXPECT_EQ(Encode(MoverName{"node-1", ""}), "node-1");
  EXPECT_EQ(Encode(MoverName{"node-1", "tcp://h:1"}), "node-1@tcp://h:1");
  EXPECT_EQ(DecodeMoverName("node-1")->endpoint, "");
  EXPECT_EQ(DecodeMoverName("node-1@tcp://h:1")->store, "node-1");
  EXPECT_EQ(DecodeMoverName("node-1@tcp://h:1")->endpoint, "tcp://h:1");
  for (const char* name : {"", "@", "node-1@", "@tcp://h:1", "../x@tcp://h:1"})
    EXPECT_EQ(DecodeMoverName(name).status().code(), Code::kInvalid) << name;
  EXPECT_FALSE(DecodeMoverName("n@" + std::string(kMaxEndpointBytes + 1, 'x')).ok());
}

TEST(StorageFormat, HugeLengthsAndUnknownKindsAreNoFrames) {
  auto refused = [](const FrameHead& head) {
    return DecodeHead(Stored(head)).status().code() == Code::kCorrupt;
  };
  const auto over = static_cast<uint32_t>(kMaxBodyBytes + 1);
  EXPECT_TRUE(refused({.kind = Kind::kAppend, .count = 1, .body_bytes = over}));
  EXPECT_TRUE(refused({.kind = Kind::kAppend, .count = 1, .body_bytes = UINT32_MAX}));
  EXPECT_FALSE(refused({.kind = Kind::kAppend, .count = 1, .body_bytes = over - 1}));
  EXPECT_TRUE(refused({.kind = Kind::kWrite, .body_bytes = kMaxPartBytes + 1}));
  EXPECT_TRUE(refused({.kind = Kind::kPing, .body_bytes = 1}));
  EXPECT_TRUE(refused({.kind = Kind::kOpenJournal, .body_bytes = 100}));
  EXPECT_TRUE(refused({.kind = Kind::kFailed, .code = Code::kDenied, .body_bytes = 513}));
  EXPECT_TRUE(refused({.kind = Kind::kFailed}));
  EXPECT_TRUE(refused({.kind = Kind::kDone, .code = Code::kDenied}));
  EXPECT_TRUE(refused({.kind = Kind::kPing, .body_hash = 1}));
  for (const int kind : {0, 23, 255}) EXPECT_TRUE(refused({.kind = static_cast<Kind>(kind)}));
  EXPECT_TRUE(refused({.kind = Kind::kMove, .body_bytes = kMaxPartBytes}));
  EXPECT_TRUE(refused({.kind = Kind::kPermit, .body_bytes = 9}));
  HeadBytes bytes = Stored({.kind = Kind::kPing});
  bytes[5] = std::byte{9};
  EXPECT_EQ(DecodeHead(Sealed(bytes)).status().code(), Code::kCorrupt);
  bytes = Stored({.kind = Kind::kPing});
  bytes[6] = std::byte{1};
  EXPECT_EQ(DecodeHead(Sealed(bytes)).status().code(), Code::kCorrupt);
}

TEST(StorageFormat, RecordsAreVisitedInOrder) {
  const std::vector<std::string> records = {"one", "", std::string(5000, 'x'), "four"};
  std::vector<std::string> seen;
  const std::vector<std::byte> body = Body(records);
  EXPECT_TRUE(
      VisitRecords(body, 4, [&](ByteView record) { seen.emplace_back(AsText(record)); }).ok());
  EXPECT_EQ(seen, records);
  EXPECT_TRUE(HasRecords(body, 4));
  EXPECT_FALSE(HasRecords(body, 3));
  EXPECT_FALSE(HasRecords(body, 5));
  EXPECT_FALSE(HasRecords({}, 0));
  EXPECT_FALSE(HasRecords(ByteView(body).first(body.size() - 1), 4));
  std::vector<std::byte> huge = Body({"one"});
  StoreAs(huge.data(), UINT32_MAX);
  EXPECT_FALSE(HasRecords(huge, 1));
}

TEST(StorageFormat, NamesArePartsOfAPath) {
  for (const char* name : {"node-1", "a", "7", "A.b_c-9"}) EXPECT_TRUE(IsStoreName(name)) << name;
  for (const char* name : {"", ".", "..", ".a", "-a", "a/b", "a b", "a\\b", "\xc3\xa4"})
    EXPECT_FALSE(IsStoreName(name)) << name;
  EXPECT_TRUE(IsStoreName(std::string(64, 'a')));
  EXPECT_FALSE(IsStoreName(std::string(65, 'a')));
  EXPECT_FALSE(IsStoreName(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace holdfast::storage
