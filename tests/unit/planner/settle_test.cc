// SPDX-License-Identifier: Apache-2.0
#include "planner/settle.h"

#include <gtest/gtest.h>

#include "tests/unit/planner/fixture.h"

namespace holdfast::planner {
namespace {

// The order of preference in the header, an object at a time and without any shortcut.
class Model {
 public:
  Model(const Manifest& manifest, const Placement& placement, NodeId reader,
        std::vector<NodeLoad> loads)
      : manifest_(manifest), placement_(placement), reader_(reader), loads_(std::move(loads)) {}

  // The element of `bids` that gets the object and whether it is a keep; -1 for nobody.
  std::pair<int, bool> Choose(uint32_t first, uint32_t i, const std::vector<NodeBids>& bids) {
    NodeId home = placement_.PicksOf(manifest_.oid(first + i)).home;
    uint64_t bytes = manifest_.object_bytes(first + i);
    int keeper = -1;
    for (int b = 0; b < static_cast<int>(bids.size()); ++b) {
      const NodeBids& bid = bids[static_cast<size_t>(b)];
      if (LoadOf(bid.node) == nullptr || !bid.keep.Get(i)) continue;
      if (keeper < 0 ||
          KeepRank(bid.node, home) < KeepRank(bids[static_cast<size_t>(keeper)].node, home))
        keeper = b;
    }
    if (keeper >= 0) return {keeper, true};
    int preferred = -1;
    int earliest = -1;
    auto finish = [&](int b) {
      const NodeBids& bid = bids[static_cast<size_t>(b)];
      NodeLoad* load = LoadOf(bid.node);
      return Near(bid, i) ? bid.near_rate.Finish(load->near_objects + 1, load->near_bytes + bytes)
                          : bid.rate.Finish(load->objects + 1, load->bytes + bytes);
    };
    auto rank = [&](int b) {
      const NodeBids& bid = bids[static_cast<size_t>(b)];
      return std::tuple(!Near(bid, i), !bid.load.Get(i), bid.node != home, finish(b), bid.node);
    };
    auto early_rank = [&](int b) {
      const NodeBids& bid = bids[static_cast<size_t>(b)];
      return std::tuple(!Near(bid, i), finish(b), bid.node);
    };
    for (int b = 0; b < static_cast<int>(bids.size()); ++b) {
      const NodeBids& bid = bids[static_cast<size_t>(b)];
      NodeLoad* load = LoadOf(bid.node);
      if (load == nullptr) continue;
      if (!bid.load.Get(i) && !(bid.spare.Get(i) && bytes <= load->spare_room_bytes)) continue;
      if (preferred < 0 || rank(b) < rank(preferred)) preferred = b;
      if (earliest < 0 || early_rank(b) < early_rank(earliest)) earliest = b;
    }
    if (preferred < 0) return {-1, false};
    Duration late = finish(preferred);
    Duration early = finish(earliest);
    int chosen = early * 120 < late * 100 && early + 100ms < late ? earliest : preferred;
    const NodeBids& bid = bids[static_cast<size_t>(chosen)];
    NodeLoad* load = LoadOf(bid.node);
    ++(Near(bid, i) ? load->near_objects : load->objects);
    (Near(bid, i) ? load->near_bytes : load->bytes) += bytes;
    if (!bid.load.Get(i)) load->spare_room_bytes -= bytes;
    return {chosen, false};
  }

  const std::vector<NodeLoad>& loads() const { return loads_; }

  static bool Near(const NodeBids& bid, uint32_t i) {
    return i < bid.near.size() && bid.near.Get(i);
  }

 private:
  NodeLoad* LoadOf(NodeId node) {
    for (NodeLoad& l : loads_) {
      if (l.node == node) return &l;
    }
    return nullptr;
  }
  std::tuple<bool, bool, NodeId> KeepRank(NodeId node, NodeId home) const {
    return {node != reader_, node != home, node};
  }

