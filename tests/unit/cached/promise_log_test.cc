// SPDX-License-Identifier: Apache-2.0
// Promises on their way into the journal.
#include "cached/promise_log.h"

#include "tests/unit/cached/journal_fixture.h"

namespace holdfast::cached {
namespace {

TEST_F(JournalTest, AnAcknowledgementWaitsForTheJournal) {
  Begin();
  journal_->slow = true;
  const planner::Manifest manifest = ManifestOf(0, kCount, kSize);
  Call(manifest);
  for (int times = 0; times < 2; ++times) {
    Confirm(manifest, Bitmap(kCount), Bitmap(kCount, true));
    world_->clock.RunFor(1s);
    EXPECT_EQ(world_->network.CountOf<wire::Ack>(), 0u);
  }
  EXPECT_EQ(world_->far.Counters().gets, 0u);  // acknowledgements first
  world_->clock.RunFor(5s);
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);  // but loads do not wait for ever
  journal_->Commit();
  ASSERT_EQ(world_->network.CountOf<wire::Ack>(), 1u);
  EXPECT_TRUE(world_->network.Last<wire::Ack>()->refused.empty());
  EXPECT_NE(world_->network.Last<wire::Ack>()->tenancy, 0u);
  Confirm(manifest, Bitmap(kCount), Bitmap(kCount, true));
  EXPECT_EQ(world_->network.CountOf<wire::Ack>(), 2u);
  Check();
}

// `holdfast hold` leaves when its longer lease is answered; a kill right after must not shorten it.
TEST_F(JournalTest, ALongerLeaseIsAnsweredWhenTheJournalHasIt) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));
  world_->clock.RunFor(3s);
  journal_->slow = true;
  world_->network.sent.clear();
  world_->network.Deliver(kJobPeer, wire::Heartbeat{.job = 1, .lease = 50s});
  world_->clock.RunFor(10ms);
  EXPECT_EQ(world_->network.Last<wire::Progress>(), nullptr);
  journal_->Commit();
  ASSERT_NE(world_->network.Last<wire::Progress>(), nullptr);
  Restart();
  world_->clock.RunFor(40s);
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);
  world_->clock.RunFor(11s);
  EXPECT_EQ(State()["memory"]["held_objects"], 0);
}

