// SPDX-License-Identifier: Apache-2.0
// Frames that are not what they should be.
#include "snapshot/log_frame.h"

#include <functional>
#include <limits>

#include "base/hash.h"
#include "snapshot/log_body.h"
#include "tests/unit/snapshot/log_fixture.h"

namespace holdfast::snapshot {
namespace {

class LogFrameTest : public testing::Test {
 protected:
  LogFrameTest() {
    evidence_[Ring::kFresh].Evicted(0s, 100s, 4);
    first_ = owner_.Append(
        kStart, {Listing(1, {{5, 10s}, {kMostPrint, 1h}}), Listing(2, {{5, 9s}})}, evidence_, true);
    second_ = owner_.Append(After(60s), {Listing(1, {{5, 70s}, {8, 3s}}), Listing(2, {})},
                            evidence_, false);
  }

  // Nothing of it is taken over.
  static void ExpectRefused(SnapshotLog log, ByteView frame, Code code) {
    const SnapshotLog before = log;
    const Status status = log.Apply(frame);
    EXPECT_EQ(status.code(), code) << status.ToString();
    EXPECT_EQ(status.message().empty(), code == Code::kOk);
    ExpectSame(log, before);
  }

  SnapshotLog After1() const {
    SnapshotLog log(kCluster);
    EXPECT_TRUE(log.Apply(first_).ok());
    return log;
  }

