// SPDX-License-Identifier: Apache-2.0
// Guests in a memory tier, and what the tier lets go of by its outlet.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

constexpr Time kNow{1'000'000};
constexpr uint64_t kSize = 4'000;
constexpr uint64_t kFirstGuest = 1'000'000;
constexpr uint64_t kSegment = 64 * kKiB;

class GuestsTest : public testing::Test {
 protected:
  // What the outlet was given, and is to say that it is done with.
  struct Given {
    std::vector<LeavingRecord> records;
    std::function<void()> done;
  };

  Status PutGuest(uint64_t number, uint64_t promised = 0, Duration age = {}) {
    Result<MemoryTier::Slot> slot = node_.tier->AllocateGuest({.oid = OidOf(number),
                                                               .version = 1,
                                                               .size = kSize,
                                                               .name = "guest",
                                                               .etag = "",
                                                               .age = age},
                                                              kNow, promised);
    if (!slot.ok()) return slot.status();
    Fill(number, 1, slot->payload);
    node_.tier->Commit(slot->id, Hash64(slot->payload), 0);
    return {};
  }
  uint64_t PutGuests(uint64_t promised = 0) {
    uint64_t put = 0;
    while (node_.tier->GuestRoom(promised) > kSegment && PutGuest(kFirstGuest + put, promised).ok())
      ++put;
    return put;
  }
  uint64_t CountGuests(uint64_t of) const {
    uint64_t here = 0;
    for (uint64_t n = 0; n < of; ++n) here += node_.Has(kFirstGuest + n) ? 1 : 0;
    return here;
  }
  void PutOwn(uint64_t first, uint64_t count, std::optional<Time> hold_until = {}) {
    for (uint64_t n = first; n < first + count; ++n)
      ASSERT_TRUE(node_.Put(n, 1, kSize, kNow, hold_until).ok()) << n;
  }
  void Read(Client& client, uint64_t number) {
    std::vector<std::byte> into(kSize);
    ASSERT_EQ(client->Copy({OidOf(number), 1, into}).code, Code::kOk);
  }
  void ReadAll(Client& client, uint64_t count) {
    for (uint64_t n = 0; n < count; ++n) {
      if (node_.Has(n)) Read(client, n);
    }
  }
  void OpenOutlet() {
    node_.tier->SetOutlet(
        {.room = [this] { return room_; },
         .take =
             [this](std::vector<LeavingRecord> records, std::function<void()> done) {
               given_.push_back({std::move(records), std::move(done)});
             }});
  }
  void Maintain() { node_.tier->Maintain(kNow, 1 * kMiB); }
  TierStats Stats() const { return node_.tier->Stats(); }

