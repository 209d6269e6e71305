// SPDX-License-Identifier: Apache-2.0
// What a node does for peers whose memory is full.
#include "cached/guests.h"

#include "tests/unit/cached/spill_fixture.h"

namespace holdfast::cached {
namespace {

class GuestsTest : public SpillTest {
 protected:
  uint64_t Segment() const { return world_->tier->segment_bytes(); }
  const wire::SpillTaken& Taken() const { return *world_->network.Last<wire::SpillTaken>(); }
};

TEST_F(GuestsTest, AnOfferIsBidForAndWhatIsGivenIsPulled) {
  StartNode();
  world_->network.peers_expire_s = 4'000'000'000;
  const wire::SpillBid& bid = Offer(1, 7, 100'000'000);
  EXPECT_EQ(bid.id, 7u);
  EXPECT_EQ(bid.bytes, Segment());  // at a time
  EXPECT_FALSE(bid.on_disk);
  Give(1, GiveOf(7, 0, 10));
  ASSERT_EQ(world_->network.peer_reads.size(), 10u);
  EXPECT_EQ(world_->network.peer_reads[0].first, "node 1");
  EXPECT_EQ(Taken().id, 7u);
  EXPECT_EQ(Taken().objects, 10u);
  EXPECT_GE(Taken().bytes, 10 * kBytes);
  for (uint32_t n = 0; n < 10; ++n) EXPECT_TRUE(InMemory(n));
  const auto found = world_->tier->Find(KeyOfObject(3, kBytes).oid, 0);
  EXPECT_EQ(found->name, NameOfObject(3));
  EXPECT_EQ(found->etag, EtagOfObject(3));
  EXPECT_EQ(found->payload_hash, Hash64(found->payload));
  EXPECT_EQ(found->expires_s, 4'000'000'000u);
  EXPECT_EQ(State()["spill"]["guests"], 10);
  EXPECT_EQ(State()["spill"]["guest_segments"], 1);
  EXPECT_EQ(State()["spill"]["active"], 0);
}

TEST_F(GuestsTest, WhatHasExpiredIsNotTaken) {
  StartNode();
  world_->network.peers_expire_s = static_cast<uint32_t>(world_->clock.Wall().seconds);
  Offer(1, 7, 100'000'000);
  Give(1, GiveOf(7, 0, 10));
  EXPECT_EQ(Taken().objects, 0u);
  EXPECT_EQ(State()["memory"]["live_objects"], 0);
  Check();
}

TEST_F(GuestsTest, TheHomesAreToldWhereTheyLodge) {
  StartNode();
  Offer(1, 7, 1'000'000);
  Give(1, GiveOf(7, 0, 20));
  size_t told = 0;
  std::vector<PeerId> homes;
  for (const auto& [to, lodged] : AllSent<wire::Lodged>()) {
    homes.push_back(to);
    told += lodged->versions.size() / 8;
  }
  EXPECT_GT(homes.size(), 1u);
  EXPECT_LT(told, 20u);  // of some, this node is the home
  EXPECT_GT(told, 10u);
}

TEST_F(GuestsTest, KeepBidsFindThem) {
  StartNode();
  Offer(1, 7, 1'000'000);
  Give(1, GiveOf(7, 0, 10));
  const planner::Manifest manifest = ManifestOf(0, 10, kBytes);
  const wire::Bids* bids = Call(manifest);
  ASSERT_NE(bids, nullptr);
  EXPECT_EQ(BitsOf(bids->keep, 10), 10u);
  Confirm(manifest, Bitmap(10, true), Bitmap(10));
  EXPECT_EQ(Progress().kept_objects, 10u);
  Check();
}

TEST_F(GuestsTest, OneThatSomebodyWaitsForIsPromisedAtOnce) {
  StartNode();
  world_->far.latency = 1h;
  const planner::Manifest manifest = ManifestOf(0, 5, kBytes);
  Call(manifest);
  Confirm(manifest, Bitmap(5), Bitmap(5, true));
  EXPECT_EQ(Progress().kept_objects, 0u);
  Offer(1, 7, 1'000'000);
  Give(1, GiveOf(7, 0, 5));
  EXPECT_EQ(Progress().kept_objects, 5u);
  EXPECT_EQ(world_->tier->Stats().held_objects, 5u);
  Check();
}

TEST_F(GuestsTest, WhatIsNotWhatItIsSaidToBeIsNotTaken) {
  StartNode();
  Offer(1, 7, 1'000'000);
  wire::SpillGive give = GiveOf(7, 0, 6);
  StoreAs<uint64_t>(give.oids.data(), 99);                // not this name's
  StoreAs<uint64_t>(give.versions.data() + 8, 99);        // not this ETag's
  StoreAs<uint64_t>(give.sizes.data() + 16, kBytes + 1);  // nor this size
  StoreAs<uint64_t>(give.sizes.data() + 24, UINT64_MAX);
  Give(1, std::move(give));
  EXPECT_EQ(Taken().objects, 2u);
  EXPECT_EQ(world_->tier->Stats().live_objects, 2u);
  EXPECT_TRUE(InMemory(4));
  EXPECT_TRUE(InMemory(5));
}

TEST_F(GuestsTest, NoMoreIsTakenThanWasBid) {
  StartNode();
  Offer(1, 7, 35'000);
  Give(1, GiveOf(7, 0, 6));
  EXPECT_EQ(Taken().objects, 3u);
}

TEST_F(GuestsTest, WhatNobodyBidForIsNotTaken) {
  StartNode();
  Give(1, GiveOf(7, 0, 6));
  Offer(1, 7, 1'000'000);
  Give(2, GiveOf(7, 0, 6));                            // another node's
  world_->network.Deliver(kJobPeer, GiveOf(7, 0, 6));  // nobody's
  Give(1, GiveOf(8, 0, 6));                            // another offer
  world_->clock.RunFor(4s);                            // it is late
  Greet(1, 0, 0);                                      // but alive
  Give(1, GiveOf(7, 0, 6));
  EXPECT_EQ(world_->network.CountOf<wire::SpillTaken>(), 0u);
  EXPECT_TRUE(world_->network.peer_reads.empty());
}

TEST_F(GuestsTest, MessagesThatComeTwiceChangeNothing) {
  StartNode();
  Offer(1, 7, 50'000);
  EXPECT_EQ(Offer(1, 7, 50'000).bytes, 0u);
  Give(1, GiveOf(7, 0, 3));
  Give(1, GiveOf(7, 0, 3));
  EXPECT_EQ(world_->network.CountOf<wire::SpillTaken>(), 1u);
  EXPECT_EQ(world_->network.peer_reads.size(), 3u);
}

TEST_F(GuestsTest, StrangersGetNoBid) {
  StartNode();
  world_->network.Deliver(kJobPeer, wire::SpillOffer{.id = 7, .bytes = 1'000, .objects = 1});
  EXPECT_EQ(world_->network.Last<wire::SpillBid>()->bytes, 0u);
}

TEST_F(GuestsTest, BidsCountAgainstEachOtherForAWhile) {
  StartNode();
  EXPECT_EQ(Offer(1, 7, 150'000).bytes, 150'000u);
  EXPECT_EQ(Offer(2, 7, 150'000).bytes, Segment() - 150'000);
  EXPECT_EQ(Offer(3, 7, 150'000).bytes, 0u);
  world_->clock.RunFor(4s);
  EXPECT_EQ(Offer(3, 8, 150'000).bytes, 150'000u);
}

TEST_F(GuestsTest, WhatCannotBePulledIsGone) {
  StartNode();
  world_->network.peers_give = false;
  Offer(1, 7, 1'000'000);
  Give(1, GiveOf(7, 0, 6));
  EXPECT_EQ(Taken().objects, 0u);
  EXPECT_EQ(world_->tier->Stats().live_objects, 0u);
  EXPECT_EQ(world_->network.CountOf<wire::Lodged>(), 0u);
  EXPECT_EQ(State()["spill"]["active"], 0);
}

TEST_F(GuestsTest, WhatIsHereAlreadyIsNotPulled) {
  StartNode();
  for (uint32_t n = 0; n < 4; ++n) world_->Put(n, kBytes);
  Offer(1, 7, 1'000'000);
  Give(1, GiveOf(7, 0, 6));
  EXPECT_EQ(world_->network.peer_reads.size(), 2u);
  EXPECT_EQ(Taken().objects, 6u);
  EXPECT_EQ(State()["spill"]["guests"], 2);
}

TEST_F(GuestsTest, ANodeThatNeedsItsRoomTakesNone) {
  StartNode();
  FillMemory();
  EXPECT_EQ(Offer(1, 7, 1'000'000).bytes, 0u);
  const auto replies = world_->network.CountOf<wire::HelloReply>();
  world_->network.Deliver(InboundOf(1),
                          wire::Hello{.cluster = "holdfast", .node = 1, .incarnation = 5});
  ASSERT_GT(world_->network.CountOf<wire::HelloReply>(), replies);
  EXPECT_EQ(world_->network.Last<wire::HelloReply>()->guest_bytes, 0u);
  EXPECT_EQ(State()["spill"]["refused_offers"], 1);
}

TEST_F(GuestsTest, ANodeThatLoadsALotTakesNone) {
  NodeOptions options = Options();
  options.max_loads = 10;
  StartNode(options);
  world_->far.latency = 1h;
  EXPECT_GT(Offer(1, 7, 1'000).bytes, 0u);
  const planner::Manifest manifest = ManifestOf(0, 100, kBytes);
  Call(manifest);
  Confirm(manifest, Bitmap(100), Bitmap(100, true));
  world_->clock.RunFor(2s);  // nobody answers for the homes
  EXPECT_EQ(Offer(1, 8, 1'000).bytes, 0u);
}

TEST_F(GuestsTest, WithoutTheOptionNoneAreTaken) {
  NodeOptions options = Options();
  options.spill_peers = false;
  StartNode(options);
  EXPECT_EQ(Offer(1, 7, 1'000'000).bytes, 0u);
}

TEST_F(GuestsTest, HellosSayHowMuchRoomThereIs) {
  StartNode();
  world_->network.Deliver(InboundOf(1),
                          wire::Hello{.cluster = "holdfast", .node = 1, .incarnation = 5});
  const uint64_t room = world_->network.Last<wire::HelloReply>()->guest_bytes;
  EXPECT_EQ(room, world_->tier->GuestRoom(0));
  EXPECT_EQ(world_->network.Last<wire::HelloReply>()->guest_disk_bytes, 0u);
}

// --- On the disk ---------------------------------------------------------------------------------

TEST_F(GuestsTest, WithoutRoomInMemoryTheyGoToTheDisk) {
  StartNodeWithDisk();
  world_->network.peers_expire_s = 4'000'000'000;
  FillMemory();
  world_->clock.RunFor(1s);
  ASSERT_GT(tier_->SpareBytes(), 0u);
  Greet(1, 0, 0);
  const wire::SpillBid& bid = Offer(1, 7, 60'000);
  EXPECT_TRUE(bid.on_disk);
  EXPECT_EQ(bid.bytes, 60'000u);
  Give(1, GiveOf(7, 3'000, 5));
  world_->clock.RunFor(1s);
  Check();
  EXPECT_EQ(Taken().objects, 5u);
  EXPECT_EQ(State()["spill"]["disk_guests"], 5);
  EXPECT_EQ(State()["spill"]["active"], 0);
  const ObjectKey key = KeyOfObject(3'000, kBytes);
  EXPECT_FALSE(InMemory(3'000));
  ASSERT_TRUE(tier_->Has(key.oid, key.version));
  bulk::ReadMiss miss;
  miss.oid = key.oid;
  miss.version = key.version;
  miss.mode = BulkMode::kWait;
  std::optional<Status> got;
  node_->OnMiss(miss, [&](Status status) { got = std::move(status); });
  world_->clock.RunFor(1s);
  ASSERT_TRUE(got && got->ok());
  const auto found = world_->tier->Find(key.oid, key.version);
  EXPECT_EQ(found->name, NameOfObject(3'000));
  EXPECT_EQ(found->payload[5], std::byte{7});
  EXPECT_EQ(found->expires_s, 4'000'000'000u);
  EXPECT_EQ(world_->far.Counters().gets, 0u);
}

TEST_F(GuestsTest, AFullDiskTakesNone) {
  StartNodeWithDisk();
  for (uint32_t n = 0; n < 10'000 && tier_->SpareBytes() > 0; n += 100) {
    PutAndRead(n, 100);
    world_->clock.RunFor(200ms);
  }
  ASSERT_EQ(tier_->SpareBytes(), 0u);
  Greet(1, 0, 0);
  EXPECT_EQ(Offer(1, 7, 60'000).bytes, 0u);
}

}  // namespace
}  // namespace holdfast::cached
