// SPDX-License-Identifier: Apache-2.0
#include "planner/offers.h"

#include <gtest/gtest.h>

#include "tests/unit/planner/fixture.h"

namespace holdfast::planner {
namespace {

uint64_t RecordBytes(uint64_t object_bytes, uint32_t name_bytes) {
  return object_bytes + name_bytes;
}
constexpr RecordCost kCost = {.record_bytes = RecordBytes, .name_bytes = 100};

struct Cluster {
  std::vector<NodeWeight> weights;
  std::vector<NodeLoad> loads;
  Placement placement;

  Cluster(NodeId nodes, uint64_t room) {
    for (NodeId n = 0; n < nodes; ++n) {
      weights.push_back({n, 1000});
      loads.push_back({n, 0, 0, room});
    }
    placement = Placement(weights);
  }
};

const Offer* OfferOf(const std::vector<Offer>& offers, NodeId node) {
  for (const Offer& o : offers) {
    if (o.node == node) return &o;
  }
  return nullptr;
}

// What holds of every call: offers are about what is asked, reserving ones are a subset and unique,
// and bytes are theirs.
void ExpectSound(const Manifest& m, const std::vector<Offer>& offers, const Bitmap& asked,
                 size_t max_bids) {
  for (uint32_t i = 0; i < m.size(); ++i) {
    size_t bids = 0;
    size_t homes = 0;
    for (const Offer& o : offers) {
      bids += o.offer.Get(i) ? 1 : 0;
      homes += o.home.Get(i) ? 1 : 0;
      ASSERT_TRUE(o.offer.Get(i) || !o.home.Get(i));
    }
    ASSERT_LE(bids, asked.Get(i) ? max_bids : 0) << i;
    ASSERT_LE(homes, 1u);
  }
}

TEST(Offers, TheFirstCallGoesToThePicks) {
  Random random(31);
  Manifest m = RandomManifest(3000, random);
  Cluster c(5, 1 << 30);
  Bitmap asked = RandomBitmap(m.size(), random, 0.7);
  std::vector<Offer> offers = OffersFor(m, c.placement, c.loads, asked, 1, 2, kCost);
  ASSERT_EQ(offers.size(), 5u);
  ExpectSound(m, offers, asked, 3);
  for (const Offer& o : offers) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < m.size(); ++i) {
      Picks picks = c.placement.PicksOf(m.oid(i));
      EXPECT_EQ(o.offer.Get(i),
                asked.Get(i) && (picks.home == o.node || picks.second == o.node || o.node == 2));
      EXPECT_EQ(o.home.Get(i), asked.Get(i) && picks.home == o.node);
      if (o.home.Get(i)) bytes += kCost.Of(m.object_bytes(i));
    }
    EXPECT_EQ(o.home_bytes, bytes);
  }
  std::vector<NodeLoad> after = AfterOffers(c.loads, offers);
  for (size_t n = 0; n < 5; ++n)
    EXPECT_EQ(after[n].spare_room_bytes, (1u << 30) - offers[n].home_bytes);
}

// A home that is known to be full passes the reservation to the second pick; when both are full the
// home is asked anyhow.
TEST(Offers, AFullHomePassesTheReservationOn) {
  Random random(32);
  Manifest m = RandomManifest(3000, random);
  Cluster c(4, 1 << 30);
  c.loads[1].spare_room_bytes = 5000;
  c.loads[2].spare_room_bytes = 0;
  Bitmap asked(m.size(), true);
  std::vector<Offer> offers = OffersFor(m, c.placement, c.loads, asked, 1, kNoNode);
  ExpectSound(m, offers, asked, 2);
  uint64_t at_one = 0;
  for (uint32_t i = 0; i < m.size(); ++i) {
    Picks picks = c.placement.PicksOf(m.oid(i));
    EXPECT_TRUE(OfferOf(offers, picks.home)->offer.Get(i));
    EXPECT_TRUE(OfferOf(offers, picks.second)->offer.Get(i));
    bool full_pair =
        (picks.home == 1 && picks.second == 2) || (picks.home == 2 && picks.second == 1);
    if (picks.home == 2 && !full_pair) {
      EXPECT_TRUE(OfferOf(offers, picks.second)->home.Get(i));
    }
    if (picks.home == 0 || picks.home == 3) {
      EXPECT_TRUE(OfferOf(offers, picks.home)->home.Get(i));
    }
    if (OfferOf(offers, 1)->home.Get(i) && picks.second == 1) at_one += m.object_bytes(i);
  }
  EXPECT_LE(OfferOf(offers, 1)->home_bytes, 5000u);
  EXPECT_LE(at_one, 5000u);
}

TEST(Offers, ADeadHomeIsReplacedByTheSecondPick) {
  Random random(33);
  Manifest m = RandomManifest(3000, random);
  Cluster c(4, 1 << 30);
  c.loads.erase(c.loads.begin() + 2);
  Bitmap asked(m.size(), true);
  std::vector<Offer> offers = OffersFor(m, c.placement, c.loads, asked, 1, 2);
  ExpectSound(m, offers, asked, 2);
  for (uint32_t i = 0; i < m.size(); ++i) {
    Picks picks = c.placement.PicksOf(m.oid(i));
    EXPECT_TRUE(OfferOf(offers, picks.home == 2 ? picks.second : picks.home)->home.Get(i));
  }
}

// Later calls fill the room that is left, wherever it is, and ask nobody who has none.
TEST(Offers, ALaterCallGoesWhereRoomIsLeft) {
  Random random(34);
  Manifest m = RandomManifest(4000, random);
  Cluster c(8, 0);
  c.loads[3].spare_room_bytes = 600'000;
  c.loads[6].spare_room_bytes = 900'000;
  c.loads[7].spare_room_bytes = 700'000;
  ASSERT_LT(m.total_bytes(), 2'150'000u);
  Bitmap asked(m.size(), true);
  std::vector<Offer> offers = OffersFor(m, c.placement, c.loads, asked, 2, 0);
  ExpectSound(m, offers, asked, 2);
  uint64_t reserved = 0;
  for (const Offer& o : offers) {
    uint64_t room = c.loads[o.node].spare_room_bytes;
    if (room == 0) {
      EXPECT_TRUE(o.offer.None()) << o.node;
    }
    EXPECT_LE(o.home_bytes, room);
    reserved += o.home_bytes;
  }
  EXPECT_GT(reserved, m.total_bytes() * 99 / 100);
}

TEST(Offers, WithoutRoomAnywhereALaterCallIsAsTheFirst) {
  Random random(35);
  Manifest m = RandomManifest(100, random);
  Cluster c(3, 0);
  std::vector<Offer> first = OffersFor(m, c.placement, c.loads, Bitmap(100, true), 1, kNoNode);
  std::vector<Offer> later = OffersFor(m, c.placement, c.loads, Bitmap(100, true), 2, kNoNode);
  for (size_t n = 0; n < 3; ++n) {
    EXPECT_EQ(first[n].offer, later[n].offer);
    EXPECT_EQ(first[n].home, later[n].home);
  }
  EXPECT_TRUE(OffersFor(m, c.placement, {}, Bitmap(100, true), 1, kNoNode).empty());
}

}  // namespace
}  // namespace holdfast::planner
