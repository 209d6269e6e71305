// SPDX-License-Identifier: Apache-2.0
// What the disk of a node evicts though it was read goes up, and from memory to peers.
#include "cached/lifts.h"

#include "tests/unit/cached/spill_fixture.h"

namespace holdfast::cached {
namespace {

class LiftsTest : public SpillTest {
 protected:
  static constexpr uint32_t kFirst = 20'000;
  static constexpr uint32_t kEnds = 4'000'000'000;

  // Writes objects [first, first + count) to the disk.
  void WriteBelow(uint32_t first, uint32_t count) {
    const std::vector<std::byte> payload(kBytes, std::byte{7});
    std::vector<store::DiskWriter::Item> items;
    for (uint32_t n = first; n < first + count; ++n) {
      const ObjectKey key = KeyOfObject(n, kBytes);
      items.push_back(store::DiskWriter::ItemOf(key.oid, key.version, NameOfObject(n),
                                                EtagOfObject(n), payload, Hash64(payload),
                                                tier_->Stamp(5s), kEnds));
    }
    bool taken = false;
    tier_->Take(std::move(items), [&] { taken = true; });
    world_->clock.RunFor(200ms);
    HF_CHECK(taken);
  }
  // They were read on the disk, by nobody who brought them up.
  void ReadBelow(uint32_t first, uint32_t count) {
    for (uint32_t n = first; n < first + count; ++n) {
      const ObjectKey key = KeyOfObject(n, kBytes);
      bool found = false;
      tier_->Look(key.oid, key.version, 0,
                  [&](Result<store::DiskTier::Found> result) { found = result.ok(); });
      world_->clock.RunFor(1ms);
      HF_CHECK(found);
    }
  }
  // Until the segment of kFirst is taken back, while a peer says that it has so much room.
  void EvictThem(uint64_t room) {
    for (uint32_t n = kFirst + 100; n < kFirst + 1'000 && OnDisk(kFirst + 19); n += 10) {
      Greet(1, room, 0);
      WriteBelow(n, 10);
    }
    EXPECT_FALSE(OnDisk(kFirst + 19));
  }
  void WriteAndReadThem() {
    WriteBelow(kFirst, 20);
    ReadBelow(kFirst, 20);
  }
  bool OnDisk(uint32_t n) const {
    const ObjectKey key = KeyOfObject(n, kBytes);
    return tier_->HasRecord(key.oid, key.version);
  }
  std::vector<uint32_t> Lifted() const {
    std::vector<uint32_t> lifted;
    for (uint32_t n = kFirst; n < kFirst + 20; ++n) {
      if (InMemory(n)) lifted.push_back(n);
    }
    return lifted;
  }
};

TEST_F(LiftsTest, WhatTheDiskLetsGoOfThoughItWasReadGoesToPeers) {
  StartNodeWithDisk();
  WriteAndReadThem();
  EvictThem(100 * kMiB);
  Check();
  const std::vector<uint32_t> lifted = Lifted();
  ASSERT_FALSE(lifted.empty());
  EXPECT_EQ(State()["spill"]["lifted_objects"], lifted.size());
  EXPECT_EQ(State()["spill"]["lifted_bytes"], lifted.size() * kBytes);
  EXPECT_EQ(State()["spill"]["active"], 0);
  const ObjectKey one = KeyOfObject(lifted[0], kBytes);
  EXPECT_EQ(world_->tier->Find(one.oid, one.version)->expires_s, kEnds);
  for (const uint32_t n : lifted) {
    EXPECT_FALSE(OnDisk(n));
    const auto record = world_->tier->Find(KeyOfObject(n, kBytes).oid, 0);
    EXPECT_EQ(record->name, NameOfObject(n));
    EXPECT_EQ(record->etag, EtagOfObject(n));
    EXPECT_EQ(Hash64(record->payload), record->payload_hash);
  }
  // Once memory lets go of them as well a peer is given them.
  std::vector<Oid> given;
  for (uint32_t n = 0; n < 10'000 && !Lifted().empty(); n += 20) {
    PutAndRead(n, 20);
    Greet(1, 100 * kMiB, 0);
    world_->clock.RunFor(60ms);
    if (const auto* offer = world_->network.Last<wire::SpillOffer>()) {
      world_->network.Deliver(ConnectionTo(1), wire::SpillBid{.id = offer->id, .bytes = 10 * kMiB});
    }
  }
  for (const auto& [to, give] : AllSent<wire::SpillGive>()) {
    for (size_t i = 0; i < give->versions.size() / 8; ++i) {
      given.push_back({LoadAs<uint64_t>(give->oids.data() + 16 * i),
                       LoadAs<uint64_t>(give->oids.data() + 16 * i + 8)});
    }
  }
  for (const uint32_t n : lifted) {
    EXPECT_EQ(std::count(given.begin(), given.end(), KeyOfObject(n, kBytes).oid), 1) << n;
  }
}

TEST_F(LiftsTest, NothingGoesUpWhileNoPeerHasRoom) {
  StartNodeWithDisk();
  WriteAndReadThem();
  EvictThem(0);
  EXPECT_TRUE(Lifted().empty());
  EXPECT_EQ(State()["spill"]["lifted_objects"], 0);
}

TEST_F(LiftsTest, WhatIsDroppedWhileItIsReadStaysDropped) {
  StartNodeWithDisk();
  WriteBelow(kFirst, 1);
  Context context = *world_->context;
  context.disk = tier_.get();
  Lifts lifts(&context, nullptr);
  const ObjectKey key = KeyOfObject(kFirst, kBytes);
  std::optional<Bitmap> taken;
  // Without its size it takes two reads.
  lifts.Take({{.oid = key.oid, .version = key.version}},
             [&](const Bitmap& in_memory) { taken = in_memory; });
  const uint64_t reads = disk_->reads;
  while (disk_->reads < reads + 2) world_->clock.RunFor(10us);
  EXPECT_FALSE(taken.has_value());
  EXPECT_EQ(tier_->Drop(key.oid, key.version), 1u);
  world_->clock.RunFor(1ms);
  ASSERT_TRUE(taken.has_value());
  EXPECT_TRUE(taken->None());
  EXPECT_FALSE(InMemory(kFirst));
  EXPECT_EQ(lifts.under_way(), 0u);
}

TEST_F(LiftsTest, WhatCannotBeReadIsEvicted) {
  StartNodeWithDisk();
  WriteAndReadThem();
  for (uint32_t segment = 0; segment < image_.segments(); ++segment) {
    // Neither heads nor payloads are what they were; the tables at the end are.
    const std::vector<std::byte> zeros(180 * kKiB);
    image_.Write(segment, disk::kFirstRecord, {{zeros}});
  }
  EvictThem(100 * kMiB);
  EXPECT_GT(tier_->Stats().corrupt, 0u);
  EXPECT_TRUE(Lifted().empty());
  EXPECT_EQ(State()["spill"]["lifted_objects"], 0);
  EXPECT_EQ(State()["spill"]["active"], 0);
  Check();
}

}  // namespace
}  // namespace holdfast::cached
