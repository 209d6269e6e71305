// SPDX-License-Identifier: Apache-2.0
#include "planner/offers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

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

// Objects lie together by the lowest three bits of their OIDs.
class FarGroups : public FarStore {
 public:
  void Get(FarGet, std::function<void(Status, FarInfo, uint64_t)>) override {}
  void Head(const std::string&, Time, std::function<void(Result<FarInfo>)>) override {}
  void List(const std::string&, const std::string&, bool, Time,
            std::function<void(Result<FarPage>)>) override {}
  FarCounters Counters() const override { return {}; }
  bool HasPlaces() const override { return true; }
  std::optional<FarPlace> PlaceOf(const Oid& oid) const override {
    if (oid.lo % 8 == 7) return std::nullopt;
    return FarPlace{(oid.lo % 8 + 1) * 0x9e3779b97f4a7c15, 0};
  }
};

TEST(Offers, WhatComesTogetherFromFarAwayIsOfferedToOneNode) {
  Random random(32);
  Manifest m = RandomManifest(3000, random);
  Cluster c(5, 1 << 30);
  FarGroups far;
  c.placement = Placement(c.weights, &far);
  std::vector<Offer> offers;
  // A few objects: with more a node takes no more than its share, and the rest goes elsewhere.
  Bitmap asked(m.size());
  for (uint32_t i = 0; i < 150; ++i) asked.Set(i * 20);
  offers = OffersFor(m, c.placement, c.loads, asked, 1, kNoNode, kCost);
  ExpectSound(m, offers, asked, 2);
  std::map<uint64_t, std::set<NodeId>> homes;
  for (const Offer& offer : offers) {
    offer.home.ForEach([&](size_t i) {
      const Oid oid = m.oid(static_cast<uint32_t>(i));
      homes[oid.lo % 8].insert(offer.node);
      EXPECT_EQ(c.placement.PicksOf(oid).home, offer.node);
    });
  }
  ASSERT_EQ(homes.size(), 8u);
  for (const auto& [group, nodes] : homes) {
    EXPECT_EQ(nodes.size() == 1, group != 7) << group << ": those without a place are spread";
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

// A home that is known to be full passes the reservation on: to the second pick, else to where room
// is.
TEST(Offers, AFullHomePassesTheReservationOn) {
  Random random(32);
  Manifest m = RandomManifest(3000, random);
  Cluster c(4, 1 << 30);
  c.loads[1].spare_room_bytes = 5000;
  c.loads[2].spare_room_bytes = 0;
  Bitmap asked(m.size(), true);
  std::vector<Offer> offers = OffersFor(m, c.placement, c.loads, asked, 2, kNoNode);
  ExpectSound(m, offers, asked, 2);
  EXPECT_TRUE(offers[2].home.None());
  EXPECT_GT(offers[1].home_bytes, 4000u);
  EXPECT_LE(offers[1].home_bytes, 5000u);
  EXPECT_EQ(offers[0].home.Count() + offers[1].home.Count() + offers[3].home.Count(), m.size());
  for (uint32_t i = 0; i < m.size(); ++i) {
    Picks picks = c.placement.PicksOf(m.oid(i));
    if (picks.home == 0 || picks.home == 3) {
      EXPECT_TRUE(OfferOf(offers, picks.home)->home.Get(i));
    } else if (picks.second == 0 || picks.second == 3) {
      EXPECT_TRUE(offers[1].home.Get(i) || OfferOf(offers, picks.second)->home.Get(i));
    }
  }
}

// Hashing gives 16 nodes shares that differ by some per cent; the first call evens them out.
TEST(Offers, NoNodeIsTheBusiestByMuch) {
  Random random(36);
  Manifest m = RandomManifest(200'000, random);
  Cluster c(16, 1 << 30);
  std::vector<uint64_t> homes(16);
  for (uint32_t i = 0; i < m.size(); ++i)
    homes[c.placement.PicksOf(m.oid(i)).home] += m.object_bytes(i);
  uint64_t busiest = 0;
  for (const Offer& o : OffersFor(m, c.placement, c.loads, Bitmap(m.size(), true), 1, kNoNode)) {
    busiest = std::max(busiest, o.home_bytes);
  }
  EXPECT_LT(static_cast<double>(busiest), 1.03 * static_cast<double>(m.total_bytes()) / 16);
  EXPECT_LT(busiest, *std::max_element(homes.begin(), homes.end()));
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

// Later calls fill the room that is left, wherever it is. What fits nowhere is offered by its home
// in the hope of room.
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
  size_t in_hope = 0;
  for (const Offer& o : offers) {
    uint64_t room = c.loads[o.node].spare_room_bytes;
    if (room == 0) in_hope += o.home.Count();
    EXPECT_LE(o.home_bytes, room);
    reserved += o.home_bytes;
  }
  EXPECT_GT(reserved, m.total_bytes() * 99 / 100);
  EXPECT_LT(in_hope, m.size() / 100);
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
