// SPDX-License-Identifier: Apache-2.0
#include "wire/record_mover.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/hash.h"
#include "base/random.h"
#include "tests/unit/wire/records.h"

namespace holdfast {
namespace {

constexpr uint64_t kSegmentBytes = 256 * kKiB;

// Segments in memory whose calls end when they are told to.
class StillDisk : public Disk {
 public:
  uint32_t segments() const override { return 4; }
  uint64_t segment_bytes() const override { return kSegmentBytes; }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t)> done) override {
    ++reads;
    const bool bad = offset <= bad_offset && bad_offset < offset + into.size();
    if (bad) {
      ends.push_back([done = std::move(done)] { done(Status::Unavailable("EIO"), 0); });
      return;
    }
    std::memcpy(into.data(), bytes.data() + segment * kSegmentBytes + offset, into.size());
    ends.push_back(
        [done = std::move(done), into, status = read_status] { done(status, Hash64(into)); });
  }
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override {
    ++writes;
    uint64_t at = segment * kSegmentBytes + offset;
    for (const ByteView& part : parts) {
      std::memcpy(bytes.data() + at, part.data(), part.size());
      at += part.size();
    }
    ends.push_back([done = std::move(done), status = write_status] { done(status); });
  }
  void Sync(uint32_t, std::function<void(Status)>) override { FAIL(); }
  void Run() {
    while (!ends.empty()) {
      auto now = std::exchange(ends, {});
      for (auto& end : now) end();
    }
  }

  std::string bytes = std::string(4 * kSegmentBytes, '?');
  std::vector<std::function<void()>> ends;
  uint64_t bad_offset = UINT64_MAX;  // cannot be read
  Status read_status, write_status;
  int reads = 0, writes = 0;
};

class RecordMoverTest : public testing::Test {
 protected:
  RecordMoverTest() {
    uint64_t offset = disk::kFirstRecord;
    for (uint64_t n = 0; n < 10; ++n) {
      const std::string record =
          test::RecordOf(n, 1'000 + 700 * n, offset, &entries_.emplace_back());
      std::memcpy(disk_.bytes.data() + kSegmentBytes + offset, record.data(), record.size());
      offset += record.size();
    }
  }
  Moved Move(std::vector<size_t> chosen) {
    SegmentMove move{.from = 1, .to = 2, .offset = 8192};
    for (const size_t n : chosen) move.records.push_back(entries_[n]);
    std::optional<Moved> ended;
    RecordMover(&disk_, nullptr).Move(move, [&](Moved moved) { ended = std::move(moved); });
    EXPECT_FALSE(ended.has_value()) << "called from inside the call";
    disk_.Run();
    return *ended;
  }
  // Does record n lie `at` bytes behind the first place?
  bool LiesAt(size_t n, uint64_t at) const {
    disk::Entry there = entries_[n];
    there.offset = 8192 + at;
    const uint64_t bytes = there.end() - there.offset;
    return IsRecord(AsBytes(disk_.bytes).subspan(2 * kSegmentBytes + there.offset, bytes), there,
                    kSegmentBytes);
  }
  uint64_t BytesOf(size_t n) const { return entries_[n].end() - entries_[n].offset; }

  StillDisk disk_;
  std::vector<disk::Entry> entries_;
};

TEST_F(RecordMoverTest, NeighboursAreReadTogether) {
  const Moved moved = Move({0, 1, 2, 5, 6, 9});
  EXPECT_TRUE(moved.status.ok());
  EXPECT_EQ(moved.right.Count(), 6u);
  EXPECT_EQ(disk_.reads, 3);
  EXPECT_EQ(disk_.writes, 1);
  uint64_t at = 0;
  for (const size_t n : {0, 1, 2, 5, 6, 9}) {
    EXPECT_TRUE(LiesAt(n, at)) << n;
    at += BytesOf(n);
  }
}

TEST_F(RecordMoverTest, WhatIsNotRightIsZerosAndSaid) {
  disk_.bytes[kSegmentBytes + entries_[1].payload_offset() + 3] ^= 1;  // a payload
  disk_.bytes[kSegmentBytes + entries_[4].offset + 9] ^= 1;            // a head
  entries_[6].version ^= 1;                                            // another one than is said
  const Moved moved = Move({0, 1, 4, 5, 6, 7});
  EXPECT_TRUE(moved.status.ok());
  for (const auto& [i, right] :
       {std::pair(0, true), {1, false}, {2, false}, {3, true}, {4, false}, {5, true}})
    EXPECT_EQ(moved.right.Get(i), right) << i;
  EXPECT_TRUE(LiesAt(0, 0));
  EXPECT_EQ(disk_.bytes.substr(2 * kSegmentBytes + 8192 + BytesOf(0), BytesOf(1)),
            std::string(BytesOf(1), '\0'));
  EXPECT_TRUE(LiesAt(5, BytesOf(0) + BytesOf(1) + BytesOf(4)));
}

// A sector that cannot be read costs its record, not those that would have been read with it.
TEST_F(RecordMoverTest, ABadSectorCostsOneRecord) {
  disk_.bad_offset = entries_[3].payload_offset() + 100;
  const Moved moved = Move({1, 2, 3, 4, 5, 9});
  EXPECT_TRUE(moved.status.ok());
  EXPECT_EQ(moved.right.Count(), 5u);
  EXPECT_FALSE(moved.right.Get(2));
  EXPECT_EQ(disk_.reads, 2 + 5);
  EXPECT_TRUE(LiesAt(1, 0));
  EXPECT_TRUE(LiesAt(4, BytesOf(1) + BytesOf(2) + BytesOf(3)));
}

TEST_F(RecordMoverTest, ErrorsOfTheDisk) {
  disk_.read_status = Status::Timeout("away");
  const int writes = disk_.writes;
  EXPECT_EQ(Move({0, 3}).status.code(), Code::kTimeout);
  EXPECT_EQ(disk_.writes, writes);
  disk_.read_status = {};
  disk_.write_status = Status::NoSpace("full");
  EXPECT_EQ(Move({0, 3}).status.code(), Code::kNoSpace);
}

TEST(SegmentMove, WhatIsEncodedIsDecoded) {
  SegmentMove move{.from = 7};
  uint64_t offset = 4096;
  for (uint64_t n = 0; n < 100; ++n) {
    disk::Entry entry;
    offset += test::RecordOf(n, 500 + n, offset, &entry).size();
    move.records.push_back(entry);
  }
  const Buffer body = EncodeMove(move);
  Result<SegmentMove> again = DecodeMove(body.view(), 3, 8192, kSegmentBytes);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->from, 7u);
  EXPECT_EQ(again->to, 3u);
  EXPECT_EQ(again->offset, 8192u);
  ASSERT_EQ(again->records.size(), 100u);
  EXPECT_EQ(again->bytes(), move.bytes());
  EXPECT_EQ(again->records[99].oid, move.records[99].oid);
  EXPECT_EQ(again->records[99].end(), move.records[99].end());
}

