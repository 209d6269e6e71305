// SPDX-License-Identifier: Apache-2.0
// Promises for which memory has no room.
#include "tests/unit/cached/disk_node_fixture.h"

namespace holdfast::cached {
namespace {

constexpr uint32_t kList = 1'200;  // 12 MB: more than memory may promise, less than both may

class DiskPromisesTest : public DiskNodeTest {
 protected:
  const wire::Ack* Plan(const planner::Manifest& manifest, JobId job = 1, uint32_t call = 1) {
    world_->network.sent.clear();
    const wire::Bids* bids = Call(manifest, job, call);
    HF_CHECK(bids != nullptr && bids->status.ok());
    const Bitmap keep = Bitmap::FromBytes(bids->keep.view(), manifest.size());
    const Bitmap load = Bitmap::FromBytes(bids->load.view(), manifest.size());
    bid_ = keep.Count() + load.Count();
    return Confirm(manifest, keep, load, job, call);
  }
  uint64_t HeldOnDisk(const planner::Manifest& manifest) const {
    uint64_t held = 0;
    for (uint32_t i = 0; i < manifest.size(); ++i)
      held += tier_->IsHeld(manifest.oid(i), manifest.version(i)) ? 1 : 0;
    return held;
  }
  // Until everything that is promised is there.
  void Load(JobId job = 1) {
    for (int i = 0; i < 300 && Progress(job).loads_left > 0; ++i) world_->clock.RunFor(100ms);
  }
  void End(JobId job) {
    world_->network.Deliver(kJobPeer, wire::EndJob{.job = job});
    world_->clock.RunFor(1s);
  }
  uint64_t bid_ = 0;
};

TEST_F(DiskPromisesTest, WhatMemoryHasNoRoomForIsPromisedOnTheDisk) {
  StartWithDisk();
  const planner::Manifest manifest = ManifestOf(0, kList, kBytes);
  EXPECT_TRUE(Plan(manifest)->refused.empty());
  EXPECT_EQ(bid_, kList);
  Check();
  Load();
  EXPECT_EQ(Progress().kept_objects, kList);
  EXPECT_EQ(world_->far.Counters().gets, kList);
  const uint64_t below = HeldOnDisk(manifest);
  EXPECT_GT(below, 400u);
  EXPECT_EQ(world_->tier->Stats().held_objects + below, kList);
  for (uint32_t n = 0; n < kList; n += 7) EXPECT_TRUE(Get(n, BulkMode::kLook).ok()) << n;
  EXPECT_EQ(world_->far.Counters().gets, kList);
  Check();
  End(1);
  EXPECT_EQ(HeldOnDisk(manifest), 0u);
  EXPECT_EQ(State()["promises"]["reserved_bytes"], 0);
  EXPECT_EQ(State()["promises"]["disk_reserved_bytes"], 0);
  Check();
}

TEST_F(DiskPromisesTest, AnotherJobWithTheSameListTakesNoRoom) {
  StartWithDisk();
  const planner::Manifest manifest = ManifestOf(0, kList, kBytes);
  Plan(manifest);
  Load();
  const auto before = State()["promises"]["disk_reserved_bytes"];
  EXPECT_TRUE(Plan(manifest, 2)->refused.empty());
  EXPECT_EQ(bid_, kList);
  EXPECT_EQ(Progress(2).kept_objects, kList);
  EXPECT_EQ(State()["promises"]["disk_reserved_bytes"], before);
  End(1);  // the payer
  Check();
  EXPECT_EQ(Progress(2).kept_objects, kList);
  EXPECT_GT(HeldOnDisk(manifest), 400u);
  EXPECT_EQ(State()["promises"]["disk_reserved_bytes"], before);
  End(2);
  EXPECT_EQ(HeldOnDisk(manifest), 0u);
  Check();
}

TEST_F(DiskPromisesTest, WhatIsInMemoryIsCopiedDownWhenItCannotBePromisedThere) {
  StartWithDisk();
  const planner::Manifest first = ManifestOf(0, 700, kBytes);
  Plan(first);
  Load();
  const auto capacity = State()["promises"]["promisable_bytes"].get<uint64_t>();
  ASSERT_GT(State()["promises"]["reserved_bytes"].get<uint64_t>(), capacity / 10 * 9);
  for (uint32_t n = 2'000; n < 2'010; ++n) ASSERT_TRUE(Get(n).ok());  // in the ring
  const uint64_t gets = world_->far.Counters().gets;
  const planner::Manifest second = ManifestOf(2'000, 10, kBytes);
  EXPECT_TRUE(Plan(second, 2)->refused.empty());
  world_->clock.RunFor(2s);
  EXPECT_GT(HeldOnDisk(second), 7u);  // there is room in memory for one or two
  EXPECT_EQ(Progress(2).kept_objects, 10u);
  EXPECT_EQ(world_->far.Counters().gets, gets);
  Check();
}

TEST_F(DiskPromisesTest, WhatTheDiskLosesIsTold) {
  StartWithDisk();
  const planner::Manifest manifest = ManifestOf(0, kList, kBytes);
  Plan(manifest);
  Load();
  uint32_t n = 0;
  while (!OnlyOnDisk(n)) ++n;
  disk_->fail_reads = true;
  EXPECT_FALSE(Get(n, BulkMode::kLook).ok());
  disk_->fail_reads = false;
  world_->clock.RunFor(2s);
  const wire::Progress progress = Progress();
  ASSERT_EQ(progress.lost.size(), 1u);
  EXPECT_EQ(manifest.oid(progress.lost[0].index), KeyOfObject(n, kBytes).oid);
  EXPECT_EQ(progress.kept_objects, kList - 1);
  Check();
  End(1);
  Check();
}

TEST_F(DiskPromisesTest, ADiskThatTakesNothingBreaksThePromiseAndSaysSo) {
  StartWithDisk();
  const planner::Manifest manifest = ManifestOf(0, kList, kBytes);
  Plan(manifest);
  disk_->fail_writes = true;
  Load();
  const wire::Progress progress = Progress();
  EXPECT_EQ(progress.loads_left, 0u);
  EXPECT_EQ(progress.kept_objects + State()["promises"]["broken"].get<uint64_t>(), kList);
  EXPECT_GT(progress.lost.size(), 400u);
  Check();
}

// Whoever finds it on its way has queued nothing of its own, and would have waited for ever.
TEST_F(DiskPromisesTest, WhoWaitsForWhatAJobThatEndsHadQueuedGetsIt) {
  StartWithDisk();
  const planner::Manifest manifest = ManifestOf(0, 900, kBytes);
  Plan(manifest);
  Plan(manifest, 2);
  const uint64_t promised = Progress(2).loads_left;
  EXPECT_GT(promised, 300u);
  End(1);
  Load(2);
  EXPECT_EQ(Progress(2).kept_objects, promised);
  Check();
}

// Lists may lie about sizes: the books of the payer and of who pays next differ then.
TEST_F(DiskPromisesTest, ListsThatSayDifferentSizesOfOneObject) {
  StartWithDisk();
  const planner::Manifest full = ManifestOf(0, 700, kBytes);
  Plan(full);
  Load();
  const planner::Manifest small = ManifestOf(3'000, 20, kBytes);
  std::vector<planner::ManifestEntry> entries;
  for (uint32_t i = 0; i < 20; ++i)
    entries.push_back({.oid = small.oid(i), .size = 2 * kBytes, .version = small.version(i)});
  const planner::Manifest large = *planner::Manifest::Build(std::move(entries));
  Plan(small, 2);
  world_->clock.RunFor(2s);
  EXPECT_GT(HeldOnDisk(small), 10u);
  Plan(large, 3);
  End(2);
  Check();
  End(3);
  Check();
  EXPECT_EQ(HeldOnDisk(small), 0u);
}

TEST_F(DiskPromisesTest, WhileTheDiskRestsReadersAndMemoryGoOn) {
  StartWithDisk();
  const planner::Manifest manifest = ManifestOf(0, kList, kBytes);
  disk_->fail_writes = true;
  Plan(manifest);
  world_->clock.RunFor(20ms);
  bool came = false;
  node_->OnMiss(MissOf(4'000), [&](const Status& status) { came = status.ok(); });
  world_->clock.RunFor(200ms);
  EXPECT_TRUE(came);
  Load();
  EXPECT_GT(Progress().kept_objects, 200u);  // in memory
  Check();
}

}  // namespace
}  // namespace holdfast::cached
