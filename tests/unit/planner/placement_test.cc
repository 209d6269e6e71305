// SPDX-License-Identifier: Apache-2.0
#include "planner/placement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/units.h"

namespace holdfast::planner {
namespace {

std::vector<NodeWeight> Equal(NodeId count, uint64_t weight = 64 * 1024) {
  std::vector<NodeWeight> nodes;
  for (NodeId n = 0; n < count; ++n) nodes.push_back({n, weight});
  return nodes;
}

Oid InSlot(uint32_t slot) { return {uint64_t{slot} << 48, 0}; }

Oid ChecksumOf(const Placement& placement) {
  std::vector<NodeId> table;
  for (uint32_t slot = 0; slot < Placement::kSlots; ++slot) {
    Picks picks = placement.PicksOf(InSlot(slot));
    table.push_back(picks.home);
    table.push_back(picks.second);
  }
  return Hash128(std::as_bytes(std::span(table)));
}

TEST(Placement, NobodyHasWeight) {
  for (const Placement& p : {Placement(), Placement(Equal(0)), Placement({{3, 0}, {4, 0}})}) {
    EXPECT_EQ(p.PicksOf(InSlot(7)).home, kNoNode);
    EXPECT_EQ(p.PicksOf(InSlot(7)).second, kNoNode);
  }
}

TEST(Placement, OneNodeIsEveryHomeAndNobodyIsSecond) {
  Placement p({{2, 0}, {9, 1}});
  for (uint32_t slot = 0; slot < Placement::kSlots; slot += 1000) {
    EXPECT_EQ(p.PicksOf(InSlot(slot)).home, 9);
    EXPECT_EQ(p.PicksOf(InSlot(slot)).second, kNoNode);
  }
}

// Every pick of every machine, now and later, follows from these bytes: a change of them moves the
// homes of a cluster.
TEST(Placement, TheTableIsTheSameEverywhere) {
  EXPECT_EQ(ToHex(ChecksumOf(Placement(Equal(8)))), "8d9ec7f017322d0eabcbb85fb683acfc");
  EXPECT_EQ(
      ToHex(ChecksumOf(Placement({{1, 64'000'000'000}, {2, 32'000'000'000}, {5, 1'000'000}}))),
      "be63830ad15f9e26dd4c4d25da9044c9");
}

TEST(Placement, TheOrderOfTheListAndTheUnitOfTheWeightsDoNotMatter) {
  Placement a({{1, 100}, {2, 200}, {3, 300}});
  Placement b({{3, 300}, {1, 100}, {2, 200}});
  Placement c({{1, 100 * kMiB}, {2, 200 * kMiB}, {3, 300 * kMiB}});
  EXPECT_EQ(ChecksumOf(a), ChecksumOf(b));
  EXPECT_EQ(ChecksumOf(a), ChecksumOf(c));
}

TEST(Placement, SharesFollowTheWeights) {
  const std::vector<NodeWeight> nodes = {{0, 100}, {1, 200}, {2, 300}, {3, 400}, {4, 0}};
  Placement p(nodes);
  Random random(1);
  std::map<NodeId, double> homes;
  std::map<NodeId, double> seconds;
  constexpr int kObjects = 1'000'000;
  for (int i = 0; i < kObjects; ++i) {
    Picks picks = p.PicksOf({random.Next(), random.Next()});
    ASSERT_NE(picks.home, picks.second);
    homes[picks.home] += 1.0 / kObjects;
    seconds[picks.second] += 1.0 / kObjects;
  }
  for (const NodeWeight& n : nodes) {
    EXPECT_NEAR(homes[n.node], static_cast<double>(n.weight) / 1000, 0.006) << n.node;
    // Second is who would be home without the home: sum over the others of w_h / W · w / (W - w_h).
    double second = 0;
    for (const NodeWeight& h : nodes) {
      if (h.node == n.node) continue;
      double w = static_cast<double>(h.weight) / 1000;
      second += w * static_cast<double>(n.weight) / 1000 / (1 - w);
    }
    EXPECT_NEAR(seconds[n.node], second, 0.006) << n.node;
  }
}

TEST(Placement, SixtyFourNodesAreBalanced) {
  Placement p(Equal(64));
  std::map<NodeId, int> homes;
  for (uint32_t slot = 0; slot < Placement::kSlots; ++slot) ++homes[p.PicksOf(InSlot(slot)).home];
  ASSERT_EQ(homes.size(), 64u);
  for (const auto& [node, slots] : homes) EXPECT_NEAR(slots, 1024, 4 * 32) << node;
}

// The homes of a node that leaves go to their second pick, and no other home moves; so it is when a
// node joins.
TEST(Placement, OnlyTheHomesOfWhoLeavesMove) {
  Placement before(Equal(8));
  std::vector<NodeWeight> nodes = Equal(8);
  nodes.erase(nodes.begin() + 3);
  Placement after(nodes);
  int moved = 0;
  for (uint32_t slot = 0; slot < Placement::kSlots; ++slot) {
    Picks was = before.PicksOf(InSlot(slot));
    Picks is = after.PicksOf(InSlot(slot));
    if (was.home == 3) {
      EXPECT_EQ(is.home, was.second);
      ++moved;
    } else {
      EXPECT_EQ(is.home, was.home);
      if (was.second != 3) {
        EXPECT_EQ(is.second, was.second);
      }
    }
  }
  EXPECT_NEAR(moved, Placement::kSlots / 8.0, 400);
}

// A node that grows takes homes and loses none.
TEST(Placement, AGrowingNodeOnlyGains) {
  std::vector<NodeWeight> nodes = Equal(8, 1000);
  Placement before(nodes);
  nodes[5].weight = 1100;
  Placement after(nodes);
  int moved = 0;
  for (uint32_t slot = 0; slot < Placement::kSlots; ++slot) {
    Picks was = before.PicksOf(InSlot(slot));
    Picks is = after.PicksOf(InSlot(slot));
    if (is.home == was.home) continue;
    EXPECT_EQ(is.home, 5);
    ++moved;
  }
  EXPECT_NEAR(moved, Placement::kSlots * (1100.0 / 8100 - 1.0 / 8), 200);
}

TEST(Placement, WeightsThatDifferByAnyFactorAreRanked) {
  Placement p({{0, 1}, {1, uint64_t{1} << 62}, {2, 5}});
  for (uint32_t slot = 0; slot < Placement::kSlots; slot += 100)
    EXPECT_EQ(p.PicksOf(InSlot(slot)).home, 1);
}

}  // namespace
}  // namespace holdfast::planner
