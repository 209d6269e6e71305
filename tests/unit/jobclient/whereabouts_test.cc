// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/whereabouts.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "base/uri.h"
#include "tests/unit/jobclient/fake_world.h"

namespace holdfast::client {
namespace {

using jobclient::FakeWorld;
using snapshot::PrintOf;
using snapshot::SnapshotLog;

constexpr NodeId kNodes = 3;
const Oid kOid = OidOf("file:///objects/one");

using Frame = std::vector<std::byte>;

class WhereaboutsTest : public testing::Test {
 protected:
  WhereaboutsTest() {
    world_.AddNodes(kNodes);
    cluster_.emplace(world_.env(), world_.options());
    whereabouts_.emplace(world_.env(), &*cluster_, WhereaboutsOptions{.cluster = "holdfast"});
    world_.clock.RunFor(100ms);
  }

  static SnapshotLog NewLog() { return SnapshotLog(snapshot::ClusterHash("holdfast")); }
  // The next frame of a log in which node 1 has so many objects, and others none.
  static Frame Next(SnapshotLog* log, int64_t second, size_t objects) {
    std::vector<snapshot::NodeListing> nodes;
    for (NodeId node = 0; node < kNodes; ++node) {
      nodes.push_back({.node = node, .incarnation = 1, .answered = true});
    }
    for (size_t i = 0; i < objects; ++i) nodes[1].objects.push_back({i, 1s});
    return log->Append({second * 1'000'000}, nodes, {}, false);
  }

  // The client asks a node for the log; whichever it is answers so.
  void Answer(const wire::LogReply& reply) {
    whereabouts_->WhenReady([] {});
    ++asked_;
    for (NodeId node = 0; node < kNodes; ++node) {
      world_.Deliver(node, wire::LogReply{.id = asked_,
                                          .sequence = reply.sequence,
                                          .mark = reply.mark,
                                          .age = reply.age,
                                          .frames = Buffer::CopyOf(reply.frames.view())});
    }
    world_.clock.RunFor(10ms);
  }
  void Tell(const SnapshotLog& log, const Frame& frames, Duration age = 1s) {
    world_.clock.RunFor(100s);
    Answer({.sequence = log.sequence(),
            .mark = log.mark(),
            .age = age,
            .frames = Buffer::CopyOf(frames)});
  }
  const SnapshotLog& known() const { return whereabouts_->log(); }

  FakeWorld world_;
  std::optional<ClusterView> cluster_;
  std::optional<Whereabouts> whereabouts_;
  uint64_t asked_ = 0;
};

// Each time it was got counted as something known before: the second one outlived the snapshot.
TEST_F(WhereaboutsTest, WhatWasGotTwiceIsForgottenWithTheNextSnapshot) {
  for (int times = 1; times <= 3; ++times) {
    SnapshotLog log = NewLog();
    Tell(log, Next(&log, 1'000 * times, 0));
    for (int i = 0; i < times; ++i) {
      world_.clock.RunFor(1s);
      whereabouts_->WentFar(kOid, 1, 10ms, 40);
    }
    EXPECT_TRUE(known().known().At(PrintOf(kOid), 1).has_value());
    const Frame next = Next(&log, 1'000 * times + 200, 1);
    Tell(log, next);
    ASSERT_EQ(known().mark(), log.mark());
    EXPECT_FALSE(known().known().At(PrintOf(kOid), 1).has_value()) << times;
  }
}

TEST_F(WhereaboutsTest, OfNodesWithoutALogTheNextIsAskedAtOnce) {
  Answer({.sequence = 0});
  Answer({.sequence = 0});
  SnapshotLog log = NewLog();
  const Frame frame = Next(&log, 1'000, 5);
  Answer({.sequence = 1, .mark = log.mark(), .age = 1s, .frames = Buffer::CopyOf(frame)});
  EXPECT_EQ(known().known().size(), 5u);
}

// The collector's clock was ahead, its log was lost, and a new one begins by the right time.
TEST_F(WhereaboutsTest, ALogThatWasBegunAnewByAnEarlierClockIsTaken) {
  SnapshotLog lost = NewLog(), anew = NewLog();
  Frame all = Next(&lost, 2'000'000, 5);
  const Frame more = Next(&lost, 2'000'060, 6);
  all.insert(all.end(), more.begin(), more.end());
  Tell(lost, all);
  ASSERT_EQ(known().sequence(), 2u);
  const Frame frame = Next(&anew, 1'000, 9);
  Tell(anew, frame, 300s);  // older than what is here: that node was away
  EXPECT_EQ(known().mark(), lost.mark());
  Tell(anew, frame);
  EXPECT_EQ(known().mark(), anew.mark());
  EXPECT_EQ(known().known().size(), 9u);
  Tell(lost, all, 900s);  // a node that has missed all of it
  EXPECT_EQ(known().mark(), anew.mark());
}

TEST_F(WhereaboutsTest, ANodeThatIsBehindTakesNothingBack) {
  SnapshotLog log = NewLog();
  const Frame first = Next(&log, 1'000, 5);
  const SnapshotLog behind = log;
  Tell(log, first);
  Tell(log, Next(&log, 1'060, 6));
  ASSERT_EQ(known().sequence(), 2u);
  Tell(behind, first, 0s);  // it was stopped, and got that frame only now
  EXPECT_EQ(known().sequence(), 2u);
}

}  // namespace
}  // namespace holdfast::client
