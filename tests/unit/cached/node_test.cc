// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "cached/snapshot_flow.h"
#include "tests/unit/cached/node_fixture.h"

namespace holdfast::cached {
namespace {

TEST_F(NodeTest, AColdListIsOfferedConfirmedLoadedAndHeld) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 200, kSize);
  const wire::Bids* bids = Call(manifest);
  ASSERT_NE(bids, nullptr);
  EXPECT_EQ(BitsOf(bids->load, 200), 200u);
  Check();
  const wire::Ack* ack = Confirm(manifest, Bitmap(200), Bitmap(200, true));
  ASSERT_NE(ack, nullptr);
  EXPECT_TRUE(ack->refused.empty());
  Check();
  world_->clock.RunFor(5s);
  EXPECT_EQ(world_->far.Counters().gets, 200u);
  wire::Progress progress = Progress();
  EXPECT_EQ(progress.kept_objects, 200u);
  EXPECT_EQ(progress.loads_left, 0u);
  EXPECT_EQ(progress.far_requests, 200u);
  EXPECT_EQ(State()["memory"]["held_objects"], 200);
  Check();
}

TEST_F(NodeTest, WhatIsHereIsBidAsAKeepAndTheManifestIsAskedForOnce) {
  Start();
  for (uint32_t n = 0; n < 50; ++n) world_->Put(n, kSize);
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  const wire::Bids* bids = Call(manifest);
  EXPECT_EQ(BitsOf(bids->keep, 100), 50u);
  EXPECT_EQ(BitsOf(bids->load, 100), 50u);
  Call(manifest, 2);
  EXPECT_EQ(world_->network.CountOf<wire::NeedManifest>(), 1u);
}

TEST_F(NodeTest, AnOfferThatNobodyConfirmsExpires) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  EXPECT_GT(State()["promises"]["tentative_bytes"], 0);
  world_->clock.RunFor(7s);
  EXPECT_EQ(State()["promises"]["tentative_bytes"], 0);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  Check();
  // A late confirm takes what room there is then.
  const wire::Ack* ack = Confirm(manifest, Bitmap(100), Bitmap(100, true));
  EXPECT_TRUE(ack->refused.empty());
  Check();
}

TEST_F(NodeTest, ADryRunReservesNothingAndCannotBeConfirmed) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  const wire::Bids* bids = Call(manifest, 1, 1, true);
  EXPECT_EQ(BitsOf(bids->load, 100), 100u);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  const wire::Ack* ack = Confirm(manifest, Bitmap(100), Bitmap(100, true));
  EXPECT_EQ(BitsOf(ack->refused, 100), 100u);
}

TEST_F(NodeTest, AConfirmThatComesTwiceIsAnsweredTwiceAndDoneOnce) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(100), Bitmap(100, true));
  uint64_t reserved = State()["promises"]["reserved_bytes"];
  const wire::Ack* again = Confirm(manifest, Bitmap(100), Bitmap(100, true));
  EXPECT_TRUE(again->refused.empty());
  EXPECT_EQ(world_->network.CountOf<wire::Ack>(), 2u);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], reserved);
  world_->clock.RunFor(5s);
  EXPECT_EQ(world_->far.Counters().gets, 100u);
  Check();
}

TEST_F(NodeTest, NamesThatAreNotTheirObjectsAreRefused) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  const wire::Ack* ack = Confirm(manifest, Bitmap(100), Bitmap(100, true), 1, 1, true);
  EXPECT_EQ(BitsOf(ack->refused, 100), 100u);
  EXPECT_EQ(ack->why, wire::Refusal::kBadName);
  world_->clock.RunFor(5s);
  EXPECT_EQ(world_->far.Counters().gets, 0u);
  Check();
}