TEST(SegmentMove, WhatIsNoneIsRefused) {
  SegmentMove move{.from = 7, .records = std::vector<disk::Entry>(2)};
  test::RecordOf(1, 100'000, 4096, &move.records[0]);
  test::RecordOf(2, 100'000, 4096 + 128 * kKiB, &move.records[1]);
  const Buffer body = EncodeMove(move);
  const auto code = [&](ByteView bytes, uint64_t offset) {
    return DecodeMove(bytes, 3, offset, kSegmentBytes).status().code();
  };
  EXPECT_EQ(code(body.view(), 8192), Code::kOk);
  EXPECT_EQ(code(body.view(), 8193), Code::kCorrupt);
  EXPECT_EQ(code(body.view(), kSegmentBytes), Code::kCorrupt);
  EXPECT_EQ(code(body.view(), UINT64_MAX / 4096 * 4096), Code::kCorrupt);
  EXPECT_EQ(code(body.view(), 64 * kKiB), Code::kCorrupt);  // no room
  for (size_t bytes = 0; bytes < body.size(); ++bytes)
    EXPECT_EQ(code(body.view().first(bytes), 8192), Code::kCorrupt) << bytes;
  Buffer none = Buffer::CopyOf(body.view().first(kMoveHeadBytes));
  StoreAs(none.data() + 4, uint32_t{0});
  EXPECT_EQ(code(none.view(), 8192), Code::kCorrupt);
}

// Whatever the bytes are, nothing outside of the segments is named.
TEST(SegmentMove, DecodedOnesStayWithinTheirSegments) {
  Random random(4);
  SegmentMove move{.from = 1, .records = std::vector<disk::Entry>(3)};
  for (uint64_t n = 0; n < 3; ++n) test::RecordOf(n, 5'000, 8192 * (n + 1), &move.records[n]);
  const Buffer right = EncodeMove(move);
  size_t accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    Buffer body = Buffer::CopyOf(right.view());
    for (int flips = 0; flips < 3; ++flips)
      body.data()[random.Below(body.size())] ^= std::byte{1} << static_cast<int>(random.Below(8));
    Result<SegmentMove> decoded = DecodeMove(body.view(), 3, 4096, kSegmentBytes);
    if (!decoded.ok()) continue;
    ++accepted;
    EXPECT_LE(decoded->offset + decoded->bytes(), kSegmentBytes);
    for (const disk::Entry& entry : decoded->records) {
      EXPECT_LE(entry.end(), kSegmentBytes);
      EXPECT_LT(entry.offset, entry.end());
    }
  }
  EXPECT_GT(accepted, 100u);
}

}  // namespace
}  // namespace holdfast
