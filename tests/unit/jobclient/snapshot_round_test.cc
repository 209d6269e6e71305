// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/snapshot_round.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/random.h"

namespace holdfast::client {
namespace {

using snapshot::AgeCells;
using snapshot::Ring;
using snapshot::SurvivalCurve;

template <typename T>
Buffer ColumnOf(const std::vector<T>& values) {
  return Buffer::CopyOf(std::as_bytes(std::span(values)));
}

// A node whose objects live exponentially as long as no promise holds them, two hours in the mean in
// the fresh ring, where they stay for twice as long in the mean unless they are evicted, and twelve in
// the kept one, and are replaced at once; and its snapshots, every ten minutes.
class Churn {
 public:
  static constexpr Duration kPeriod = 10min;
  static constexpr Duration kLate = 30min;

  explicit Churn(Duration fresh_life = 2h) : fresh_life_(fresh_life) {
    for (int i = 0; i < 10'000; ++i) objects_.push_back({random_.Next(), Duration(0)});
  }

  void RunFor(Duration time) {
    for (Duration end = now_ + time; now_ < end;) {
      now_ += kPeriod;
      for (Object& object : objects_) Age(&object);
      Snapshot();
    }
  }
  // A share of the objects is promised for so long; their ages begin anew when that is over.
  void Hold(double share, Duration time) {
    for (Object& object : objects_) {
      if (random_.Chance(share)) object.held_until = now_ + time;
    }
  }
  void Drop(double share) {
    std::erase_if(objects_, [&](const Object&) { return random_.Chance(share); });
  }
  // The chance to live for so long, in this ring: from the load on, or from an age at which many have
  // come to the kept one.
  double Curve(Ring ring, Duration time) const {
    const Duration from = ring == Ring::kKept ? kLate : Duration(0);
    return SurvivalCurve(log_.evidence()[ring], {}).Mean(from + time, from);
  }
  double Truth(Ring ring, Duration age) const { return std::exp(-Hours(age) / MeanLife(ring)); }

 private:
  struct Object {
    uint64_t oid_hi = 0;
    Duration age{};
    Duration held_until{};
    Ring ring = Ring::kFresh;
  };
  double MeanLife(Ring ring) const { return ring == Ring::kFresh ? Hours(fresh_life_) : 12; }
  static double Hours(Duration d) { return static_cast<double>(d.count()) / 3.6e9; }

  void Age(Object* object) {
    if (object->held_until > Duration(0)) {
      object->age += kPeriod;
      if (object->held_until <= now_) *object = {.oid_hi = object->oid_hi};
      return;
    }
    Duration left = kPeriod;
    while (true) {
      const Duration lives = After(MeanLife(object->ring)), moves = After(2 * Hours(fresh_life_));
      const bool goes_on = object->ring == Ring::kFresh && moves < lives;
      const Duration next = goes_on ? moves : lives;
      if (next >= left) break;
      left -= next;
      object->age += next;
      const uint32_t cell = AgeCells::CellOf(object->age);
      if (goes_on) {
        ++moved_[cell];
        object->ring = Ring::kKept;
      } else {
        ++evicted_[static_cast<size_t>(object->ring) * AgeCells::kCells + cell];
        *object = {.oid_hi = random_.Next()};
      }
    }
    object->age += left;
  }
  Duration After(double mean_hours) {
    return Duration(static_cast<int64_t>(random_.Exponential(3.6e9 * mean_hours)));
  }

  void Snapshot() {
    std::vector<uint64_t> prints, held((objects_.size() + 63) / 64), kept(held.size());
    std::vector<uint32_t> ages;
    for (const Object& object : objects_) {
      if (object.held_until > Duration(0)) held[prints.size() / 64] |= 1ull << prints.size() % 64;
      if (object.ring == Ring::kKept) kept[prints.size() / 64] |= 1ull << prints.size() % 64;
      prints.push_back(object.oid_hi);
      ages.push_back(static_cast<uint32_t>(object.age.count() / 1000));
    }
    Listings listings;
    listings.emplace(1, wire::SnapshotReply{.id = 1,
                                            .incarnation = 7,
                                            .prints = ColumnOf(prints),
                                            .ages = ColumnOf(ages),
                                            .held = ColumnOf(held),
                                            .kept = ColumnOf(kept),
                                            .evicted = ColumnOf(evicted_),
                                            .evicted_squares = ColumnOf(evicted_),
                                            .moved = ColumnOf(moved_)});
    std::fill(evicted_.begin(), evicted_.end(), 0);
    std::fill(moved_.begin(), moved_.end(), 0);
    ASSERT_TRUE(MakeFrame({1}, listings, {now_.count()}, false, &log_).ok());
  }

  const Duration fresh_life_;
  Random random_{5};
  Duration now_ = 1000h;
  std::vector<Object> objects_;
  std::vector<uint64_t> evicted_ = std::vector<uint64_t>(snapshot::kRings * AgeCells::kCells);
  std::vector<uint64_t> moved_ = std::vector<uint64_t>(AgeCells::kCells);
  snapshot::SnapshotLog log_{1};
};

void ExpectTrue(const Churn& churn, const char* when) {
  for (const Ring ring : {Ring::kFresh, Ring::kKept}) {
    for (const Duration age : {Duration(10min), Duration(1h), Duration(2h)}) {
      EXPECT_NEAR(churn.Curve(ring, age), churn.Truth(ring, age), 0.02)
          << when << ", " << FormatDuration(age) << (ring == Ring::kKept ? ", kept" : ", fresh");
    }
  }
}

TEST(MakeFrameTest, LearnsHowLongObjectsLive) {
  Churn churn;
  churn.RunFor(20h);
  ExpectTrue(churn, "after 20 h");
}

// The many that came and went in between were taken for lives of the kept ring that had not ended.
TEST(MakeFrameTest, AFreshRingThatIsSoonPassedTellsNothingOfTheKeptOne) {
  Churn churn(2min);
  churn.RunFor(20h);
  ExpectTrue(churn, "after 20 h");
}

// What became held was taken for lives that had ended and not been told of.
TEST(MakeFrameTest, PromisesTellNothingOfHowLongObjectsLive) {
  Churn churn;
  churn.RunFor(20h);
  churn.Hold(0.5, 1h);
  churn.RunFor(Churn::kPeriod);
  ExpectTrue(churn, "promised");
  churn.RunFor(3h);
  ExpectTrue(churn, "the promises are over");
  for (int job = 0; job < 10; ++job) {
    churn.Hold(0.5, 15min);
    churn.RunFor(30min);
  }
  ExpectTrue(churn, "after ten jobs");
}

TEST(MakeFrameTest, WhatIsDroppedByNameTellsNothingOfHowLongObjectsLive) {
  Churn churn;
  churn.RunFor(20h);
  churn.Drop(0.9);
  churn.RunFor(Churn::kPeriod);
  ExpectTrue(churn, "dropped");
  churn.RunFor(3h);
  ExpectTrue(churn, "later");
}

TEST(MakeFrameTest, RefusesMoreNodesThanALogCanHave) {
  snapshot::SnapshotLog log(1);
  std::vector<NodeId> nodes(snapshot::kMaxNodes + 1);
  for (size_t i = 0; i < nodes.size(); ++i) nodes[i] = static_cast<NodeId>(i);
  Listings one;
  one.emplace(1, wire::SnapshotReply{.id = 1, .incarnation = 1});
  const Status status = MakeFrame(nodes, one, {1'000'000}, true, &log).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("4097"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace holdfast::client