TEST_F(NodeTest, TwoJobsThatHoldTheSameObjectsPayOnceAndTheSecondTakesOver) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest, 1);
  Confirm(manifest, Bitmap(100), Bitmap(100, true), 1);
  world_->clock.RunFor(5s);
  uint64_t reserved = State()["promises"]["reserved_bytes"];
  const wire::Bids* bids = Call(manifest, 2);
  ASSERT_EQ(BitsOf(bids->keep, 100), 100u);
  const wire::Ack* ack = Confirm(manifest, Bitmap(100, true), Bitmap(100), 2);
  EXPECT_TRUE(ack->refused.empty());
  EXPECT_EQ(State()["promises"]["reserved_bytes"], reserved);
  world_->network.Deliver(kJobPeer, wire::EndJob{1});
  world_->clock.RunFor(1s);
  EXPECT_EQ(State()["memory"]["held_objects"], 100);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], reserved);
  Check();
  world_->network.Deliver(kJobPeer, wire::EndJob{2});
  world_->clock.RunFor(1s);
  EXPECT_EQ(State()["memory"]["held_objects"], 0);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  EXPECT_EQ(State()["memory"]["live_objects"], 100);  // the end of a job frees nothing
  Check();
}

TEST_F(NodeTest, TwoJobsThatWaitForTheSameObjectsFetchThemOnce) {
  Start();
  world_->far.latency = 500ms;
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest, 1);
  Confirm(manifest, Bitmap(100), Bitmap(100, true), 1);
  const wire::Bids* bids = Call(manifest, 2);
  ASSERT_EQ(BitsOf(bids->keep, 100), 100u);  // being loaded counts as here
  Confirm(manifest, Bitmap(100, true), Bitmap(100), 2);
  Check();
  world_->clock.RunFor(5s);
  EXPECT_EQ(world_->far.Counters().gets, 100u);
  EXPECT_EQ(Progress(1).kept_objects, 100u);
  EXPECT_EQ(Progress(2).kept_objects, 100u);
  Check();
}

TEST_F(NodeTest, AJobWithoutHeartbeatsLosesItsPromises) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(100), Bitmap(100, true));
  world_->clock.RunFor(32s);
  EXPECT_EQ(State()["jobs"], 0);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  EXPECT_FALSE(Progress().known);
  Check();
}

TEST_F(NodeTest, CommitmentsEndAtTheirTime) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(100), Bitmap(100, true));
  for (int i = 0; i < 7; ++i) {
    world_->clock.RunFor(10s);
    Progress();  // the job lives; t2 = 60 s passes
  }
  EXPECT_EQ(State()["memory"]["held_objects"], 0);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  EXPECT_EQ(State()["promises"]["pending_objects"], 0);
  Check();
}

TEST_F(NodeTest, WhatExpiresWhileItIsHeldIsLoadedAgainForWhoeverAsks) {
  Start();
  world_->far.expires_s = static_cast<uint32_t>(world_->clock.Wall().seconds) + 20;
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(100), Bitmap(100, true));
  world_->clock.RunFor(10s);
  EXPECT_EQ(Progress().kept_objects, 100u);
  Check();
  world_->clock.RunUntil({(world_->clock.Wall().seconds + 10) * 1'000'000 + 100'000});  // just past
  Check();
  EXPECT_FALSE(world_->tier->Find(KeyOfObject(3, kSize).oid, 0));
  EXPECT_EQ(BitsOf(Call(manifest, 2)->keep, 100), 0u);
  // Another job has them loaded again, beside those that are held yet.
  world_->far.expires_s = 0;
  Confirm(manifest, Bitmap(100), Bitmap(100, true), 2);
  world_->clock.RunFor(5s);
  EXPECT_TRUE(world_->tier->Find(KeyOfObject(3, kSize).oid, 0));
  Check();
  for (int i = 0; i < 7; ++i) {
    world_->clock.RunFor(10s);
    Progress();
  }
  EXPECT_EQ(State()["memory"]["held_objects"], 0);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  Check();
}

TEST_F(NodeTest, PromisesOfWhatHasExpiredEndAndTheJobIsTold) {
  Start();
  world_->far.expires_s = static_cast<uint32_t>(world_->clock.Wall().seconds) + 20;
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(100), Bitmap(100, true));
  Call(manifest, 2);  // somebody else wants the same
  Confirm(manifest, Bitmap(100, true), Bitmap(100), 2);
  world_->clock.RunFor(10s);
  EXPECT_EQ(Progress().kept_objects, 100u);
  Check();
  world_->clock.RunFor(14s);
  EXPECT_EQ(Progress().kept_objects, 0u);
  EXPECT_EQ(State()["memory"]["held_objects"], 0);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  Check();
  std::set<uint32_t> told;
  for (const auto& [to, message] : world_->network.sent) {
    const auto* progress = std::get_if<wire::Progress>(&message);
    if (progress == nullptr || progress->job != 1) continue;
    for (const wire::Loss& loss : progress->lost) {
      EXPECT_EQ(loss.code, Code::kNotFound);
      EXPECT_EQ(loss.text, "it has expired");
      told.insert(loss.index);
    }
  }
  EXPECT_EQ(told.size(), 100u);
}

