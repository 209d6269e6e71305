// SPDX-License-Identifier: Apache-2.0
// A log's state as values that compare, and short ways to say listings.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <utility>
#include <vector>

#include "snapshot/log.h"

namespace holdfast::snapshot {

constexpr uint64_t kCluster = 0x1234;
// A day of the year 2025.
constexpr Stamp kStart{1'760'000'000'000'000};
inline Stamp After(Duration passed) { return {kStart.us + passed.count()}; }

using Frame = std::vector<std::byte>;

struct Seen {
  bool held = false;
  bool kept = false;
  int64_t written_us = 0;
  friend bool operator==(const Seen&, const Seen&) = default;
};
using Sightings = std::map<std::pair<NodeId, Print>, Seen>;

inline Sightings SightingsOf(const SnapshotLog& log) {
  Sightings all;
  log.known().ForEach([&](Print print, const Sighting& s) {
    all[{s.node, print}] = {s.held, s.ring == Ring::kKept, s.written.us};
  });
  return all;
}

inline void ExpectSameEvidence(const RingEvidence& a, const RingEvidence& b) {
  for (const Ring ring : {Ring::kFresh, Ring::kKept}) {
    const auto x = a[ring].Cells(), y = b[ring].Cells();
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(x[i].kept, y[i].kept) << i;
      ASSERT_EQ(x[i].lost, y[i].lost) << i;
      ASSERT_EQ(x[i].lost_squares, y[i].lost_squares) << i;
    }
  }
}

inline void ExpectSameNodes(const SnapshotLog& a, const SnapshotLog& b) {
  ASSERT_EQ(a.nodes().size(), b.nodes().size());
  for (size_t i = 0; i < a.nodes().size(); ++i) {
    const SnapshotLog::Node &x = a.nodes()[i], &y = b.nodes()[i];
    EXPECT_EQ(x.node, y.node);
    EXPECT_EQ(x.incarnation, y.incarnation);
    EXPECT_EQ(x.answered, y.answered);
    EXPECT_EQ(x.seen, y.seen);
    EXPECT_EQ(x.objects, y.objects);
    const Stamp *s = a.known().SeenAt(x.node), *t = b.known().SeenAt(x.node);
    ASSERT_EQ(s == nullptr, t == nullptr);
    if (s != nullptr) {
      EXPECT_EQ(*s, *t);
    }
  }
}

inline void ExpectSame(const SnapshotLog& a, const SnapshotLog& b) {
  EXPECT_EQ(a.sequence(), b.sequence());
  EXPECT_EQ(a.stamp(), b.stamp());
  EXPECT_EQ(a.added(), b.added());
  EXPECT_EQ(a.removed(), b.removed());
  ExpectSameNodes(a, b);
  ExpectSameEvidence(a.evidence(), b.evidence());
  EXPECT_EQ(SightingsOf(a), SightingsOf(b));
}

inline NodeListing Listing(NodeId node, std::vector<HeldObject> objects,
                           Incarnation incarnation = 1) {
  std::sort(objects.begin(), objects.end(),
            [](const HeldObject& a, const HeldObject& b) { return a.print < b.print; });
  return {.node = node, .incarnation = incarnation, .objects = std::move(objects)};
}
inline NodeListing Absent(NodeId node) { return {.node = node, .answered = false}; }

}  // namespace holdfast::snapshot
