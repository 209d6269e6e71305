// SPDX-License-Identifier: Apache-2.0
// What peers may send at the wrong time, twice, too much of, or with the intent to harm.
#include <map>
#include <set>

#include "cached/manifests.h"
#include "tests/unit/cached/node_fixture.h"

namespace holdfast::cached {
namespace {

constexpr PeerId kOtherPeer = 8;

TEST_F(NodeTest, TwoJobsThatWaitForOneManifestEachGetTheirBids) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 10, kSize);
  world_->network.Deliver(kJobPeer, CallFor(manifest, 1));
  world_->network.Deliver(kOtherPeer, CallFor(manifest, 2));
  SendManifest(manifest);  // from the first one
  world_->clock.RunFor(1ms);
  std::map<JobId, PeerId> bids;
  for (const RecordingNetwork::Sent& sent : world_->network.sent) {
    if (const auto* bid = std::get_if<wire::Bids>(&sent.message)) bids[bid->job] = sent.to;
  }
  EXPECT_EQ(bids, (std::map<JobId, PeerId>{{1, kJobPeer}, {2, kOtherPeer}}));
}

TEST_F(NodeTest, SizesWhoseSumOverflowsAreRefusedEachTimeTheyAreCalledFor) {
  Start();
  // As records these two take 2^64 bytes together, which would pass for none.
  planner::Manifest manifest = ManifestOf(0, 2, (uint64_t{1} << 63) - 128);
  const wire::Bids* bids = Call(manifest);
  ASSERT_NE(bids, nullptr);
  EXPECT_EQ(bids->status.code(), Code::kInvalid);
  world_->network.Deliver(kJobPeer, CallFor(manifest, 1));  // the refusal was lost
  EXPECT_EQ(world_->network.CountOf<wire::Bids>(), 2u);
  const wire::Ack* ack = Confirm(manifest, Bitmap(2), Bitmap(2, true));
  EXPECT_EQ(BitsOf(ack->refused, 2), 2u);
  world_->clock.RunFor(5s);
  Check();
}

TEST_F(NodeTest, WhatWasNotBidCannotBeConfirmed) {
  Start();
  // Larger than what may be promised, though it would fit a segment.
  uint64_t large = world_->tier->max_object_bytes() + 1;
  planner::Manifest manifest = ManifestOf(0, 3, large);
  const wire::Bids* bids = Call(manifest);
  ASSERT_EQ(BitsOf(bids->load, 3) + BitsOf(bids->spare, 3) + BitsOf(bids->keep, 3), 0u);
  const wire::Ack* ack = Confirm(manifest, Bitmap(3), Bitmap(3, true));
  EXPECT_EQ(BitsOf(ack->refused, 3), 3u);
  world_->clock.RunFor(5s);
  EXPECT_EQ(world_->far.Counters().gets, 0u);
  Check();
}

TEST_F(NodeTest, AConfirmAfterItsTimeIsAnsweredExpired) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  Call(manifest);
  for (int i = 0; i < 7; ++i) {
    world_->clock.RunFor(10s);
    Progress();  // the job lives; t2 = 60 s passes
  }
  const wire::Ack* ack = Confirm(manifest, Bitmap(100), Bitmap(100, true));
  EXPECT_EQ(BitsOf(ack->refused, 100), 100u);
  EXPECT_EQ(ack->why, wire::Refusal::kExpired);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  Check();
}

TEST_F(NodeTest, AnOfferLivesFromItsBidHoweverLongTheManifestTook) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, kSize);
  world_->network.Deliver(kJobPeer, CallFor(manifest, 1));
  world_->clock.RunFor(8s);  // longer than offer_ttl
  SendManifest(manifest);
  world_->clock.RunFor(3s);
  EXPECT_GT(State()["promises"]["tentative_bytes"], 0);
  world_->clock.RunFor(4s);
  EXPECT_EQ(State()["promises"]["tentative_bytes"], 0);
  Check();
}

TEST_F(NodeTest, LossesAreToldAgainUntilTheJobHasSeenThem) {
  NodeOptions options;
  options.max_loads = 4'096;  // so that all fail together
  Start(64 * kMiB, options);
  planner::Manifest manifest = ManifestOf(0, 2500, 500);
  Call(manifest);
  const wire::Ack* ack = Confirm(manifest, Bitmap(2500), Bitmap(2500, true));
  ASSERT_TRUE(ack->refused.empty());
  world_->far.broken = true;
  world_->clock.RunFor(3s);
  auto told = [&](uint64_t seen) {
    world_->network.Deliver(kJobPeer, wire::Heartbeat{.job = 1, .lease = 30s, .losses_seen = seen});
    return world_->network.Last<wire::Progress>();
  };
  std::set<uint32_t> lost;
  for (uint64_t seen : {0u, 0u, 1000u, 2000u}) {  // the first message was lost on its way
    const wire::Progress* progress = told(seen);
    EXPECT_EQ(progress->first_loss, seen);
    for (const wire::Loss& loss : progress->lost) lost.insert(loss.index);
  }
  EXPECT_EQ(lost.size(), 2500u);
  EXPECT_TRUE(told(2500)->lost.empty());
  Check();
}

