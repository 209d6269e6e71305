// SPDX-License-Identifier: Apache-2.0
// What a home remembers of records that full nodes gave to peers.
#include "cached/lodgings.h"

#include <gtest/gtest.h>

#include "cached/home.h"
#include "tests/unit/cached/node_fixture.h"

namespace holdfast::cached {
namespace {

using wire::Verdict;

NodeOptions FourNodes() {
  NodeOptions options;
  for (NodeId node = 0; node < 4; ++node)
    options.members.push_back({node, "tcp://node-" + std::to_string(node)});
  options.max_planning_bytes = 16 * 10 * Lodgings::kBytes;  // room for ten
  return options;
}

wire::Lodged LodgedOf(const ObjectKey& key) {
  wire::Lodged message{.oids = Buffer(16), .versions = Buffer(8)};
  StoreAs(message.oids.data(), key.oid.hi);
  StoreAs(message.oids.data() + 8, key.oid.lo);
  StoreAs(message.versions.data(), key.version);
  return message;
}

class LodgingsTest : public testing::Test {
 protected:
  void SetUp() override {
    for (NodeId node = 1; node < 4; ++node) Greet(node, 10u + node);
  }
  void Greet(NodeId node, Incarnation incarnation) {
    membership_.OnHello(50 + node,
                        {.cluster = "holdfast", .node = node, .incarnation = incarnation});
  }
  Verdict Ask(NodeId asker, NodeId tried = kNoNode, VersionHash any = 1) {
    const ObjectKey key{key_.oid, any == 0 ? 0 : key_.version};
    const Home::Decision decision = home_.Consider(key, asker, tried);
    loader_ = decision.loader;
    return decision.verdict;
  }

  World world_{8 * kMiB, FourNodes()};
  Membership membership_{world_.context.get()};
  Home home_{world_.context.get(), &membership_};
  ObjectKey key_ = KeyOfObject(1, kSize);
  NodeId loader_ = kNoNode;
};

TEST_F(LodgingsTest, WhoAsksIsSentToWhereItLodges) {
  home_.OnLodged(2, LodgedOf(key_));
  EXPECT_EQ(Ask(1), Verdict::kLoading);
  EXPECT_EQ(loader_, 2);
  EXPECT_EQ(Ask(0), Verdict::kLoading);              // the home itself
  EXPECT_EQ(Ask(3, kNoNode, 0), Verdict::kLoading);  // whichever version there is
  EXPECT_EQ(home_.sent_to_lodgings(), 3u);
  EXPECT_EQ(home_.under_way(), 0u);  // nobody goes far
}

TEST_F(LodgingsTest, WhoWasThereInVainHasItForgotten) {
  home_.OnLodged(2, LodgedOf(key_));
  EXPECT_EQ(Ask(1), Verdict::kLoading);
  EXPECT_EQ(Ask(1, 2), Verdict::kGo);
  home_.Fetched(key_, 1, false);
  EXPECT_EQ(Ask(3), Verdict::kGo);
}

TEST_F(LodgingsTest, AHostThatAsksItselfHasNoneAnyMore) {
  home_.OnLodged(2, LodgedOf(key_));
  EXPECT_EQ(Ask(2), Verdict::kGo);
}

TEST_F(LodgingsTest, GrantsGoBefore) {
  home_.OnLodged(2, LodgedOf(key_));
  EXPECT_EQ(Ask(1, 2), Verdict::kGo);
  home_.OnLodged(3, LodgedOf(key_));
  EXPECT_EQ(Ask(2), Verdict::kLoading);
  EXPECT_EQ(loader_, 1);
}

TEST_F(LodgingsTest, ARestartedHostHasNone) {
  home_.OnLodged(2, LodgedOf(key_));
  Greet(2, 99);
  EXPECT_EQ(Ask(1), Verdict::kGo);
}

TEST_F(LodgingsTest, AreForgottenAfterAnHour) {
  home_.OnLodged(2, LodgedOf(key_));
  world_.clock.RunFor(59min);
  home_.Expire();
  EXPECT_EQ(home_.lodgings().size(), 1u);
  world_.clock.RunFor(2min);
  home_.Expire();
  EXPECT_EQ(home_.lodgings().size(), 0u);
  EXPECT_EQ(home_.memory_bytes(), 0u);
}

TEST_F(LodgingsTest, AreNoMoreThanThereIsRoomFor) {
  for (uint32_t n = 0; n < 100; ++n) home_.OnLodged(2, LodgedOf(KeyOfObject(n, kSize)));
  EXPECT_EQ(home_.lodgings().size(), 10u);
  EXPECT_EQ(home_.memory_bytes(), 10 * Lodgings::kBytes);
  EXPECT_EQ(home_.lodgings().Find(KeyOfObject(99, kSize)), 2);
  EXPECT_EQ(home_.lodgings().Find(KeyOfObject(1, kSize)), kNoNode);
}

TEST_F(LodgingsTest, AStrangersWordIsNotHeard) {
  home_.OnLodged(kNoNode, LodgedOf(key_));
  home_.OnLodged(2, LodgedOf({key_.oid, 0}));
  EXPECT_EQ(home_.lodgings().size(), 0u);
}

}  // namespace
}  // namespace holdfast::cached