  Node node_{SmallOptions(32, kSegment, 10'000)};
  uint64_t room_ = UINT64_MAX;
  std::vector<Given> given_;
};

TEST_F(GuestsTest, TakeOnlyFreeRoomAndNeverReclaim) {
  const uint64_t room = node_.tier->GuestRoom(0);
  EXPECT_LT(room, 32 * kSegment);
  EXPECT_GT(room, 20 * kSegment);
  const uint64_t put = PutGuests();
  EXPECT_LE(put * kSize, room);
  EXPECT_GT(put * kSize, room * 8 / 10);
  EXPECT_EQ(CountGuests(put), put);
  EXPECT_EQ(Stats().taken_guests, put);
  EXPECT_LT(node_.tier->GuestRoom(0), kSegment);
  EXPECT_GE(Stats().free_segments, 4u);  // the low-water mark, and what only reclaim may take
  EXPECT_EQ(Stats().dropped_objects, 0u);
}

TEST_F(GuestsTest, TheOldestMakeRoomForYoungerOnes) {
  PutOwn(0, 100);
  const uint64_t guests = PutGuests();
  const uint32_t free = Stats().free_segments;
  for (uint64_t n = guests; n < 3 * guests; ++n) ASSERT_TRUE(PutGuest(kFirstGuest + n).ok()) << n;
  EXPECT_EQ(Stats().free_segments, free);
  for (uint64_t n = 0; n < 100; ++n) EXPECT_TRUE(node_.Has(n));
  EXPECT_FALSE(node_.Has(kFirstGuest));
  for (uint64_t n = 2 * guests + 40; n < 3 * guests; ++n) EXPECT_TRUE(node_.Has(kFirstGuest + n));
  EXPECT_EQ(CountGuests(3 * guests) + Stats().dropped_guests, 3 * guests);
}

TEST_F(GuestsTest, LeaveRoomForWhatIsPromisedAndNotHereYet) {
  const uint64_t all = node_.tier->GuestRoom(0);
  EXPECT_LT(node_.tier->GuestRoom(10 * kSegment), all - 10 * kSegment);
  const uint64_t put = PutGuests(10 * kSegment);
  EXPECT_GT(put, 0u);
  EXPECT_GE(Stats().free_segments, 14u);
  EXPECT_EQ(node_.tier->GuestRoom(UINT64_MAX / 2), 0u);
}

TEST_F(GuestsTest, LeaveBeforeAnythingElseDoes) {
  PutOwn(0, 150);  // some ten segments, older than the guests
  const uint64_t guests = PutGuests();
  ASSERT_GT(guests, 150u);
  uint64_t n = 150;
  // Each is allocated at once, and no object of this node leaves while there are guests.
  for (; CountGuests(guests) > 0; ++n) {
    ASSERT_LT(n, 1'000u);
    PutOwn(n, 1);
  }
  for (uint64_t own = 0; own < n - 1; ++own) EXPECT_TRUE(node_.Has(own)) << own;
  EXPECT_EQ(Stats().dropped_guests, guests);
  EXPECT_EQ(Stats().guest_segments, 0u);
}

TEST_F(GuestsTest, TheOldestLeaveFirst) {
  const uint64_t guests = PutGuests();
  PutOwn(0, 200);
  const uint64_t left = CountGuests(guests);
  ASSERT_GT(left, 0u);
  ASSERT_LT(left, guests);
  for (uint64_t n = guests - left; n < guests; ++n) EXPECT_TRUE(node_.Has(kFirstGuest + n));
}

TEST_F(GuestsTest, PromisesHaveAllOfTheirRoom) {
  const uint64_t guests = PutGuests();
  const uint64_t record = shm::RecordBytes(kSize, 7, 2);
  const uint64_t promised = node_.tier->PromisableBytes() / record;
  ASSERT_GT(promised, 100u);
  PutOwn(0, promised, kNow + 1h);
  EXPECT_EQ(Stats().held_objects, promised);
  EXPECT_LT(CountGuests(guests), guests);
}

TEST_F(GuestsTest, OneThatIsReadAgainOrHeldStays) {
  Client client(1, node_.memory.span(), node_.plan.segments, &node_.sessions);
  const uint64_t guests = PutGuests();
  for (int time = 0; time < 2; ++time) Read(client, kFirstGuest);
  Read(client, kFirstGuest + 2);  // its reader has it now
  ASSERT_TRUE(node_.tier->Hold(OidOf(kFirstGuest + 1), 1));
  node_.tier->SetHoldUntil([](const Oid&, VersionHash) { return kNow + 1h; });
  for (uint64_t n = 0; CountGuests(guests) > 2; ++n) {
    ASSERT_LT(n, 1'000u);
    PutOwn(n, 1);
  }
  EXPECT_TRUE(node_.Has(kFirstGuest));
  EXPECT_TRUE(node_.Has(kFirstGuest + 1));
  EXPECT_TRUE(IsRight(kFirstGuest, 1, node_.tier->Find(OidOf(kFirstGuest), 1)->payload));
  EXPECT_EQ(Stats().kept_guests, 2u);
  EXPECT_EQ(Stats().read_guests, 3u);
  // They are ordinary now: to be read again later is no read of a guest.
  Read(client, kFirstGuest);
  Maintain();
  EXPECT_EQ(Stats().read_guests, 3u);
}

TEST_F(GuestsTest, HaveTheAgeTheyCameWith) {
  ASSERT_TRUE(PutGuest(kFirstGuest, 0, 1h).ok());
  Time since{};
  node_.tier->ListSlots(0, node_.tier->slots(),
                        [&](const MemoryTier::Listed& l) { since = l.since; });
  EXPECT_EQ(kNow - since, Duration(1h));
}

TEST_F(GuestsTest, ANodeThatLooksForRoomItselfTakesNone) {
  uint64_t n = 0;
  while (node_.tier->GuestRoom(0) > 0) {
    ASSERT_LT(n, 1'000u);
    PutOwn(n++, 1);
  }
  // A quarter is free: more than reclaim would begin at.
  EXPECT_GE(Stats().free_segments, 7u);
  EXPECT_EQ(Stats().dropped_objects, 0u);
}

TEST_F(GuestsTest, AFullIndexHasNoPlaceForThem) {
  Node node(SmallOptions(32, kSegment, 1'000));
  const uint64_t most = node.tier->Stats().index_objects;
  uint64_t put = 0;
  for (; put < most; ++put) {
    Result<MemoryTier::Slot> slot = node.tier->AllocateGuest(
        {.oid = OidOf(put), .version = 1, .size = 1, .name = "n", .etag = ""}, kNow, 0);
    if (!slot.ok()) break;
    node.tier->Commit(slot->id, Hash64(slot->payload), 0);
  }
  EXPECT_LT(put, most);
  EXPECT_GT(put, most / 2);
}

// --- The outlet ----------------------------------------------------------------------------------

TEST_F(GuestsTest, WhatWasReadIsOfferedBeforeItsRoomIsNeeded) {
  Client client(1, node_.memory.span(), node_.plan.segments, &node_.sessions);
  OpenOutlet();
  PutOwn(0, 400);  // more than three quarters
  for (uint64_t n = 0; n < 400; n += 2) Read(client, n);
  Maintain();
  ASSERT_FALSE(given_.empty());
  ASSERT_LE(given_.size(), 4u);  // at a time
  std::set<Oid> offered;
  for (const Given& given : given_) {
    for (const LeavingRecord& record : given.records) {
      offered.insert(record.oid);
      EXPECT_EQ(record.size, kSize);
      EXPECT_EQ(record.etag, "v1");
      EXPECT_TRUE(node_.tier->Find(record.oid, record.version));
    }
  }
  EXPECT_TRUE(offered.contains(OidOf(0)));  // the oldest
  for (uint64_t n = 1; n < 400; n += 2) EXPECT_FALSE(offered.contains(OidOf(n))) << n;
  // They are dropped before all others.
  for (Given& given : given_) given.done();
  PutOwn(400, 100);
  EXPECT_FALSE(node_.Has(0));
  EXPECT_EQ(Stats().descended_objects, 0u);
}

// Found by reading everything twice: for a promise reclaim keeps nothing on.
TEST_F(GuestsTest, WhatWasReadAgainIsOfferedToo) {
  Client client(1, node_.memory.span(), node_.plan.segments, &node_.sessions);
  OpenOutlet();
  PutOwn(0, 400);
  for (int time = 0; time < 2; ++time) ReadAll(client, 400);
  Maintain();
  ASSERT_FALSE(given_.empty());
  EXPECT_GT(given_[0].records.size(), 14u);
  for (Given& given : given_) given.done();
  PutOwn(400, 40);
  EXPECT_TRUE(node_.Has(0));  // kept on here, as if there were no peers
}

TEST_F(GuestsTest, NothingIsOfferedWhereNobodyHasRoom) {
  Client client(1, node_.memory.span(), node_.plan.segments, &node_.sessions);
  OpenOutlet();
  room_ = 0;
  PutOwn(0, 400);
  ReadAll(client, 400);
  Maintain();
  EXPECT_TRUE(given_.empty());
  room_ = 10 * 1'000;  // two records
  Maintain();
  ASSERT_FALSE(given_.empty());
  EXPECT_EQ(given_[0].records.size(), 2u);
}

TEST_F(GuestsTest, ReclaimWaitsForNoOutlet) {
  Client client(1, node_.memory.span(), node_.plan.segments, &node_.sessions);
  OpenOutlet();
  PutOwn(0, 400);
  ReadAll(client, 400);
  Maintain();
  ASSERT_FALSE(given_.empty());
  PutOwn(400, 2'000);  // none of them is done
  for (Given& given : std::exchange(given_, {})) given.done();
  PutOwn(3'000, 500);
  Maintain();
}

TEST_F(GuestsTest, GuestsAreNotPassedOn) {
  Client client(1, node_.memory.span(), node_.plan.segments, &node_.sessions);
  OpenOutlet();
  const uint64_t guests = PutGuests();
  for (uint64_t n = 0; n < guests; ++n) Read(client, kFirstGuest + n);
  Maintain();
  EXPECT_TRUE(given_.empty());
}

// To be pulled is a read, the second one: found by thinking about what reclaim makes of it.
TEST_F(GuestsTest, WhatWasPulledDoesNotStayForThat) {
  Client client(1, node_.memory.span(), node_.plan.segments, &node_.sessions);
  OpenOutlet();
  PutOwn(0, 400);
  ReadAll(client, 400);
  Maintain();
  ASSERT_FALSE(given_.empty());
  std::vector<Oid> pulled;
  for (Given& given : given_) {
    for (const LeavingRecord& record : given.records) {
      std::vector<std::byte> into(kSize);
      ASSERT_EQ(client->Copy({record.oid, record.version, into}).code, Code::kOk);
      pulled.push_back(record.oid);
    }
    given.done();
  }
  PutOwn(400, 200);
  for (const Oid& oid : pulled) EXPECT_FALSE(node_.tier->Find(oid, 0));
  EXPECT_EQ(Stats().moved_bytes, 0u);
}

}  // namespace
}  // namespace holdfast::store
