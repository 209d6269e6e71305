// SPDX-License-Identifier: Apache-2.0
#include "cached/log_keeper.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "snapshot/log.h"

namespace holdfast::cached {
namespace {

using snapshot::SnapshotLog;

constexpr uint64_t kRoom = kMiB;

// A collector whose node 1 holds one object more with each snapshot.
class Collector {
 public:
  explicit Collector(const char* cluster = "training", int64_t first_second = 1'000)
      : log_(snapshot::ClusterHash(cluster)), second_(first_second) {}
  std::vector<std::byte> Next(bool full = false) {
    snapshot::NodeListing node{.node = 1, .incarnation = 1, .answered = true};
    ++objects_;
    for (uint64_t print = 1; print <= objects_; ++print) node.objects.push_back({print, 1s});
    return log_.Append({++second_ * 1'000'000}, {node}, {}, full);
  }
  uint64_t sequence() const { return log_.sequence(); }

 private:
  SnapshotLog log_;
  int64_t second_;
  uint64_t objects_ = 0;
};

// What a reader of the answer knows then: the number of the last frame.
uint64_t SequenceOf(ByteView frames, SnapshotLog* log) {
  while (!frames.empty()) {
    Result<snapshot::FrameHeader> header = snapshot::ReadFrameHeader(frames);
    EXPECT_TRUE(header.ok());
    EXPECT_TRUE(log->Apply(frames.first(header->frame_bytes())).ok());
    frames = frames.subspan(header->frame_bytes());
  }
  return log->sequence();
}

TEST(LogKeeper, GivesWhatFollowsWhatIsKnown) {
  LogKeeper keeper("training", kRoom);
  Collector collector;
  SnapshotLog reader(snapshot::ClusterHash("training"));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(keeper.Append(collector.Next(), Time{i}).ok());
  EXPECT_EQ(keeper.sequence(), collector.sequence());
  const wire::LogReply all = keeper.Answer({.id = 9, .after = 0}, Time{10});
  EXPECT_EQ(all.id, 9u);
  EXPECT_EQ(all.sequence, collector.sequence());
  EXPECT_EQ(all.age, Duration(6));
  EXPECT_EQ(SequenceOf(all.frames.view(), &reader), collector.sequence());
  const wire::LogQuery known{.id = 9, .after = reader.sequence(), .mark = reader.mark()};
  EXPECT_TRUE(keeper.Answer(known, Time{10}).frames.empty());
  ASSERT_TRUE(keeper.Append(collector.Next(), Time{11}).ok());
  const wire::LogReply rest = keeper.Answer(known, Time{11});
  EXPECT_LT(rest.frames.size(), all.frames.size());
  EXPECT_EQ(SequenceOf(rest.frames.view(), &reader), collector.sequence());
}

TEST(LogKeeper, WhoKnowsAnotherLogGetsAllOfThisOne) {
  LogKeeper keeper("training", kRoom);
  Collector collector;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(keeper.Append(collector.Next(), Time{i}).ok());
  const size_t all = keeper.Answer({.id = 1, .after = 0}, Time{}).frames.size();
  EXPECT_EQ(keeper.Answer({.id = 1, .after = UINT64_MAX}, Time{}).frames.size(), all);
  EXPECT_EQ(LogKeeper("training", kRoom).Answer({.id = 1, .after = 5}, Time{}).sequence, 0u);
}

TEST(LogKeeper, AfterAGapNothingIsTakenUntilAFullFrameComes) {
  LogKeeper keeper("training", kRoom);
  Collector collector;
  ASSERT_TRUE(keeper.Append(collector.Next(), Time{}).ok());
  const uint64_t before = keeper.sequence();
  const std::vector<std::byte> lost = collector.Next();
  ASSERT_TRUE(keeper.Append(collector.Next(), Time{}).ok());
  EXPECT_EQ(keeper.sequence(), before);
  ASSERT_TRUE(keeper.Append(collector.Next(true), Time{}).ok());
  EXPECT_EQ(keeper.sequence(), collector.sequence());
  EXPECT_EQ(keeper.Append(lost, Time{}).code(), Code::kDenied);  // long since over
  EXPECT_EQ(keeper.sequence(), collector.sequence());
}

TEST(LogKeeper, ALogThatWasBegunAnewTakesThePlaceOfTheOldOne) {
  LogKeeper keeper("training", kRoom);
  Collector old;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(keeper.Append(old.Next(), Time{}).ok());
  Collector anew("training", 5'000);
  ASSERT_TRUE(keeper.Append(anew.Next(), Time{}).ok());
  EXPECT_EQ(keeper.sequence(), anew.sequence());
}

// Two collectors, or one whose log came back from a backup: the numbers go on, the frames do not.
TEST(LogKeeper, ADifferenceOfAnotherHistoryIsNotTaken) {
  LogKeeper keeper("training", kRoom);
  Collector one("training", 1'000), other("training", 1'100);
  ASSERT_TRUE(keeper.Append(one.Next(), Time{}).ok());
  ASSERT_TRUE(keeper.Append(other.Next(), Time{}).ok());
  EXPECT_EQ(keeper.sequence(), 1u);
  ASSERT_TRUE(keeper.Append(one.Next(), Time{}).ok());
  EXPECT_EQ(keeper.sequence(), 1u);
  ASSERT_TRUE(keeper.Append(other.Next(), Time{}).ok());
  EXPECT_EQ(keeper.sequence(), 2u);
}

// The end of the collector's log was torn, and it goes on from the frame before.
TEST(LogKeeper, ALogThatGoesOnFromAnEarlierFrameTakesTheOthersPlace) {
  LogKeeper keeper("training", kRoom);
  SnapshotLog log(snapshot::ClusterHash("training"));
  auto next = [&log](int64_t second) {
    return log.Append({second * 1'000'000}, {{.node = 1, .incarnation = 1, .answered = true}}, {},
                      false);
  };
  std::vector<std::byte> all = next(1'000);
  const SnapshotLog torn = log;
  ASSERT_TRUE(keeper.Append(all, Time{}).ok());
  ASSERT_TRUE(keeper.Append(next(1'010), Time{}).ok());
  ASSERT_TRUE(keeper.Append(next(1'020), Time{}).ok());
  ASSERT_EQ(keeper.sequence(), 3u);
  log = torn;
  const std::vector<std::byte> other = next(1'030);
  ASSERT_TRUE(keeper.Append(other, Time{}).ok());
  EXPECT_EQ(keeper.sequence(), 2u);
  EXPECT_TRUE(keeper.CheckFrames().ok());
  all.insert(all.end(), other.begin(), other.end());
  ASSERT_TRUE(keeper.Append(all, Time{}).ok());
  EXPECT_EQ(keeper.sequence(), 2u);
  SnapshotLog reader(snapshot::ClusterHash("training"));
  EXPECT_EQ(SequenceOf(keeper.Answer({.id = 1, .after = 0}, Time{}).frames.view(), &reader), 2u);
  EXPECT_EQ(reader.stamp(), log.stamp());
}

// The collector lost its log, and its clock was wrong when the lost one was made.
TEST(LogKeeper, AnOlderLogIsTakenOnceTheOtherOneGrowsNoMore) {
  LogKeeper keeper("training", kRoom);
  Collector lost("training", 1'000'000), anew("training", 1'000);
  ASSERT_TRUE(keeper.Append(lost.Next(), Time{}).ok());
  ASSERT_TRUE(keeper.Append(lost.Next(), Time{}).ok());
  const std::vector<std::byte> frame = anew.Next();
  const Status refused = keeper.Append(frame, Time{} + 59s);
  EXPECT_EQ(refused.code(), Code::kDenied);
  EXPECT_NE(refused.message().find("snapshot 2 came 59"), std::string::npos) << refused.message();
  EXPECT_EQ(keeper.sequence(), 2u);
  ASSERT_TRUE(keeper.Append(frame, Time{} + 61s).ok());
  EXPECT_EQ(keeper.sequence(), 1u);
  ASSERT_TRUE(keeper.Append(anew.Next(), Time{} + 62s).ok());
  EXPECT_EQ(keeper.sequence(), 2u);
}

TEST(LogKeeper, WhoHasAnotherFrameOfThatNumberGetsAll) {
  LogKeeper keeper("training", kRoom);
  Collector one("training", 1'000), other("training", 1'100);
  ASSERT_TRUE(keeper.Append(one.Next(), Time{}).ok());
  SnapshotLog reader(snapshot::ClusterHash("training"));
  ASSERT_TRUE(reader.Apply(other.Next()).ok());
  const wire::LogQuery query{.id = 1, .after = 1, .mark = reader.mark()};
  EXPECT_FALSE(keeper.Answer(query, Time{}).frames.empty());
  const wire::LogQuery same{.id = 1, .after = 1, .mark = keeper.mark()};
  EXPECT_TRUE(keeper.Answer(same, Time{}).frames.empty());
  EXPECT_EQ(keeper.Answer(same, Time{}).mark, keeper.mark());
}

TEST(LogKeeper, ALongLogIsGivenInParts) {
  LogKeeper keeper("training", 64 * kMiB);
  SnapshotLog writer(snapshot::ClusterHash("training")), reader(snapshot::ClusterHash("training"));
  Random random(1);
  for (int64_t i = 1; i <= 5; ++i) {
    snapshot::NodeListing node{.node = 1, .incarnation = 1, .answered = true};
    for (uint64_t n = 0; n < 500'000; ++n) {
      node.objects.push_back({n * 2'000'000 + random.Below(2'000'000), 1s});
    }
    ASSERT_TRUE(keeper.Append(writer.Append({i * 1'000'000}, {node}, {}, false), Time{}).ok());
  }
  int parts = 0;
  while (reader.sequence() < keeper.sequence()) {
    const wire::LogReply part =
        keeper.Answer({.id = 1, .after = reader.sequence(), .mark = reader.mark()}, Time{});
    EXPECT_LT(part.frames.size(), 8 * kMiB);
    SequenceOf(part.frames.view(), &reader);
    ASSERT_LE(++parts, 5);
  }
  EXPECT_GT(parts, 1);
}

TEST(LogKeeper, RefusesGarbageOtherClustersAndTooMuch) {
  LogKeeper keeper("training", kRoom);
  Collector collector, other("other");
  std::vector<std::byte> frame = collector.Next();
  EXPECT_EQ(keeper.Append(other.Next(), Time{}).code(), Code::kDenied);
  EXPECT_EQ(keeper.Append(ByteView(frame).first(frame.size() - 1), Time{}).code(), Code::kCorrupt);
  EXPECT_EQ(LogKeeper("training", 10).Append(frame, Time{}).code(), Code::kNoSpace);
  frame[3] ^= std::byte{1};
  EXPECT_EQ(keeper.Append(frame, Time{}).code(), Code::kCorrupt);
  EXPECT_EQ(keeper.sequence(), 0u);
  EXPECT_EQ(keeper.memory_bytes(), 0u);
}

// Only headers were looked at once, so a node kept a frame that no reader could
// take, and with it nothing until the next full one.
TEST(LogKeeper, ADamagedBodyIsNotKept) {
  LogKeeper keeper("training", kRoom);
  Collector collector;
  ASSERT_TRUE(keeper.Append(collector.Next(), Time{}).ok());
  const std::vector<std::byte> sound = collector.Next();
  std::vector<std::byte> damaged = sound;
  damaged.back() ^= std::byte{1};
  EXPECT_EQ(keeper.Append(damaged, Time{}).code(), Code::kCorrupt);
  EXPECT_EQ(keeper.sequence(), 1u);
  std::vector<std::byte> full = collector.Next(true);
  full.back() ^= std::byte{1};
  EXPECT_EQ(keeper.Append(full, Time{}).code(), Code::kCorrupt);
  EXPECT_EQ(keeper.sequence(), 1u);
  EXPECT_TRUE(keeper.Append(sound, Time{}).ok());
  EXPECT_EQ(keeper.sequence(), 2u);
  EXPECT_TRUE(keeper.CheckFrames().ok());
}

}  // namespace
}  // namespace holdfast::cached