  static constexpr Print kMostPrint = (Print{1} << 40) - 1;
  RingEvidence evidence_;
  SnapshotLog owner_{kCluster};
  Frame first_, second_;
};

void Reseal(Frame* frame) {
  StoreAs(frame->data() + 48, Hash64(ByteView(*frame).subspan(kFrameHeaderBytes)));
  StoreAs(frame->data() + 56, Hash64(ByteView(*frame).first(56)));
}

TEST_F(LogFrameTest, HeaderSaysWhatItIs) {
  const auto header = ReadFrameHeader(second_);
  ASSERT_TRUE(header.ok());
  EXPECT_FALSE(header->full);
  EXPECT_EQ(header->cluster, kCluster);
  EXPECT_EQ(header->sequence, 2u);
  EXPECT_EQ(header->stamp, After(60s));
  EXPECT_EQ(header->frame_bytes(), second_.size());
  EXPECT_EQ(FollowsOf(second_), MarkOf(first_));
  Frame both = first_;
  both.insert(both.end(), second_.begin(), second_.end());
  EXPECT_EQ(ReadFrameHeader(both)->frame_bytes(), first_.size());
  EXPECT_NE(ClusterHash("a"), ClusterHash("b"));
}

TEST_F(LogFrameTest, TornAtEveryLength) {
  for (const Frame* frame : {&first_, &second_}) {
    for (size_t size = 0; size < frame->size(); ++size) {
      const ByteView torn = ByteView(*frame).first(size);
      EXPECT_EQ(ReadFrameHeader(torn).status().code(), Code::kUnavailable) << size;
      ExpectRefused(frame == &first_ ? SnapshotLog(kCluster) : After1(), torn, Code::kUnavailable);
    }
  }
}

TEST_F(LogFrameTest, AFlippedBitInEveryByte) {
  for (const Frame* frame : {&first_, &second_}) {
    for (size_t at = 0; at < frame->size(); ++at) {
      Frame flipped = *frame;
      flipped[at] ^= std::byte{1} << (at % 8);
      ExpectRefused(frame == &first_ ? SnapshotLog(kCluster) : After1(), flipped, Code::kCorrupt);
    }
  }
}

TEST_F(LogFrameTest, NoLogAtAll) {
  ExpectRefused(SnapshotLog(kCluster), AsBytes("{\"log\": false}"), Code::kCorrupt);
  ExpectRefused(SnapshotLog(kCluster), Frame(4096), Code::kCorrupt);
  Frame longer = first_;
  longer.push_back({});
  ExpectRefused(SnapshotLog(kCluster), longer, Code::kCorrupt);
}

TEST_F(LogFrameTest, GapsAndRepeatedFrames) {
  ExpectRefused(SnapshotLog(kCluster), second_, Code::kNotFound);
  const Frame third = owner_.Append(After(90s), {Listing(1, {})}, evidence_, false);
  ExpectRefused(After1(), third, Code::kNotFound);
  ExpectRefused(owner_, first_, Code::kOk);
  ExpectRefused(owner_, second_, Code::kOk);
  ExpectRefused(owner_, third, Code::kOk);
  // A full one needs nothing before it.
  const Frame fourth = owner_.Append(After(120s), {Listing(1, {{4, 1s}})}, evidence_, true);
  SnapshotLog log = After1();
  ASSERT_TRUE(log.Apply(fourth).ok());
  EXPECT_EQ(SightingsOf(log), SightingsOf(owner_));
  EXPECT_EQ(log.sequence(), 4u);
}

TEST_F(LogFrameTest, OfAnotherCluster) {
  SnapshotLog other(kCluster + 1);
  const Frame frame = other.Append(kStart, {Listing(1, {})}, {}, true);
  ExpectRefused(After1(), frame, Code::kDenied);
}

TEST_F(LogFrameTest, OfANewerVersion) {
  Frame newer = first_;
  StoreAs(newer.data() + 8, static_cast<uint16_t>(kLogVersion + 1));
  Reseal(&newer);
  ExpectRefused(SnapshotLog(kCluster), newer, Code::kInvalid);
}

// Two collectors, or one that lost its log, write frames of the same number.
TEST_F(LogFrameTest, ADifferenceToAnotherHistory) {
  SnapshotLog twin(kCluster);
  twin.Append(After(1s), {Listing(1, {{77, 10s}})}, {}, true);
  ExpectRefused(twin, second_, Code::kNotFound);
}

TEST_F(LogFrameTest, ALogThatWasLostBeginsAnew) {
  SnapshotLog again(kCluster);
  const Frame frame = again.Append(After(1h), {Listing(1, {{77, 10s}})}, {}, true);
  ASSERT_TRUE(owner_.Apply(frame).ok());
  EXPECT_EQ(owner_.sequence(), 1u);
  EXPECT_EQ(SightingsOf(owner_), SightingsOf(again));
}

// --- Sealed, but wrong inside -------------------------------------------------------------------

LogBody GoodBody(bool full) {
  LogBody body;
  body.nodes = {{.node = 3,
                 .answered = true,
                 .incarnation = 1,
                 .seen = kStart,
                 .removed = full ? 0u : 2u,
                 .listed = 1},
                {.node = 4, .answered = true, .incarnation = 1, .seen = kStart, .listed = 2},
                {.node = 9, .answered = false, .incarnation = 0}};
  if (!full) body.removed = {7, 8};
  body.listed = {5, 5, 6};
  body.marks = {AgeMark::Of(3, true, Ring::kFresh),
                AgeMark::Of(AgeCells::kCells - 1, false, Ring::kKept), AgeMark{}};
  body.evidence[Ring::kFresh].Evicted(0s, 1ms, 4);  // of cell 0 alone: 26 bytes
  return body;
}

constexpr size_t kNodesAt = 8, kEvidenceAt = kNodesAt + 3 * 32, kColumnsAt = kEvidenceAt + 26;

Status Decode(bool full, const std::vector<std::byte>& bytes) {
  return DecodeBody({.full = full, .sequence = 1, .stamp = kStart}, bytes).status();
}

template <typename T>
Status DecodeWith(bool full, size_t at, T value) {
  EncodedBody encoded = EncodeBody(GoodBody(full));
  StoreAs(encoded.bytes.data() + at, value);
  return Decode(full, encoded.bytes);
}

TEST(LogBodyTest, RoundTrip) {
  for (bool full : {true, false}) {
    const LogBody body = GoodBody(full);
    const EncodedBody encoded = EncodeBody(body);
    const auto decoded = DecodeBody({.full = full, .stamp = kStart}, encoded.bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
    EXPECT_EQ(decoded->nodes.size(), 3u);
    EXPECT_EQ(decoded->removed, body.removed);
    EXPECT_EQ(decoded->listed, body.listed);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(decoded->marks[i].bits, body.marks[i].bits);
    ExpectSameEvidence(decoded->evidence, body.evidence);
    EXPECT_EQ(encoded.bytes.size(), kColumnsAt + 5 * body.removed.size() + 7 * 3);
  }
}

TEST(LogBodyTest, EveryRuleIsChecked) {
  const auto expect_corrupt = [](const Status& status) {
    EXPECT_EQ(status.code(), Code::kCorrupt) << status.ToString();
  };
  for (bool full : {true, false}) {
    for (uint32_t count : {0u, 2u, 4u, 4097u, ~0u}) {
      expect_corrupt(DecodeWith(full, 0, count));  // nodes
      expect_corrupt(DecodeWith(full, 4, count));  // cells
    }
    for (NodeId node : {NodeId{4}, NodeId{9}, kNoNode}) {
      expect_corrupt(DecodeWith(full, kNodesAt, node));
    }
    expect_corrupt(DecodeWith(full, kNodesAt + 2, uint16_t{1}));
    expect_corrupt(DecodeWith(full, kNodesAt + 4, 3u));
    // Objects of a node that did not answer: only a full frame has what is known of it.
    EXPECT_EQ(DecodeWith(full, kNodesAt + 4, 0u).ok(), full);
    expect_corrupt(DecodeWith(full, kNodesAt + 16, kStart.us + 1));
    expect_corrupt(DecodeWith(full, kNodesAt + 64 + 16, kStart.us + 1));
    expect_corrupt(DecodeWith(full, kNodesAt + 64 + 16, int64_t{-1}));
    for (uint32_t count : {3u, 1u << 30, ~0u}) {
      expect_corrupt(DecodeWith(full, kNodesAt + 24, count));
      expect_corrupt(DecodeWith(full, kNodesAt + 28, count));
    }
    for (uint32_t ring : {0u, 0x8000u}) {  // of the fresh one, of the kept one
      expect_corrupt(DecodeWith(full, kEvidenceAt, static_cast<uint16_t>(AgeCells::kCells | ring)));
    }
    for (int high : {0x81, 0x7f, 0xff}) {  // negative, or too large
      expect_corrupt(DecodeWith(full, kEvidenceAt + 2 + 7, static_cast<uint8_t>(high)));
    }
    const size_t columns = kColumnsAt + (full ? 0 : 10);
    expect_corrupt(DecodeWith(full, columns + 18, uint8_t{0x7f}));  // the first mark's cell
    EncodedBody beyond =
        EncodeBody(GoodBody(full));  // 2^40 - 1 prints left out before the last one
    for (size_t plane = 0; plane < 5; ++plane)
      beyond.bytes[columns + 3 * plane + 2] = std::byte{0xff};
    expect_corrupt(Decode(full, beyond.bytes));
    for (size_t size : {size_t{0}, size_t{7}, kNodesAt, kEvidenceAt, kColumnsAt, columns + 20}) {
      EncodedBody encoded = EncodeBody(GoodBody(full));
      encoded.bytes.resize(size);
      expect_corrupt(Decode(full, encoded.bytes));
      encoded.bytes.resize(columns + 22);
      expect_corrupt(Decode(full, encoded.bytes));
    }
  }
}

TEST(LogBodyTest, EvidenceThatIsNoNumberIsNotWritten) {
  LogBody body;
  body.evidence[Ring::kFresh].Add(3, {.kept = std::numeric_limits<double>::quiet_NaN(),
                                      .lost = std::numeric_limits<double>::infinity(),
                                      .lost_squares = -1});
  EXPECT_TRUE(Decode(true, EncodeBody(body).bytes).ok());
}

// --- Sizes that a header declares -----------------------------------------------------------------

TEST_F(LogFrameTest, DeclaredSizesThatAreNotTheBody) {
  for (uint32_t raw : {0u, 1u, 0x7fff'ffffu, 0xffff'ffffu}) {
    Frame frame = first_;
    StoreAs(frame.data() + 44, raw);
    Reseal(&frame);
    ExpectRefused(SnapshotLog(kCluster), frame, Code::kCorrupt);
  }
  for (size_t cut : {size_t{1}, size_t{20}}) {
    Frame frame = first_;
    frame.resize(frame.size() - cut);
    StoreAs(frame.data() + 40, static_cast<uint32_t>(frame.size() - kFrameHeaderBytes));
    Reseal(&frame);
    ExpectRefused(SnapshotLog(kCluster), frame, Code::kCorrupt);
  }
  Frame frame = first_;
  StoreAs(frame.data() + 24, kMaxSequence + 1);
  Reseal(&frame);
  ExpectRefused(SnapshotLog(kCluster), frame, Code::kCorrupt);
}

// Prints that follow one another pack a thousand times better than real ones: no reader would take
// the frame, so there is none.
TEST_F(LogFrameTest, WhatDoesNotFitIsNotWritten) {
  auto even = [](size_t objects) {  // what compresses best
    NodeListing listing = Listing(1, {});
    const Print step = (Print{1} << 40) / objects;
    for (Print i = 0; i < objects; ++i) listing.objects.push_back({i * step, 5s});
    return listing;
  };
  SnapshotLog log = After1();
  EXPECT_TRUE(log.Append(After(60s), {even(2'500'000)}, {}, true).empty());
  ExpectSame(log, After1());
  EXPECT_FALSE(log.Append(After(60s), {even(1'000'000)}, {}, true).empty());
  EXPECT_EQ(log.known().size(), 1'000'000u);
}

// --- Ages ----------------------------------------------------------------------------------------

TEST(SameLoadTest, IsToldByTheAgeButForACellAndTwoSeconds) {
  const Stamp now{int64_t{1} << 61};
  auto same = [now](int64_t known_us, int64_t told_us) {
    return SameLoad({.written = {now.us - known_us}}, Duration(told_us), now);
  };
  for (int64_t us = 0; us < int64_t{1} << 60; us += us < 8 ? 1 : us / 8) {
    EXPECT_TRUE(same(us, us));
    if (us > 5'000'000 && us < 1'000'000'000'000) {
      EXPECT_TRUE(same(us, us * 51 / 50));
      if (us < 9'000'000) {
        EXPECT_TRUE(same(us * 12 / 10, us)) << us;
      }
      if (us > 20'000'000) {
        EXPECT_FALSE(same(us * 12 / 10, us)) << us;
      }
    }
  }
  EXPECT_TRUE(same(-1'000'000, 500'000));
  EXPECT_FALSE(same(-3'000'000, 500'000));
  EXPECT_TRUE(same(int64_t{1} << 50, int64_t{1} << 60));  // both in the last cell
  EXPECT_FALSE(same(int64_t{1} << 50, 1'000'000));
}

TEST(AgeCellsTest, TheMiddleOfACellLiesInIt) {
  for (uint32_t cell = 0; cell < AgeCells::kCells; ++cell) {
    EXPECT_EQ(AgeCells::CellOf(AgeCells::MiddleOf(cell)), cell);
  }
}

}  // namespace
}  // namespace holdfast::snapshot