// A garbled heartbeat had seen losses that were not told yet, and they never were.
TEST_F(NodeTest, LossesThatWereNotToldCannotHaveBeenSeen) {
  NodeOptions options;
  options.max_loads = 4'096;
  Start(64 * kMiB, options);
  planner::Manifest manifest = ManifestOf(0, 2500, 500);
  Call(manifest);
  Confirm(manifest, Bitmap(2500), Bitmap(2500, true));
  world_->far.broken = true;
  world_->clock.RunFor(3s);
  world_->network.Deliver(kJobPeer,
                          wire::Heartbeat{.job = 1, .lease = 30s, .losses_seen = UINT64_MAX});
  const auto* progress = world_->network.Last<wire::Progress>();
  EXPECT_EQ(progress->first_loss, 1'000u);
  EXPECT_EQ(progress->lost.size(), 1'000u);
  Check();
}

// The first loss after a job came back was taken for one that it had seen before it was given up.
TEST_F(NodeTest, LossesOfAJobThatWasGivenUpAndComesBackAreTold) {
  Start();
  world_->far.broken = true;
  planner::Manifest manifest = ManifestOf(0, 3, kSize);
  uint64_t seen = 0;
  for (uint32_t call = 1; call <= 2; ++call) {
    Call(manifest, 1, call);
    Confirm(manifest, Bitmap(3), Bitmap(3, true), 1, call);
    world_->clock.RunFor(5s);
    world_->network.Deliver(kJobPeer, wire::Heartbeat{.job = 1, .lease = 30s, .losses_seen = seen});
    const auto* progress = world_->network.Last<wire::Progress>();
    ASSERT_EQ(progress->lost.size(), 3u) << call;
    EXPECT_GE(progress->first_loss, seen);
    seen = progress->first_loss + 3;
    world_->clock.RunFor(40s);  // its lease is over
    EXPECT_EQ(State()["jobs"], 0);
  }
}

// The first size at which a record with a name takes more than one without.
uint64_t SizeAtAnEdge(uint64_t size) {
  while (shm::RecordBytes(size, 12, 0) == shm::RecordBytes(size, 0, 0)) ++size;
  return size;
}

TEST_F(NodeTest, WhatIsHeldIsPaidForWhateverNamesACallDeclares) {
  Start();
  uint64_t size = SizeAtAnEdge(10'000);
  for (uint32_t n = 0; n < 100; ++n) world_->Put(n, size);
  planner::Manifest manifest = ManifestOf(0, 100, size);
  SendManifest(manifest);
  wire::Call call = CallFor(manifest, 1);
  call.name_bytes = 0;
  world_->network.Deliver(kJobPeer, std::move(call));
  world_->clock.RunFor(1ms);
  EXPECT_TRUE(Confirm(manifest, Bitmap(100, true), Bitmap(100))->refused.empty());
  Check();
}

TEST_F(NodeTest, WhoTakesOverAnObjectPaysWhatItTakes) {
  Start();
  planner::Manifest manifest = ManifestOf(0, 100, 10'000);
  Call(manifest, 1);
  Confirm(manifest, Bitmap(100), Bitmap(100, true), 1);
  world_->clock.RunFor(5s);
  wire::Call call = CallFor(manifest, 2);
  call.name_bytes = 4'000;
  world_->network.Deliver(kJobPeer, std::move(call));
  world_->clock.RunFor(1ms);
  EXPECT_TRUE(Confirm(manifest, Bitmap(100, true), Bitmap(100), 2)->refused.empty());
  Call(ManifestOf(1000, 1500, 10'000), 3);  // its offers take all the room that there is
  SendManifest(ManifestOf(1000, 1500, 10'000));
  world_->clock.RunFor(1ms);
  uint64_t reserved = State()["promises"]["reserved_bytes"];
  EXPECT_LT(world_->tier->PromisableBytes() - reserved, 14'000u);
  world_->network.Deliver(kJobPeer, wire::EndJob{1});
  world_->clock.RunFor(1ms);
  Check();
  EXPECT_EQ(State()["promises"]["reserved_bytes"], reserved);
  EXPECT_EQ(State()["memory"]["held_objects"], 100);
  world_->network.Deliver(kJobPeer, wire::EndJob{2});
  world_->network.Deliver(kJobPeer, wire::EndJob{3});
  world_->clock.RunFor(1ms);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  Check();
}

// A call that only keeps names nothing, so that what it had declared shows when the object comes.
TEST_F(NodeTest, AnObjectThatComesWithALongerNameThanDeclaredIsKeptIfThereIsRoom) {
  Start();
  uint64_t size = SizeAtAnEdge(10'000);
  planner::Manifest manifest = ManifestOf(0, 100, size);
  Call(manifest, 2);
  Confirm(manifest, Bitmap(100), Bitmap(100, true), 2);
  wire::Call call = CallFor(manifest, 1);  // the first in the books
  call.name_bytes = 0;
  world_->network.Deliver(kJobPeer, std::move(call));
  world_->clock.RunFor(1ms);
  EXPECT_TRUE(Confirm(manifest, Bitmap(100, true), Bitmap(100), 1)->refused.empty());
  world_->clock.RunFor(5s);
  EXPECT_EQ(Progress(1).kept_objects, 100u);
  EXPECT_EQ(Progress(2).kept_objects, 100u);
  Check();
}

TEST_F(NodeTest, NoMoreObjectsArePromisedThanTheIndexHasPlacesFor) {
  Start(8 * kMiB);
  planner::Manifest manifest = ManifestOf(0, 5000, 100);
  Bitmap load = Bitmap::FromBytes(Call(manifest)->load.view(), 5000);
  EXPECT_LT(load.Count(), 2500u);  // by their bytes all of them would fit
  Confirm(manifest, Bitmap(5000), load);
  world_->clock.RunFor(20s);
  EXPECT_EQ(Progress().kept_objects, load.Count());
  EXPECT_EQ(State()["promises"]["broken"], 0);
  Check();
}

TEST_F(NodeTest, CallsOfManyJobsStayWithinTheCapOfPlanning) {
  NodeOptions options;
  options.max_planning_bytes = 64 * kKiB;
  Start(8 * kMiB, options);
  planner::Manifest manifest = ManifestOf(0, 1, kSize);
  for (JobId job = 1; job <= 1000; ++job) {
    wire::Call call = CallFor(manifest, job);
    call.dry_run = true;  // it needs no job, so max_jobs does not bound it
    world_->network.Deliver(kJobPeer, std::move(call));
  }
  EXPECT_LE(State()["planning_bytes"], 64 * kKiB);
  const auto* bids = world_->network.Last<wire::Bids>();
  ASSERT_NE(bids, nullptr);
  EXPECT_EQ(bids->status.code(), Code::kNoSpace);
  // By the key of the configuration, with what to do.
  EXPECT_NE(bids->status.message().find("memory.planning = 64.0 KiB on node"), std::string::npos);
  EXPECT_NE(bids->status.message().find("raise it there or wait"), std::string::npos);
  world_->clock.RunFor(7s);
  EXPECT_EQ(State()["planning_bytes"], 0);
}

TEST_F(NodeTest, AManifestForWhichThereIsNoRoomSaysWhichKeyToRaise) {
  Manifests manifests(64);
  Status status = manifests.Add(ManifestOf(0, 100, kSize));
  EXPECT_EQ(status.code(), Code::kNoSpace);
  EXPECT_NE(status.message().find("memory.planning = 64 B; raise it"), std::string::npos)
      << status.message();
}

TEST_F(NodeTest, AnEndlessLeaseEndsWithTheLongestHold) {
  NodeOptions options;
  options.max_hold = 60s;
  Start(8 * kMiB, options);
  planner::Manifest manifest = ManifestOf(0, 10, kSize);
  Call(manifest);
  world_->network.Deliver(kJobPeer, wire::Heartbeat{.job = 1, .lease = wire::kMaxDuration});
  EXPECT_EQ(State()["jobs"], 1);
  world_->clock.RunFor(62s);
  EXPECT_EQ(State()["jobs"], 0);
  Check();
}

TEST_F(NodeTest, ThousandsOfRefusedLoadsDoNotHideWhatIsWaitedFor) {
  Start(64 * kMiB);  // its index has room for all
  planner::Manifest manifest = ManifestOf(0, 5000, 16);
  Call(manifest);
  Confirm(manifest, Bitmap(5000), Bitmap(5000, true));
  // Readers were faster: all but the last are here when their turn comes.
  for (uint32_t n = 0; n < 5000; ++n) {
    if (manifest.oid(4999) != OidOf(NameOfObject(n))) world_->Put(n, 16);
  }
  world_->clock.RunFor(5s);
  EXPECT_EQ(Progress().loads_left, 0u);
  EXPECT_EQ(world_->far.Counters().gets, 1u);
  Check();
}

}  // namespace
}  // namespace holdfast::cached