TEST_F(JournalTest, WhatTheJournalDoesNotTakeIsNotPromised) {
  Begin();
  const planner::Manifest manifest = ManifestOf(0, kCount, kSize);
  Plan(ManifestOf(1'000, kCount, kSize), 2);
  world_->clock.RunFor(3s);
  world_->network.sent.clear();
  Call(manifest);
  journal_->failing = Status::Unavailable("Input/output error");
  Confirm(manifest, Bitmap(kCount), Bitmap(kCount, true));
  world_->clock.RunFor(10ms);
  const wire::Ack* ack = world_->network.Last<wire::Ack>();
  ASSERT_NE(ack, nullptr);
  EXPECT_EQ(BitsOf(ack->refused, kCount), kCount);
  EXPECT_EQ(State()["promises"]["pending_objects"], 0);
  EXPECT_EQ(State()["memory"]["held_objects"], kCount);  // of the other job
  Check();
  // Nobody can say what it has; so nothing more is promised, and callers are told why.
  EXPECT_EQ(Plan(manifest, 3), nullptr);
  EXPECT_NE(world_->network.Last<wire::Bids>()->status.message().find("Input/output error"),
            std::string::npos);
  EXPECT_TRUE(Progress(2).known);
  Restart();
  EXPECT_EQ(Progress(2).kept_objects, kCount);
  EXPECT_NE(Plan(manifest, 3), nullptr);
}

TEST_F(JournalTest, CheckpointsGiveBackWhatHasEnded) {
  options_.journal_bytes = 256 * kKiB;
  Begin();
  Plan(ManifestOf(4'000, kCount, kSize), 1'000);
  uint64_t most = 0;
  for (JobId job = 1; job <= 60; ++job) {
    const wire::Ack* ack = Plan(ManifestOf(0, kCount, kSize), job);
    ASSERT_NE(ack, nullptr);
    EXPECT_TRUE(ack->refused.empty()) << job;
    world_->clock.RunFor(100ms);
    world_->network.Deliver(kJobPeer, wire::EndJob{job});
    world_->clock.RunFor(10ms);
    most = std::max(most, image_.bytes());
    EXPECT_LE(State()["journal"]["used_bytes"], 256 * kKiB);
    Progress(1'000);
  }
  EXPECT_LE(most, 256 * kKiB);
  EXPECT_GE(State()["journal"]["checkpoints"], 3);
  Restart();
  EXPECT_EQ(Progress(1'000).kept_objects, kCount);
  EXPECT_FALSE(Progress(60).known);
  EXPECT_EQ(State()["jobs"], 1);
}

TEST_F(JournalTest, AFullJournalRefusesUntilPromisesEnd) {
  options_.journal_bytes = 64 * kKiB;
  Begin();
  std::vector<JobId> held;
  JobId job = 0;
  while (true) {
    ASSERT_LT(++job, 30u);
    const wire::Ack* ack =
        Plan(ManifestOf(static_cast<uint32_t>(job) * kCount / 2, kCount / 2, kSize), job);
    ASSERT_NE(ack, nullptr);
    if (!ack->refused.empty()) {
      EXPECT_EQ(BitsOf(ack->refused, kCount / 2), kCount / 2);
      EXPECT_EQ(ack->why, wire::Refusal::kNoRoom);
      break;
    }
    held.push_back(job);
    world_->clock.RunFor(100ms);
    Check();
  }
  EXPECT_GE(held.size(), 2u);
  EXPECT_GT(State()["journal"]["refused_objects"], 0);
  EXPECT_EQ(State()["journal"]["failed"], false);
  Check();
  for (JobId one : held) world_->network.Deliver(kJobPeer, wire::EndJob{one});
  world_->clock.RunFor(3s);
  const wire::Ack* ack = Plan(ManifestOf(0, kCount / 2, kSize), 50);
  EXPECT_TRUE(ack->refused.empty());
  world_->clock.RunFor(1s);
  Restart();
  EXPECT_EQ(Progress(50).kept_objects, kCount / 2);
  EXPECT_EQ(State()["jobs"], 1);
}

// Found by kills of real nodes: once a second it is noticed that a promise is over, and a checkpoint in
// between wrote a time left that its reader refuses.
TEST_F(JournalTest, ACheckpointMeetsAPromiseWhoseTimeIsOver) {
  options_.journal_bytes = 64 * kKiB;
  Begin();
  Plan(ManifestOf(0, kCount / 2, kSize), 1);  // for 60 s
  world_->clock.RunFor(25s);
  Progress(1);
  world_->clock.RunFor(25s);
  Progress(1);
  world_->clock.RunUntil(Time{61'100'000});
  ASSERT_EQ(State()["jobs"], 1);
  const uint64_t checkpoints = State()["journal"]["checkpoints"];
  for (JobId job = 2; State()["journal"]["checkpoints"] == checkpoints; ++job) {
    ASSERT_LT(job, 10u);
    Plan(ManifestOf(static_cast<uint32_t>(job) * 100, kCount / 2, kSize), job);
  }
  ASSERT_LT(world_->clock.Now(), Time{62'000'000});
  Restart();
  EXPECT_EQ(State()["journal"]["failed"], false);
  EXPECT_TRUE(Progress(2).known);
}

// What is being confirmed while a checkpoint is written is in the journal afterwards.
TEST_F(JournalTest, PromisesThatMeetACheckpointStay) {
  options_.journal_bytes = 256 * kKiB;
  Begin();
  for (JobId job = 1; job <= 12; ++job) {
    world_->network.sent.clear();
    journal_->slow = job % 3 == 0;  // the checkpoint that is due then waits as well
    const planner::Manifest manifest = ManifestOf(static_cast<uint32_t>(job) * 50, kCount, kSize);
    Plan(manifest, job);
    journal_->Commit();
    journal_->slow = false;
    world_->clock.RunFor(200ms);
    journal_->Commit();
    EXPECT_TRUE(world_->network.Last<wire::Ack>()->refused.empty());
  }
  Restart();
  for (JobId job = 1; job <= 12; ++job)
    EXPECT_EQ(Progress(job).kept_objects + Progress(job).loads_left, kCount) << job;
  Check();
}

}  // namespace
}  // namespace holdfast::cached
