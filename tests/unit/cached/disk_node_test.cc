// SPDX-License-Identifier: Apache-2.0
// A node whose memory has a disk below it.
#include "tests/unit/cached/disk_node_fixture.h"

namespace holdfast::cached {
namespace {

TEST_F(DiskNodeTest, WhatMemoryLetGoOfComesFromTheDisk) {
  StartWithDisk();
  Fill();
  const std::vector<uint32_t> below = AllOnlyOnDisk();
  ASSERT_GT(below.size(), 400u);
  const uint64_t gets = world_->far.Counters().gets;
  EXPECT_EQ(gets, kMany);
  EXPECT_TRUE(Get(below[3]).ok());
  EXPECT_TRUE(Get(below[4], BulkMode::kLook).ok());
  EXPECT_TRUE(Get(below[5], BulkMode::kWait).ok());
  EXPECT_EQ(world_->far.Counters().gets, gets);
  EXPECT_EQ(State()["loads"]["disk_objects"], 3);
  EXPECT_GT(State()["memory"]["descended_objects"], 400);
  Check();
}

TEST_F(DiskNodeTest, WhatExpiresIsGoneFromMemoryAndDiskAlike) {
  StartWithDisk();
  const int64_t ends = world_->clock.Wall().seconds + 10'000;
  world_->far.expires_s = static_cast<uint32_t>(ends);
  Fill();
  const std::vector<uint32_t> below = AllOnlyOnDisk();
  ASSERT_GT(below.size(), 400u);
  ASSERT_TRUE(Get(below[0]).ok());  // up again
  const ObjectKey up = KeyOfObject(below[0], kBytes);
  EXPECT_EQ(world_->tier->Find(up.oid, up.version)->expires_s, ends);
  world_->clock.RunFor(std::chrono::seconds(ends - world_->clock.Wall().seconds));
  world_->far.broken = true;  // as a store that has removed it
  const uint64_t gets = world_->far.Counters().gets;
  for (uint32_t n : {below[0], below[1], kMany - 1}) {
    EXPECT_EQ(Get(n, BulkMode::kLook).code(), Code::kNotFound) << n;
    EXPECT_EQ(Get(n).code(), Code::kNotFound) << n;
  }
  EXPECT_EQ(world_->far.Counters().gets, gets + 3);
  // There again, with another end.
  world_->far.broken = false;
  world_->far.expires_s = 0;
  EXPECT_TRUE(Get(below[1]).ok());
  EXPECT_TRUE(Get(kMany - 1).ok());
  Check();
}

TEST_F(DiskNodeTest, WhatComesTooLateToBeReadIsNotKept) {
  StartWithDisk();
  world_->far.expires_s = static_cast<uint32_t>(world_->clock.Wall().seconds);
  EXPECT_EQ(Get(3).code(), Code::kNotFound);
  EXPECT_EQ(State()["memory"]["live_objects"], 0);
}

TEST_F(DiskNodeTest, WhoCanReadTheDiskIsToldThePlaceAndNothingIsLoaded) {
  options_.least_placed_bytes = kBytes;
  StartWithDisk();
  Fill();
  const std::vector<uint32_t> below = AllOnlyOnDisk();
  const uint64_t gets = world_->far.Counters().gets;
  for (uint32_t n : {below[3], below[4]}) {
    const auto place = PlaceOf(n, n == below[3] ? kBytes : 0);  // of unknown size, too
    ASSERT_TRUE(place.has_value());
    Buffer record(kBytes + 4 * kKiB);
    image_.Read(place->segment, place->offset, record.span());
    const auto head = disk::DecodeHead(record.view(), place->offset, image_.segment_bytes());
    ASSERT_TRUE(head.ok()) << head.status().ToString();
    const ObjectKey key = KeyOfObject(n, kBytes);
    EXPECT_TRUE(disk::CheckHead(*head, key.oid, key.version).ok());
    EXPECT_TRUE(disk::CheckHead(*head, key.oid, 0).ok());
    EXPECT_EQ(disk::CheckHead(*head, key.oid, key.version + 1).code(), Code::kNotFound);
    EXPECT_EQ(disk::CheckHead(*head, KeyOfObject(n + 1, kBytes).oid, 0).code(), Code::kNotFound);
    disk::Head other = *head;
    other.etag += "x";
    EXPECT_EQ(disk::CheckHead(other, key.oid, key.version).code(), Code::kCorrupt);
    EXPECT_TRUE(OnlyOnDisk(n));
  }
  EXPECT_EQ(State()["loads"]["disk_objects"], 0);
  EXPECT_EQ(State()["loads"]["disk_places"], 2);
  EXPECT_EQ(world_->far.Counters().gets, gets);
  // What is in memory is there, and what the disk does not have comes from elsewhere, as ever.
  EXPECT_FALSE(PlaceOf(kMany - 1, kBytes));
  // Read again so soon, it would have been in memory: now it will be.
  EXPECT_FALSE(PlaceOf(below[3], kBytes));
  EXPECT_FALSE(OnlyOnDisk(below[3]));
  EXPECT_EQ(State()["loads"]["disk_objects"], 1);
  Check();
}

// A set that does not fit memory pushes nothing out of it, however often it is read.
TEST_F(DiskNodeTest, WhatIsReadInTurnStaysOnTheDisk) {
  options_.least_placed_bytes = kBytes;
  StartWithDisk();
  Fill();
  const std::vector<uint32_t> below = AllOnlyOnDisk();
  ASSERT_GT(below.size() * kBytes, 5 * kMiB);
  for (int epoch = 0; epoch < 3; ++epoch) {
    for (uint32_t n : below) ASSERT_TRUE(PlaceOf(n, kBytes).has_value()) << epoch;
  }
  EXPECT_EQ(AllOnlyOnDisk(), below);
  EXPECT_EQ(State()["loads"]["disk_objects"], 0);
}

TEST_F(DiskNodeTest, SmallObjectsAreReadForWhoCouldReadThemHimself) {
  StartWithDisk();
  Fill();
  EXPECT_FALSE(PlaceOf(AllOnlyOnDisk().at(7), kBytes));
  EXPECT_EQ(State()["loads"]["disk_objects"], 1);
  EXPECT_EQ(State()["loads"]["disk_places"], 0);
}

TEST_F(DiskNodeTest, ALookFindsAnyVersionOnTheDisk) {
  StartWithDisk();
  Fill();
  const uint32_t n = AllOnlyOnDisk().at(0);
  bulk::ReadMiss miss;
  miss.oid = KeyOfObject(n, kBytes).oid;
  Status got = Status::Unavailable("not yet");
  node_->OnMiss(miss, [&](Status status) { got = std::move(status); });
  world_->clock.RunFor(1s);
  EXPECT_TRUE(got.ok()) << got.ToString();
  EXPECT_TRUE(world_->tier->Find(miss.oid, KeyOfObject(n, kBytes).version));
}

TEST_F(DiskNodeTest, WhatTheDiskHasLostComesFromFarAway) {
  StartWithDisk();
  Fill();
  const std::vector<uint32_t> below = AllOnlyOnDisk();
  disk_->fail_reads = true;
  const uint64_t gets = world_->far.Counters().gets;
  EXPECT_TRUE(Get(below[3]).ok());
  EXPECT_EQ(world_->far.Counters().gets, gets + 1);
  EXPECT_EQ(Get(below[4], BulkMode::kLook).code(), Code::kNotFound);
  EXPECT_EQ(world_->far.Counters().gets, gets + 1);
  Check();
}

TEST_F(DiskNodeTest, WhoMayGoFarIsNotHeldUpByWhoMayNot) {
  StartWithDisk();
  Fill();
  const std::vector<uint32_t> below = AllOnlyOnDisk();
  disk_->fail_reads = true;
  const ObjectKey key = KeyOfObject(below[3], kBytes);
  bulk::ReadMiss look;
  look.oid = key.oid;
  look.version = key.version;
  bulk::ReadMiss fetch = look;
  fetch.mode = BulkMode::kFetch;
  fetch.size = kBytes;
  fetch.name = NameOfObject(below[3]);
  fetch.etag = EtagOfObject(below[3]);
  int found = 0;
  node_->OnMiss(look, [&](Status status) { found += status.ok(); });
  world_->clock.RunFor(10us);  // it is under way
  node_->OnMiss(fetch, [&](Status status) { found += status.ok(); });
  world_->clock.RunFor(1s);
  EXPECT_EQ(found, 2);
}

TEST_F(DiskNodeTest, APromiseIsLoadedFromTheDisk) {
  StartWithDisk();
  Fill();
  const std::vector<uint32_t> below = AllOnlyOnDisk();
  const planner::Manifest manifest = ManifestOf(below[0], 30, kBytes);
  const uint64_t gets = world_->far.Counters().gets;
  const wire::Bids* bids = Call(manifest);
  ASSERT_NE(bids, nullptr);
  EXPECT_EQ(BitsOf(bids->load, 30), 30u);
  EXPECT_EQ(BitsOf(bids->near, 30), 30u);
  Confirm(manifest, Bitmap(30), Bitmap(30, true));
  world_->clock.RunFor(2s);
  EXPECT_EQ(world_->tier->Stats().held_objects, 30u);
  EXPECT_EQ(world_->far.Counters().gets, gets);
  Check();
}

TEST_F(DiskNodeTest, ASnapshotListsBothTiersOnce) {
  StartWithDisk();
  Fill();
  world_->network.Deliver(kJobPeer, wire::SnapshotQuery{.id = 5, .sequence = 7});
  world_->clock.RunFor(1s);
  const auto* reply = world_->network.Last<wire::SnapshotReply>();
  ASSERT_NE(reply, nullptr);
  std::vector<uint64_t> listed(reply->prints.size() / 8);
  std::memcpy(listed.data(), reply->prints.data(), reply->prints.size());
  std::sort(listed.begin(), listed.end());
  EXPECT_EQ(std::adjacent_find(listed.begin(), listed.end()), listed.end());
  uint64_t known = 0;
  for (uint32_t n = 0; n < kMany; ++n) {
    const ObjectKey key = KeyOfObject(n, kBytes);
    const bool here = world_->tier->Find(key.oid, key.version) || OnlyOnDisk(n);
    EXPECT_EQ(here, std::binary_search(listed.begin(), listed.end(), key.oid.hi)) << n;
    known += here;
  }
  EXPECT_EQ(listed.size(), known);
  EXPECT_GT(known, world_->tier->Stats().live_objects + 400);
}

TEST_F(DiskNodeTest, AnotherNodeIsToldThatTheHomeHasIt) {
  StartWithDisk();
  Fill();
  const ObjectKey key = KeyOfObject(AllOnlyOnDisk().at(0), kBytes);
  wire::Ask ask{.id = 9, .oids = Buffer(16), .versions = Buffer(8), .tried = Buffer(2)};
  StoreAs(ask.oids.data(), key.oid.hi);
  StoreAs(ask.oids.data() + 8, key.oid.lo);
  StoreAs(ask.versions.data(), key.version);
  StoreAs(ask.tried.data(), kNoNode);
  world_->network.Deliver(kJobPeer, std::move(ask));
  const auto* answer = world_->network.Last<wire::Answer>();
  ASSERT_NE(answer, nullptr);
  EXPECT_EQ(static_cast<wire::Verdict>(answer->verdicts.data()[0]), wire::Verdict::kHave);
}

TEST_F(DiskNodeTest, ADropByNameIsADropFromTheDisk) {
  StartWithDisk();
  Fill();
  const uint32_t n = AllOnlyOnDisk().at(0);
  wire::Drop drop{.id = 3, .oids = Buffer(16)};
  StoreAs(drop.oids.data(), KeyOfObject(n, kBytes).oid.hi);
  StoreAs(drop.oids.data() + 8, KeyOfObject(n, kBytes).oid.lo);
  world_->network.Deliver(kJobPeer, std::move(drop));
  world_->clock.RunFor(1ms);
  EXPECT_EQ(world_->network.Last<wire::DropReply>()->dropped_objects, 1u);
  EXPECT_FALSE(OnlyOnDisk(n));
}

}  // namespace
}  // namespace holdfast::cached