TEST_F(NodeTest, ALoadThatFailsIsReportedAsALoss) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 10, kSize);
  world_->far.failing = NameOfObject(3);
  Call(manifest);
  Confirm(manifest, Bitmap(10), Bitmap(10, true));
  world_->clock.RunFor(1s);
  const auto* progress = world_->network.Last<wire::Progress>();
  ASSERT_NE(progress, nullptr);
  ASSERT_EQ(progress->lost.size(), 1u);
  EXPECT_EQ(progress->lost[0].code, Code::kNotFound);
  EXPECT_EQ(manifest.oid(progress->lost[0].index), OidOf(NameOfObject(3)));
  Check();
}

TEST_F(NodeTest, AListLargerThanTheMemoryIsPromisedOnlyAsFarAsThereIsRoom) {
  Start(8 * kMiB);
  planner::Manifest manifest = ManifestOf(0, 5000, 4000);
  const wire::Bids* bids = Call(manifest);
  size_t offered = BitsOf(bids->load, 5000);
  EXPECT_GT(offered, 500u);
  EXPECT_LT(offered, 2000u);
  Bitmap load = Bitmap::FromBytes(bids->load.view(), 5000);
  Confirm(manifest, Bitmap(5000), load);
  Check();
  world_->clock.RunFor(20s);
  EXPECT_EQ(Progress().kept_objects, offered);
  EXPECT_EQ(State()["promises"]["broken"], 0);
  Check();
}

TEST_F(NodeTest, AReaderGetsWhatIsQueuedAheadOfItsTurn) {
  NodeOptions options;
  options.max_loads = 1;
  Start(8 * kMiB, options);
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(100), Bitmap(100, true));
  ObjectKey key = KeyOfObject(77, kSize);
  bool done = false;
  bulk::ReadMiss miss;
  miss.oid = key.oid;
  miss.version = key.version;
  node_->OnMiss(miss, [&](Status status) { done = status.ok(); });
  world_->clock.RunFor(35ms);  // a load takes 10 ms and there is one at a time
  EXPECT_TRUE(done);
  Check();
}

TEST_F(NodeTest, AReaderIsToldWhatIsNotHere) {
  Start();
  ObjectKey key = KeyOfObject(1, kSize);
  Status status;
  bulk::ReadMiss miss;
  miss.oid = key.oid;
  miss.version = key.version;
  node_->OnMiss(miss, [&](Status s) { status = s; });
  world_->clock.RunFor(1s);
  EXPECT_EQ(status.code(), Code::kNotFound);
  miss.mode = BulkMode::kFetch;
  miss.name = "file:///something/else";
  node_->OnMiss(miss, [&](Status s) { status = s; });
  world_->clock.RunFor(1s);
  EXPECT_EQ(status.code(), Code::kInvalid);
}

TEST_F(NodeTest, ReadThroughFetchesOnceForEverybody) {
  Start();
  ObjectKey key = KeyOfObject(1, kSize);
  int done = 0;
  for (int i = 0; i < 5; ++i) {
    bulk::ReadMiss miss;
    miss.oid = key.oid;
    miss.version = key.version;
    miss.size = kSize;
    miss.name = NameOfObject(1);
    miss.etag = EtagOfObject(1);
    miss.mode = BulkMode::kFetch;
    node_->OnMiss(miss, [&](Status status) { done += status.ok(); });
  }
  world_->clock.RunFor(1s);
  EXPECT_EQ(done, 5);
  EXPECT_EQ(world_->far.Counters().gets, 1u);
  EXPECT_TRUE(world_->tier->Find(key.oid, key.version));
}

