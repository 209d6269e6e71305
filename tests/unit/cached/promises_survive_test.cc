// SPDX-License-Identifier: Apache-2.0
// What a node had promised and a journal says, after a kill.
#include "tests/unit/cached/journal_fixture.h"

namespace holdfast::cached {
namespace {

TEST_F(JournalTest, WhatIsInMemoryIsHeldAgain) {
  Begin();
  const planner::Manifest manifest = ManifestOf(0, kCount, kSize);
  const wire::Ack* ack = Plan(manifest);
  ASSERT_NE(ack, nullptr);
  ASSERT_TRUE(ack->refused.empty());
  const uint64_t tenancy = ack->tenancy;
  world_->clock.RunFor(5s);
  const uint64_t reserved = State()["promises"]["reserved_bytes"];
  Restart();
  Check();
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], reserved);
  EXPECT_EQ(State()["journal"]["restored_objects"], kCount);
  const wire::Progress progress = Progress();
  EXPECT_TRUE(progress.known);
  EXPECT_EQ(progress.tenancy, tenancy);
  EXPECT_EQ(progress.incarnation, 2u);
  EXPECT_EQ(progress.kept_objects, kCount);
  EXPECT_EQ(progress.loads_left, 0u);
  EXPECT_TRUE(progress.lost.empty());
  EXPECT_EQ(world_->far.Counters().gets, 0u);
  world_->network.Deliver(kJobPeer, wire::EndJob{1});
  world_->clock.RunFor(1s);
  EXPECT_EQ(State()["memory"]["held_objects"], 0);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  Check();
}

TEST_F(JournalTest, WhatWasNotLoadedIsLoaded) {
  Begin();
  world_->far.latency = 3600s;
  Plan(ManifestOf(0, kCount, kSize));
  world_->clock.RunFor(1s);
  EXPECT_EQ(State()["memory"]["live_objects"], 0);
  Restart();
  EXPECT_EQ(Progress().loads_left, kCount);
  world_->clock.RunFor(5s);
  EXPECT_EQ(Progress().kept_objects, kCount);
  EXPECT_EQ(world_->far.Counters().gets, kCount);
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);
  Check();
}

// Names are in the journal until a checkpoint finds their objects loaded.
TEST_F(JournalTest, WhatMemoryHasLostIsLoadedAgainOrToldAsLost) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));
  world_->clock.RunFor(5s);
  Restart(false);
  EXPECT_EQ(Progress().loads_left, kCount);
  world_->clock.RunFor(5s);
  EXPECT_EQ(Progress().kept_objects, kCount);
  Check();
  Restart(true);
  Restart(false);
  const wire::Progress progress = Progress();
  EXPECT_TRUE(progress.known);
  EXPECT_EQ(progress.kept_objects, 0u);
  ASSERT_EQ(progress.lost.size(), kCount);
  EXPECT_EQ(progress.lost[7].index, 7u);
  EXPECT_EQ(progress.lost[7].code, Code::kNotFound);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  Check();
}

// A job that has not heard of the restart says how many losses it has seen of the earlier life.
TEST_F(JournalTest, LossesThatAnEarlierLifeToldForgetNone) {
  Begin();
  world_->far.broken = true;
  Plan(ManifestOf(0, kCount, kSize), 1);
  Plan(ManifestOf(1'000, kCount, kSize), 1, 2);
  world_->clock.RunFor(3s);
  wire::Progress progress = Progress();
  const uint64_t seen = progress.first_loss + progress.lost.size();
  EXPECT_EQ(progress.lost.size(), 2u * kCount);
  Restart();
  world_->far.broken = true;
  world_->clock.RunFor(3s);
  world_->network.Deliver(kJobPeer, wire::Heartbeat{.job = 1, .lease = 30s, .losses_seen = seen});
  progress = *world_->network.Last<wire::Progress>();
  EXPECT_EQ(progress.lost.size(), 2u * kCount);
}

// Found by the simulator: a node that was killed before it had told what it had lost at its start.
TEST_F(JournalTest, LossesThatNobodyHasSeenOutliveItsCheckpoints) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));
  world_->clock.RunFor(3s);
  Restart();
  for (int times = 0; times < 3; ++times) Restart(false);
  wire::Progress progress = Progress();
  EXPECT_TRUE(progress.known);
  EXPECT_EQ(progress.lost.size(), kCount);
  world_->network.Deliver(
      kJobPeer,
      wire::Heartbeat{
          .job = 1, .lease = 30s, .losses_seen = progress.first_loss + progress.lost.size()});
  EXPECT_TRUE(world_->network.Last<wire::Progress>()->lost.empty());
  Restart();  // what it had lost is still in the journal, and told once more
  EXPECT_TRUE(Progress().known);
  Check();
}

// A part of a list: losses are told by the list's own indices.
TEST_F(JournalTest, IndicesAreThoseOfTheWholeList) {
  Begin();
  const planner::Manifest manifest = ManifestOf(0, kCount, kSize);
  Call(manifest);
  Bitmap load(kCount);
  for (uint32_t i = 1; i < kCount; i += 3) load.Set(i);
  world_->far.latency = 3600s;
  Confirm(manifest, Bitmap(kCount), load);
  world_->clock.RunFor(10ms);
  Restart();
  world_->far.broken = true;
  world_->clock.RunFor(5s);
  std::vector<uint32_t> lost;
  for (const wire::Loss& loss : Progress().lost) lost.push_back(loss.index);
  std::sort(lost.begin(), lost.end());
  std::vector<uint32_t> expected;
  load.ForEach([&](size_t i) { expected.push_back(static_cast<uint32_t>(i)); });
  EXPECT_EQ(lost, expected);
  Check();
}