  const Manifest& manifest_;
  const Placement& placement_;
  NodeId reader_;
  std::vector<NodeLoad> loads_;
};

std::vector<NodeBids> RandomBids(NodeId nodes, const Manifest& m, const Placement& placement,
                                 uint32_t first, uint32_t count, Random& random, bool contested) {
  std::vector<NodeBids> bids;
  for (NodeId n = 0; n < nodes; ++n) {
    NodeBids b{n, RandomBitmap(count, random, 0.1), Bitmap(count), Bitmap(count), {}};
    const bool disk = random.Chance(0.5);
    if (disk) b.near = Bitmap(count);
    b.near_rate = {Duration(random.Below(200'000)), 1000 + random.Below(200'000),
                   1000 + random.Below(200'000)};
    for (uint32_t i = 0; i < count; ++i) {
      if (b.keep.Get(i)) continue;
      Picks picks = placement.PicksOf(m.oid(first + i));
      if (contested) {
        if (random.Chance(0.3)) {
          b.load.Set(i);
        } else if (random.Chance(0.3)) {
          b.spare.Set(i);
        }
      } else if (picks.home == n) {
        b.load.Set(i);
      } else if (picks.second == n) {
        b.spare.Set(i);
      }
      const bool offered = b.load.Get(i) || b.spare.Get(i);
      if (disk && offered && random.Chance(contested ? 0.1 : 0.01)) b.near.Set(i);
    }
    b.rate = {Duration(random.Below(200'000)), 1000 + random.Below(2'000'000),
              1000 + random.Below(2'000'000)};
    bids.push_back(std::move(b));
  }
  random.Shuffle(bids);
  return bids;
}

TEST(Settling, ChoosesWhatTheRulesSay) {
  Random random(21);
  for (int round = 0; round < 300; ++round) {
    const auto nodes = static_cast<NodeId>(1 + random.Below(6));
    const uint32_t first = 64 * static_cast<uint32_t>(random.Below(3));
    const uint32_t count = 1 + static_cast<uint32_t>(random.Below(400));
    Manifest m = RandomManifest(first + count, random);
    std::vector<NodeWeight> weights;
    std::vector<NodeLoad> loads;
    for (NodeId n = 0; n < nodes; ++n) {
      weights.push_back({n, 100});
      // The last node is one that the settler was not told of.
      if (n + 1 < nodes || nodes < 3)
        loads.push_back({n, random.Below(10), random.Below(1000), random.Below(10'000)});
    }
    Placement placement(weights);
    const NodeId reader = random.Chance(0.5) ? kNoNode : static_cast<NodeId>(random.Below(nodes));
    Bitmap asked = RandomBitmap(count, random, 0.9);
    std::vector<NodeBids> bids =
        RandomBids(nodes, m, placement, first, count, random, round % 2 == 0);
    if (round % 4 == 1) {
      for (NodeBids& b : bids) b.rate = {30ms, 1000, 1000};  // nobody ever wins by the margin
    }
    Settler settler(&m, &placement, reader, loads);
    Settler::Outcome out = settler.Settle(first, count, asked, bids);
    Model model(m, placement, reader, loads);
    ASSERT_EQ(out.choices.size(), bids.size());
    for (uint32_t i = 0; i < count; ++i) {
      std::pair<int, bool> want =
          asked.Get(i) ? model.Choose(first, i, bids) : std::pair(-1, false);
      for (int b = 0; b < static_cast<int>(bids.size()); ++b) {
        const NodeChoice& choice = out.choices[static_cast<size_t>(b)];
        ASSERT_EQ(choice.keep.Get(i), want == std::pair(b, true)) << round << " " << i;
        ASSERT_EQ(choice.load.Get(i), want == std::pair(b, false)) << round << " " << i;
        ASSERT_EQ(choice.near.Get(i),
                  choice.load.Get(i) && Model::Near(bids[static_cast<size_t>(b)], i));
      }
      ASSERT_EQ(out.unassigned.Get(i), asked.Get(i) && want.first < 0);
    }
    for (size_t n = 0; n < loads.size(); ++n) {
      EXPECT_EQ(settler.loads()[n].objects, model.loads()[n].objects);
      EXPECT_EQ(settler.loads()[n].bytes, model.loads()[n].bytes);
      EXPECT_EQ(settler.loads()[n].near_objects, model.loads()[n].near_objects);
      EXPECT_EQ(settler.loads()[n].near_bytes, model.loads()[n].near_bytes);
      EXPECT_EQ(settler.loads()[n].spare_room_bytes, model.loads()[n].spare_room_bytes);
    }
  }
}

// One object after the other at the best finish is the least that the last one can finish at, when
// every node may load everything, costs depend on the count alone and there is no home to prefer by
// a margin: tried against all assignments.
TEST(Settling, NoAssignmentOfAFewObjectsFinishesMuchEarlier) {
  Random random(22);
  constexpr NodeId kNodes = 3;
  constexpr uint32_t kObjects = 7;
  for (int round = 0; round < 50; ++round) {
    Manifest m = RandomManifest(kObjects, random);
    Placement placement({{0, 1}, {1, 1}, {2, 1}});
    std::vector<NodeBids> bids;
    std::vector<NodeLoad> loads;
    for (NodeId n = 0; n < kNodes; ++n) {
      // Seconds per object: the margin's 100 ms are then nothing, and its 20 % are the bound below.
      RateModel rate{Duration(random.Below(3'000'000)), 1'000'000'000 + random.Below(3'000'000'000),
                     0};
      bids.push_back({n, Bitmap(kObjects), Bitmap(kObjects, true), Bitmap(kObjects), rate});
      loads.push_back({n, 0, 0, 0});
    }
    Settler settler(&m, &placement, kNoNode, loads);
    EXPECT_TRUE(settler.Settle(0, kObjects, Bitmap(kObjects, true), bids).unassigned.None());
    auto last = [&](const std::vector<uint64_t>& objects) {
      Duration finish{};
      for (size_t n = 0; n < kNodes; ++n) {
        if (objects[n] > 0) finish = std::max(finish, bids[n].rate.Finish(objects[n], 0));
      }
      return finish;
    };
    Duration best = Duration::max();
    for (uint64_t a = 0; a <= kObjects; ++a) {
      for (uint64_t b = 0; a + b <= kObjects; ++b)
        best = std::min(best, last({a, b, kObjects - a - b}));
    }
    std::vector<uint64_t> got;
    for (const NodeLoad& l : settler.loads()) got.push_back(l.objects);
    EXPECT_LE(last(got).count(), best.count() * 6 / 5 + 100'000);
  }
}

TEST(Settling, ASlowHomeLosesOnlyWhatItCannotDeliverInTime) {
  Random random(23);
  Manifest m = RandomManifest(1000, random);
  Placement placement({{0, 1}, {1, 1}});
  std::vector<NodeBids> bids;
  for (NodeId n = 0; n < 2; ++n) {
    bids.push_back({n,
                    Bitmap(1000),
                    Bitmap(1000),
                    Bitmap(1000),
                    {10ms, n == 0 ? 10'000'000u : 1'000'000u, 0}});
    for (uint32_t i = 0; i < 1000; ++i) {
      (placement.PicksOf(m.oid(i)).home == n ? bids[n].load : bids[n].spare).Set(i);
    }
  }
  Settler settler(&m, &placement, kNoNode, {{0, 0, 0, 1 << 30}, {1, 0, 0, 1 << 30}});
  EXPECT_TRUE(settler.Settle(0, 1000, Bitmap(1000, true), bids).unassigned.None());
  // Ten times slower gets about a tenth of the other's share, and the margin more.
  EXPECT_NEAR(static_cast<double>(settler.loads()[0].objects), 1000.0 / 11, 40);
}

TEST(Settling, SpareOffersEndWithTheSpareRoom) {
  Random random(24);
  Manifest m = RandomManifest(640, random);
  Placement placement({{0, 1}, {1, 1}});
  std::vector<NodeBids> bids = {{1, Bitmap(640), Bitmap(640), Bitmap(640, true), {}}};
  RecordCost doubled{.record_bytes = [](uint64_t bytes, uint32_t) { return 2 * bytes; }};
  Settler settler(&m, &placement, kNoNode, {{0, 0, 0, 0}, {1, 0, 0, 50'000}}, doubled);
  Settler::Outcome out = settler.Settle(0, 640, Bitmap(640, true), bids);
  EXPECT_EQ(out.choices[0].load.Count() + out.unassigned.Count(), 640u);
  EXPECT_GT(out.unassigned.Count(), 0u);
  EXPECT_LE(settler.loads()[1].bytes * 2, 50'000u);
  EXPECT_GT(settler.loads()[1].bytes * 2, 48'000u);
}

// Peers send rates and bitmaps of any kind: longer, shorter, overlapping, absurd. Nothing is
// assigned twice.
TEST(Settling, HostileBidsAreHarmless) {
  Random random(25);
  Manifest m = RandomManifest(200, random);
  Placement placement({{0, 1}, {1, 1}, {2, 1}});
  std::vector<NodeBids> bids;
  for (NodeId n = 0; n < 3; ++n) {
    bids.push_back({n,
                    RandomBitmap(200, random, 0.5),
                    Bitmap(200, true),
                    Bitmap(200, true),
                    {Duration(n == 0 ? INT64_MIN : INT64_MAX), UINT64_MAX, UINT64_MAX}});
  }
  bids[1].keep = Bitmap(10, true);
  bids[2].load = Bitmap();
  Settler settler(&m, &placement, 2, {{0, 0, 0, 0}, {1, 0, 0, 0}, {2, 0, 0, 0}});
  Settler::Outcome out = settler.Settle(0, 200, Bitmap(200, true), bids);
  for (uint32_t i = 0; i < 200; ++i) {
    int given = out.unassigned.Get(i) ? 1 : 0;
    for (const NodeChoice& c : out.choices)
      given += (c.keep.Get(i) ? 1 : 0) + (c.load.Get(i) ? 1 : 0);
    EXPECT_EQ(given, 1) << i;
  }
}

}  // namespace
}  // namespace holdfast::planner