TEST_F(NodeTest, ASnapshotListsWhatIsHereWithItsAges) {
  Start();
  for (uint32_t n = 0; n < 20; ++n) world_->Put(n, kSize);
  planner::Manifest manifest = ManifestOf(0, 10, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(10, true), Bitmap(10));
  world_->clock.RunFor(3s);
  world_->network.Deliver(kJobPeer, wire::SnapshotQuery{.id = 5, .sequence = 7});
  world_->clock.RunFor(1ms);
  const auto* reply = world_->network.Last<wire::SnapshotReply>();
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->id, 5u);
  EXPECT_EQ(reply->incarnation, 1u);
  ColumnView<uint64_t> prints(reply->prints.view());
  ColumnView<uint32_t> ages(reply->ages.view());
  ColumnView<uint64_t> held(reply->held.view());
  ASSERT_EQ(prints.size(), 20u);
  std::map<uint64_t, bool> listed;
  for (size_t i = 0; i < prints.size(); ++i) {
    EXPECT_NEAR(ages[i], 3000, 20);
    listed[prints[i]] = (held[i / 64] >> (i % 64) & 1) != 0;
  }
  for (uint32_t n = 0; n < 20; ++n) {
    const Oid oid = KeyOfObject(n, kSize).oid;
    ASSERT_TRUE(listed.contains(oid.hi));
    EXPECT_EQ(listed[oid.hi], n < 10);
  }
  EXPECT_TRUE(reply->evicted.empty());  // since a snapshot that it knows nothing of
}

// The simulated indexes are listed in one step, so this is the place where more are.
TEST_F(NodeTest, ASnapshotOfALargeIndexTakesSeveralEventsAndListsAllOfIt) {
  Start(8 * kMiB, {}, 2 * SnapshotFlow::kSlotsPerStep);
  ASSERT_GT(world_->tier->slots(), 2 * SnapshotFlow::kSlotsPerStep);
  constexpr uint32_t kObjects = 300;
  std::set<uint64_t> here;
  for (uint32_t n = 0; n < kObjects; ++n) {
    world_->Put(n, kSize);
    here.insert(KeyOfObject(n, kSize).oid.hi);
  }
  world_->network.Deliver(kJobPeer, wire::SnapshotQuery{.id = 5, .sequence = 7});
  EXPECT_EQ(world_->network.Last<wire::SnapshotReply>(), nullptr);
  world_->clock.RunFor(1ms);
  const auto* reply = world_->network.Last<wire::SnapshotReply>();
  ASSERT_NE(reply, nullptr);
  ColumnView<uint64_t> prints(reply->prints.view());
  ASSERT_EQ(prints.size(), kObjects);
  std::set<uint64_t> listed;
  for (size_t i = 0; i < prints.size(); ++i) listed.insert(prints[i]);
  EXPECT_EQ(listed, here);
}