TEST_F(JournalTest, TheTimeThatHasPassedIsCounted) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));  // for 60 s
  world_->clock.RunFor(20s);
  Progress();
  Restart(true, 30s);
  EXPECT_TRUE(Progress().known);
  world_->clock.RunFor(9s);
  EXPECT_EQ(Progress().kept_objects, kCount);
  world_->clock.RunFor(3s);
  EXPECT_EQ(Progress().kept_objects, 0u);
  Restart(true, 1s);
  EXPECT_FALSE(Progress().known);
  Check();
}

TEST_F(JournalTest, OfAnotherBootNoTimeIsCounted) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));
  world_->clock.RunFor(20s);
  options_.boot = 2;
  Restart(true, 3600s);
  world_->clock.RunFor(20s);
  EXPECT_EQ(Progress().kept_objects, kCount);  // 60 s from its start
  world_->clock.RunFor(28s);
  EXPECT_EQ(Progress().kept_objects, kCount);
  world_->clock.RunFor(15s);
  EXPECT_EQ(Progress().kept_objects, 0u);
}

TEST_F(JournalTest, WhatHasEndedIsForgotten) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize), 1);
  Plan(ManifestOf(100, kCount, kSize), 2);
  world_->clock.RunFor(5s);
  world_->network.Deliver(kJobPeer, wire::EndJob{1});
  world_->clock.RunFor(10ms);
  Restart();
  EXPECT_FALSE(Progress(1).known);
  EXPECT_EQ(Progress(2).kept_objects, kCount);
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);
  Check();
}

TEST_F(JournalTest, AJobThatDoesNotComeBackEndsWithItsLease) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));
  world_->clock.RunFor(5s);
  world_->network.Deliver(kJobPeer, wire::Heartbeat{.job = 1, .lease = 10s});
  world_->clock.RunFor(10ms);
  Restart();
  world_->clock.RunFor(8s);
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);
  world_->clock.RunFor(4s);
  EXPECT_EQ(State()["memory"]["held_objects"], 0);
  Check();
}

// The job's list is known by its promised objects alone; another call brings the whole of it.
TEST_F(JournalTest, AJobThatCallsAgainIsPromisedTheRest) {
  Begin();
  const planner::Manifest manifest = ManifestOf(0, kCount, kSize);
  Call(manifest);
  Bitmap load(kCount);
  for (uint32_t i = 0; i < 50; ++i) load.Set(i);
  Confirm(manifest, Bitmap(kCount), load);
  world_->clock.RunFor(5s);
  Restart();
  const wire::Ack* ack = Plan(manifest, 1, 2);
  ASSERT_NE(ack, nullptr);
  EXPECT_TRUE(ack->refused.empty());
  world_->clock.RunFor(5s);
  EXPECT_EQ(world_->far.Counters().gets, kCount - 50);
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);
  Check();
  Restart();
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);
  EXPECT_EQ(Progress().kept_objects, kCount + 50);  // 50 are promised by both calls
  Check();
  // A call of a number that an earlier life had.
  world_->network.sent.clear();
  Call(manifest, 1, 1);
  wire::Confirm confirm = ConfirmOf(manifest, Bitmap(kCount, true), Bitmap(kCount), 1, 1);
  confirm.incarnation = incarnation_;
  world_->network.Deliver(kJobPeer, std::move(confirm));
  EXPECT_EQ(BitsOf(world_->network.Last<wire::Ack>()->refused, kCount), kCount);
  Check();
}

TEST_F(JournalTest, JobsWithTheSameObjectsPayOnceAfterARestart) {
  Begin();
  const planner::Manifest manifest = ManifestOf(0, kCount, kSize);
  Plan(manifest, 1);
  world_->clock.RunFor(5s);
  const uint64_t reserved = State()["promises"]["reserved_bytes"];
  const uint64_t bytes = State()["journal"]["written_bytes"];
  Plan(manifest, 2);
  EXPECT_LT(State()["journal"]["written_bytes"], bytes + 3 * kCount + 200);  // 2 bytes an object
  Restart();
  EXPECT_EQ(State()["promises"]["reserved_bytes"], reserved);
  world_->network.Deliver(kJobPeer, wire::EndJob{1});
  world_->clock.RunFor(1s);
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);
  Check();
}

// Whatever the journal has kept of what was written: a node comes up, and its books are right.
TEST_F(JournalTest, EveryBeginningOfAJournalIsTakenUp) {
  Begin();
  for (JobId job = 1; job <= 4; ++job)
    Plan(ManifestOf(static_cast<uint32_t>(job) * 70, kCount, kSize), job);
  world_->clock.RunFor(3s);
  world_->network.Deliver(kJobPeer, wire::EndJob{2});
  world_->clock.RunFor(10ms);
  const FakeJournal::Image whole = image_;
  for (size_t records = 0; records <= whole.records.size(); ++records) {
    image_ = whole;
    image_.records.resize(records);
    Restart();
    Check();
    for (JobId job = 1; job <= 4; ++job) {
      const wire::Progress progress = Progress(job);
      EXPECT_TRUE(!progress.known || progress.kept_objects + progress.loads_left == kCount);
    }
    EXPECT_FALSE(records == whole.records.size() && Progress(2).known);
  }
  EXPECT_TRUE(Progress(4).known);
}

}  // namespace
}  // namespace holdfast::cached
