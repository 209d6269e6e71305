// SPDX-License-Identifier: Apache-2.0
#include "planner/bidding.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/planner/fixture.h"

namespace holdfast::planner {
namespace {

constexpr uint32_t kNameBytes = 40;
uint64_t RecordBytes(uint64_t object_bytes, uint32_t name_bytes) {
  return (object_bytes + name_bytes + 63) / 64 * 64;
}

struct Case {
  Manifest manifest;
  Bitmap asked, offer, home;
  BidInput input;

  Case(Random& random, uint32_t objects, uint32_t first, uint32_t count, double here_share)
      : manifest(RandomManifest(objects, random)),
        asked(RandomBitmap(objects, random, 0.8)),
        offer(RandomBitmap(objects, random, 0.6)),
        home(And(offer, RandomBitmap(objects, random, 0.5))) {
    Bitmap here = RandomBitmap(count, random, here_share);
    Bitmap held = And(here, RandomBitmap(count, random, 0.5));
    Bitmap disk = RandomBitmap(count, random, 0.2);
    input = {.manifest = &manifest,
             .first = first,
             .count = count,
             .asked = &asked,
             .offer = &offer,
             .home = &home,
             .here = here,
             .held = held,
             .disk = disk,
             .disk_held = And(disk, RandomBitmap(count, random, 0.3)),
             .max_object_bytes = 900,
             .room_bytes = 0,
             .record_bytes = RecordBytes,
             .name_bytes = kNameBytes,
             .disk_least_bytes = 200,
             .disk_most_bytes = 800,
             .disk_room_bytes = 0,
             .disk_record_bytes = [](uint64_t size) { return size + 100; }};
  }
};

// The rules of the header, an object at a time, and for what goes down from memory 64 at a time.
BidOutcome Model(const BidInput& in) {
  BidOutcome out{Bitmap(in.count), Bitmap(in.count), Bitmap(in.count), Bitmap(in.count), 0, 0};
  auto reserve = [&](uint32_t i) {
    uint64_t bytes = RecordBytes(in.manifest->object_bytes(in.first + i), kNameBytes);
    if (out.reserved_bytes + bytes > in.room_bytes) return false;
    out.reserved_bytes += bytes;
    return true;
  };
  auto reserve_on_disk = [&](uint32_t i) {
    const uint64_t size = in.manifest->object_bytes(in.first + i);
    if (size < in.disk_least_bytes || size > in.disk_most_bytes) return false;
    if (out.disk_reserved_bytes + size + 100 > in.disk_room_bytes) return false;
    out.disk_reserved_bytes += size + 100;
    return true;
  };
  auto go_down = [&](uint32_t first) {
    for (uint32_t i = first; i < std::min(first + 64, in.count); ++i) {
      if (!in.asked->Get(in.first + i) || !in.here.Get(i) || out.keep.Get(i)) continue;
      if (!in.disk_held.Get(i) && !reserve_on_disk(i)) continue;
      out.load.Set(i);
      out.near.Set(i);
    }
  };
  for (uint32_t i = 0; i < in.count; ++i) {
    if (!in.asked->Get(in.first + i) || !in.here.Get(i)) continue;
    if (in.held.Get(i) || (!in.disk_held.Get(i) && reserve(i))) out.keep.Set(i);
  }
  for (uint32_t i = 0; i < in.count; ++i) {
    if (i > 0 && i % 64 == 0) go_down(i - 64);
    const bool disk = in.disk.Get(i);
    if (!in.asked->Get(in.first + i) || in.here.Get(i)) continue;
    if (!in.offer->Get(in.first + i) && !disk) continue;
    if (in.manifest->object_bytes(in.first + i) > in.max_object_bytes) continue;
    if (disk) out.near.Set(i);
    if (in.disk_held.Get(i) || (in.home->Get(in.first + i) && (reserve(i) || reserve_on_disk(i)))) {
      out.load.Set(i);
    } else {
      out.spare.Set(i);
    }
  }
  go_down((in.count - 1) / 64 * 64);
  return out;
}

TEST(Bidding, FollowsItsRulesWithAnyRoom) {
  Random random(11);
  for (int round = 0; round < 200; ++round) {
    uint32_t first = 64 * static_cast<uint32_t>(random.Below(5));
    uint32_t count = 1 + static_cast<uint32_t>(random.Below(300));
    Case c(random, first + count + static_cast<uint32_t>(random.Below(100)), first, count,
           random.Unit());
    c.input.room_bytes = random.Below(uint64_t{count} * 700);
    c.input.disk_room_bytes = random.Below(uint64_t{count} * 500) * (round % 2);
    BidOutcome out = BidForChunk(c.input);
    BidOutcome model = Model(c.input);
    ASSERT_EQ(out.keep, model.keep);
    ASSERT_EQ(out.load, model.load);
    ASSERT_EQ(out.spare, model.spare);
    ASSERT_EQ(out.near, model.near);
    ASSERT_EQ(out.reserved_bytes, model.reserved_bytes);
    ASSERT_EQ(out.disk_reserved_bytes, model.disk_reserved_bytes);
    ASSERT_LE(out.reserved_bytes, c.input.room_bytes);
    ASSERT_TRUE(And(out.keep, out.load).None());
    ASSERT_TRUE(And(out.keep, out.spare).None());
    ASSERT_TRUE(And(out.load, out.spare).None());
  }
}

TEST(Bidding, WithoutRoomOnlyWhatIsHeldAnywayIsKept) {
  Random random(12);
  Case c(random, 256, 0, 256, 0.5);
  c.input.room_bytes = 0;
  BidOutcome out = BidForChunk(c.input);
  EXPECT_EQ(out.keep, And(c.input.held, c.asked));
  EXPECT_EQ(And(out.load, c.input.disk_held), out.load);
  EXPECT_EQ(out.reserved_bytes, 0u);
  EXPECT_FALSE(out.spare.None());
}

// Its size was within the bounds of a disk that holds nothing.
TEST(Bidding, AnObjectOfNoBytesWithoutRoomAndWithoutADisk) {
  const Manifest manifest = *Manifest::Build({{.oid = {1, 2}, .size = 0, .version = 3}});
  const Bitmap all(1, true);
  const BidOutcome out = BidForChunk({.manifest = &manifest,
                                      .count = 1,
                                      .asked = &all,
                                      .offer = &all,
                                      .home = &all,
                                      .here = Bitmap(1),
                                      .held = Bitmap(1),
                                      .max_object_bytes = 100,
                                      .record_bytes = RecordBytes,
                                      .name_bytes = kNameBytes});
  EXPECT_TRUE(out.load.None());
  EXPECT_TRUE(out.spare.Get(0));
}

TEST(Bidding, AnObjectTooLargeForThisNodeIsNotBidFor) {
  Random random(13);
  Case c(random, 128, 0, 128, 0);
  c.input.room_bytes = 1 << 20;
  c.input.max_object_bytes = 0;
  BidOutcome out = BidForChunk(c.input);
  EXPECT_TRUE(out.load.None());
  EXPECT_TRUE(out.spare.None());
}

}  // namespace
}  // namespace holdfast::planner