TEST_F(NodeTest, ASnapshotCountsWhatWasEvictedSinceTheOneBeforeIt) {
  Start();
  auto ask = [&](uint64_t sequence, uint64_t previous) {
    world_->network.Deliver(
        kJobPeer, wire::SnapshotQuery{.id = 1, .sequence = sequence, .previous = previous});
    world_->clock.RunFor(1ms);
    const auto* reply = world_->network.Last<wire::SnapshotReply>();
    ColumnView<uint64_t> evicted(reply->evicted.view());
    uint64_t sum = 0;
    for (size_t i = 0; i < evicted.size(); ++i) sum += evicted[i];
    return evicted.empty() ? UINT64_MAX : sum;
  };
  EXPECT_EQ(ask(10, 9), UINT64_MAX);
  for (uint32_t n = 0; n < 2'000; ++n) world_->Put(n, 10 * kSize);
  const uint64_t first = world_->tier->Stats().dropped_objects;
  ASSERT_GT(first, 0u);
  EXPECT_EQ(ask(11, 10), first);
  EXPECT_EQ(ask(12, 11), 0u);
  for (uint32_t n = 2'000; n < 4'000; ++n) world_->Put(n, 10 * kSize);
  EXPECT_EQ(ask(12, 11), world_->tier->Stats().dropped_objects - first);  // the one before was lost
  EXPECT_EQ(ask(13, 10), world_->tier->Stats().dropped_objects);
  for (uint64_t sequence = 14; sequence < 24; ++sequence) ask(sequence, sequence - 1);
  EXPECT_EQ(ask(24, 10), UINT64_MAX);  // a few are remembered
}

TEST_F(NodeTest, DropSparesWhatIsHeld) {
  Start();
  for (uint32_t n = 0; n < 20; ++n) world_->Put(n, kSize);
  planner::Manifest manifest = ManifestOf(0, 10, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(10, true), Bitmap(10));
  wire::Drop drop;
  drop.id = 5;
  drop.prefix = "file:///o/";
  world_->network.Deliver(kJobPeer, std::move(drop));
  EXPECT_EQ(world_->network.Last<wire::DropReply>(), nullptr);  // a segment an event
  world_->clock.RunFor(1ms);
  const auto* reply = world_->network.Last<wire::DropReply>();
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->dropped_objects, 10u);
  EXPECT_EQ(reply->held_objects, 10u);
  Check();
}

TEST_F(NodeTest, DropByOidTakesEveryVersionInSlices) {
  Start(64 * kMiB);
  wire::Drop drop;
  drop.id = 6;
  drop.oids = Buffer(16 * 10'000);
  for (uint32_t n = 0; n < 10'000; ++n) {
    if (n % 2 == 0) world_->Put(n, kSize);
    if (n % 4 == 0) world_->Put(n, kSize + 1);  // another version
    Oid oid = OidOf(NameOfObject(n));
    StoreAs(drop.oids.data() + 16 * n, oid.hi);
    StoreAs(drop.oids.data() + 16 * n + 8, oid.lo);
  }
  world_->Put(20'000, kSize);
  world_->network.Deliver(kJobPeer, std::move(drop));
  EXPECT_EQ(world_->network.Last<wire::DropReply>(), nullptr);
  world_->clock.RunFor(1ms);
  const auto* reply = world_->network.Last<wire::DropReply>();
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->dropped_objects, 7'500u);
  EXPECT_EQ(reply->dropped_bytes, 5'000 * kSize + 2'500 * (kSize + 1));
  EXPECT_EQ(State()["memory"]["live_objects"], 1);
  EXPECT_TRUE(world_->tier->Find(KeyOfObject(20'000, kSize).oid, 0));
  Check();
}

TEST_F(NodeTest, AnotherClustersJobIsToldSo) {
  Start();
  wire::Hello hello;
  hello.cluster = "other";
  hello.job = 9;
  world_->network.Deliver(kJobPeer, std::move(hello));
  const auto* error = world_->network.Last<wire::ErrorReply>();
  ASSERT_NE(error, nullptr);
  EXPECT_EQ(error->status.code(), Code::kInvalid);
}

TEST_F(NodeTest, AConfirmForAnEarlierIncarnationIsRefused) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 10, kSize);
  Call(manifest);
  wire::Confirm confirm;
  confirm.job = 1;
  confirm.call = 1;
  confirm.incarnation = 99;
  confirm.count = 10;
  Bitmap all(10, true), none(10);
  confirm.keep = Buffer::CopyOf(all.bytes());
  confirm.load = Buffer::CopyOf(none.bytes());
  world_->network.Deliver(kJobPeer, std::move(confirm));
  const auto* ack = world_->network.Last<wire::Ack>();
  ASSERT_NE(ack, nullptr);
  EXPECT_EQ(ack->why, wire::Refusal::kUnknownCall);
  EXPECT_EQ(BitsOf(ack->refused, 10), 10u);
}

}  // namespace
}  // namespace holdfast::cached
