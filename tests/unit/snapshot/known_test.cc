// SPDX-License-Identifier: Apache-2.0
#include "snapshot/known.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <utility>

#include "base/random.h"

namespace holdfast::snapshot {
namespace {

constexpr Print kPrints = Print{1} << 40;

struct Seen {
  bool held;
  int64_t us;
  friend bool operator==(const Seen&, const Seen&) = default;
};
using Model = std::map<std::pair<Print, NodeId>, Seen>;

void ExpectFinds(const Known& known, const Model& model, Print print) {
  std::array<Sighting, Known::kMost> into;
  known.Prefetch(print);
  const size_t found = known.Find(print, into);
  auto it = model.lower_bound({print, 0});
  size_t expected = 0;
  for (; expected < Known::kMost && it != model.end() && it->first.first == print; ++it) {
    ASSERT_LT(expected, found) << print;
    EXPECT_EQ(into[expected].node, it->first.second);
    EXPECT_EQ((Seen{into[expected].held, into[expected].written.us}), it->second);
    ++expected;
  }
  EXPECT_EQ(found, expected) << print;
  for (NodeId node = 0; node < 10; ++node) {
    const auto one = known.At(print, node);
    const auto there = model.find({print, node});
    ASSERT_EQ(one.has_value(), there != model.end()) << print;
    if (!one) continue;
    EXPECT_EQ(one->node, node);
    EXPECT_EQ((Seen{one->held, one->written.us}), there->second);
  }
}

void ExpectSame(const Known& known, const Model& model) {
  Model all;
  known.ForEach([&](Print print, const Sighting& s) {
    EXPECT_TRUE(all.emplace(std::pair(print, s.node), Seen{s.held, s.written.us}).second);
  });
  EXPECT_EQ(all, model);
  EXPECT_EQ(known.size(), model.size());
}

TEST(KnownTest, NothingIsKnownAtFirst) {
  Known known;
  std::array<Sighting, Known::kMost> into;
  EXPECT_EQ(known.Find(5, into), 0u);
  EXPECT_FALSE(known.Erase(5, 1));
  known.EraseNode(1);
  known.Prefetch(5);
  EXPECT_EQ(known.SeenAt(1), nullptr);
  EXPECT_EQ(known.size(), 0u);
}

// Its key would be that of an empty slot, were it not for the mark of used ones.
TEST(KnownTest, PrintZeroOnNodeZero) {
  Known known;
  Model model;
  known.Add(0, {.node = 0, .written = {0}});
  model[{0, 0}] = {false, 0};
  ExpectSame(known, model);
  ExpectFinds(known, model, 0);
  ExpectFinds(known, model, 1);
  EXPECT_TRUE(known.Erase(0, 0));
  EXPECT_FALSE(known.Erase(0, 0));
  EXPECT_EQ(known.size(), 0u);
}

TEST(KnownTest, LowerNodesFirstAndAtMostFour) {
  Known known;
  Model model;
  for (NodeId node : std::array<NodeId, 5>{9, 3, 0xfffe, 0, 7}) {
    known.Add(kPrints - 1, {.node = node, .held = node == 3, .written = {node}});
    model[{kPrints - 1, node}] = {node == 3, node};
  }
  ExpectFinds(known, model, kPrints - 1);
  known.Add(kPrints - 1, {.node = 0, .held = true, .written = {-77}});
  model[{kPrints - 1, 0}] = {true, -77};
  ExpectSame(known, model);
  ExpectFinds(known, model, kPrints - 1);
  ExpectFinds(known, model, kPrints - 2);
}

// Random histories over few prints (so that the same ones come again), spread and crowded ones.
TEST(KnownTest, IsAMapOfSightings) {
  struct Case {
    Print first, step;
    uint64_t count;
  };
  for (const Case& c : {Case{0, 1, 3'000}, Case{kPrints - 4'000, 1, 4'000},
                        Case{7, kPrints / 5'001, 5'000}, Case{1, Print{1} << 20, 2'000}}) {
    Random random(c.count);
    Known known;
    Model model;
    auto any = [&] { return c.first + c.step * random.Below(c.count); };
    for (int i = 0; i < 60'000; ++i) {
      const Print print = any();
      const auto node = static_cast<NodeId>(random.Below(6));
      // Growing for a while, then shrinking.
      if (random.Below(10) < (i % 20'000 < 12'000 ? 8u : 2u)) {
        const Seen seen{random.Below(2) == 0, static_cast<int64_t>(random.Next() >> 8)};
        known.Add(print, {.node = node, .held = seen.held, .written = {seen.us}});
        model[{print, node}] = seen;
      } else {
        EXPECT_EQ(known.Erase(print, node), model.erase({print, node}) == 1);
      }
      if (i % 64 == 0) ExpectFinds(known, model, any());
      if (i % 9'000 == 8'999) {
        known.EraseNode(2);
        std::erase_if(model, [](const auto& item) { return item.first.second == 2; });
        ExpectSame(known, model);
      }
    }
    ExpectSame(known, model);
    for (uint64_t i = 0; i < c.count; ++i) ExpectFinds(known, model, c.first + c.step * i);
  }
}

// Neighbours at the end of the table, where there is no room after them.
TEST(KnownTest, CrowdsAtTheEndOfTheTableMakeRoom) {
  Known known;
  Model model;
  for (Print print = kPrints - 3'000; print < kPrints; ++print) {
    known.Add(print, {.node = 1, .written = {static_cast<int64_t>(print)}});
    model[{print, 1}] = {false, static_cast<int64_t>(print)};
  }
  ExpectSame(known, model);
  for (const auto& [key, seen] : model) ExpectFinds(known, model, key.first);
  for (Print print = kPrints - 3'000; print < kPrints; print += 2) {
    EXPECT_TRUE(known.Erase(print, 1));
    model.erase({print, 1});
  }
  ExpectSame(known, model);
}

// At any size, whether it grows or shrinks.
TEST(KnownTest, TakesAtMost24BytesAnObject) {
  Random random(1);
  std::vector<Print> prints(300'000);
  for (Print& print : prints) print = random.Next() >> 24;
  Known known;
  auto expect_small = [&] {
    if (known.size() >= 4'000) {
      ASSERT_LE(known.memory_bytes(), 24 * known.size()) << known.size();
    }
  };
  for (Print print : prints) {
    known.Add(print, {.node = static_cast<NodeId>(print % 8), .written = {1}});
    expect_small();
  }
  for (Print print : prints) {
    known.Erase(print, static_cast<NodeId>(print % 8));
    known.Fit();
    expect_small();
  }
  EXPECT_EQ(known.size(), 0u);
  known.Reserve(100'000);
  for (size_t i = 0; i < 100'000; ++i) known.Add(prints[i], {.node = 1, .written = {1}});
  EXPECT_LE(known.memory_bytes(), 24 * known.size());
}

TEST(KnownTest, IsVisitedInTheOrderOfPrintsAndNodes) {
  Random random(3);
  Known known;
  for (int i = 0; i < 5'000; ++i) {
    known.Add(random.Next() >> 24, {.node = 1, .written = {i}});
    known.Add(random.Below(2'000), {.node = static_cast<NodeId>(random.Below(5)), .written = {i}});
  }
  std::vector<std::pair<Print, NodeId>> visited;
  known.ForEach([&](Print print, const Sighting& s) { visited.emplace_back(print, s.node); });
  EXPECT_EQ(visited.size(), known.size());
  EXPECT_TRUE(std::is_sorted(visited.begin(), visited.end()));
}

TEST(KnownTest, WhenNodesWereSeen) {
  Known known;
  known.SetSeen(0xfffe, {-5});
  known.SetSeen(3, {0});
  known.Add(1, {.node = 3, .written = {}});
  ASSERT_NE(known.SeenAt(3), nullptr);
  EXPECT_EQ(known.SeenAt(3)->us, 0);
  EXPECT_EQ(known.SeenAt(0xfffe)->us, -5);
  EXPECT_EQ(known.SeenAt(4), nullptr);
  EXPECT_EQ(known.SeenAt(kNoNode), nullptr);
  known.EraseNode(3);
  EXPECT_EQ(known.SeenAt(3), nullptr);
  EXPECT_EQ(known.size(), 0u);
  known.Clear();
  EXPECT_EQ(known.SeenAt(0xfffe), nullptr);
}

}  // namespace
}  // namespace holdfast::snapshot
