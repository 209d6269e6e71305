// SPDX-License-Identifier: Apache-2.0
// Objects that are asked for by their names alone: their first part comes without a word about
// their version before, and who wants them at the same time, in whichever version, waits for it.
#include <gtest/gtest.h>

#include <algorithm>

#include "cached/home.h"
#include "tests/unit/cached/node_fixture.h"

namespace holdfast::cached {
namespace {

class FirstPartTest : public NodeTest {
 protected:
  static NodeOptions SmallFirstParts() {
    NodeOptions options;
    options.first_part_bytes = 4 * kKiB;
    return options;
  }
  static bulk::ReadMiss Miss(uint32_t n) {
    bulk::ReadMiss miss;
    miss.oid = OidOf(NameOfObject(n));
    miss.name = NameOfObject(n);
    miss.mode = BulkMode::kFetch;
    return miss;
  }
  void Ask(const bulk::ReadMiss& miss) {
    node_->OnMiss(miss, [this](const Status& status) { ended_.push_back(status.code()); });
  }
  void ExpectHere(uint32_t n, uint64_t size) {
    auto record = world_->tier->Find(OidOf(NameOfObject(n)), 0);
    ASSERT_TRUE(record.has_value());
    EXPECT_EQ(record->version, HashVersion(world_->far.found.etag, size));
    EXPECT_EQ(record->etag, world_->far.found.etag);
    EXPECT_EQ(record->payload.size(), size);
    EXPECT_TRUE(std::all_of(record->payload.begin(), record->payload.end(),
                            [](std::byte b) { return b == std::byte{7}; }));
    EXPECT_EQ(record->payload_hash, Hash64(record->payload));
  }
  // Nothing is left of what was under way.
  void ExpectQuiet() {
    Check();
    EXPECT_EQ(State()["loads"]["active"], 0);
    EXPECT_EQ(State()["grants"], 0);
    world_->clock.RunFor(world_->context->options.grant_ttl + 2s);
    EXPECT_EQ(State()["planning_bytes"], 0);
  }

  std::vector<Code> ended_;
};

TEST_F(FirstPartTest, IsFetchedOnceForEverybodyAndNobodyAsksForTheVersion) {
  Start();
  for (int i = 0; i < 5; ++i) Ask(Miss(1));
  world_->clock.RunFor(1s);
  EXPECT_EQ(ended_, std::vector<Code>(5, Code::kOk));
  EXPECT_EQ(world_->far.heads, 0u);
  ASSERT_EQ(world_->far.asked.size(), 1u);
  EXPECT_EQ(world_->far.asked[0].length, 256 * kKiB);
  EXPECT_EQ(State()["loads"]["far_requests"], 1);
  EXPECT_EQ(State()["loads"]["far_bytes"], 1000);
  ExpectHere(1, 1000);
  ExpectQuiet();
  Ask(Miss(1));
  world_->clock.RunFor(1s);
  EXPECT_EQ(world_->far.asked.size(), 1u);
}

TEST_F(FirstPartTest, OfALargerObjectTheRestFollowsInThatVersion) {
  Start(8 * kMiB, SmallFirstParts());
  world_->far.found.size = 10'000;
  Ask(Miss(1));
  world_->clock.RunFor(1ms);
  EXPECT_EQ(State()["planning_bytes"].get<uint64_t>() / 4096, 1u);  // beside the grant
  world_->clock.RunFor(1s);
  ASSERT_EQ(world_->far.asked.size(), 2u);
  EXPECT_EQ(world_->far.asked[0].length, 4096u);
  EXPECT_FALSE(world_->far.asked[0].whole);
  EXPECT_EQ(world_->far.asked[1].etag, "e");
  EXPECT_EQ(world_->far.asked[1].offset, 4096u);
  EXPECT_EQ(world_->far.asked[1].length, 10'000u);
  EXPECT_TRUE(world_->far.asked[1].whole);
  EXPECT_EQ(State()["loads"]["far_bytes"], 10'000);
  EXPECT_EQ(world_->far.heads, 0u);
  ExpectHere(1, 10'000);
  ExpectQuiet();
}

TEST_F(FirstPartTest, AnEmptyObjectIsHere) {
  Start();
  world_->far.found.size = 0;
  Ask(Miss(1));
  world_->clock.RunFor(1s);
  EXPECT_EQ(ended_, std::vector<Code>{Code::kOk});
  ExpectHere(1, 0);
  ExpectQuiet();
}

TEST_F(FirstPartTest, WhatIsNotThereIsToldToAllWhoWait) {
  Start();
  world_->far.broken = true;
  for (int i = 0; i < 3; ++i) Ask(Miss(1));
  world_->clock.RunFor(1s);
  EXPECT_EQ(ended_, std::vector<Code>(3, Code::kNotFound));
  EXPECT_EQ(world_->far.asked.size(), 1u);
  ExpectQuiet();
}

TEST_F(FirstPartTest, WhatNoSegmentHoldsEndsWithItsFirstPart) {
  Start();
  world_->far.found.size = uint64_t{1} << 62;
  Ask(Miss(1));
  world_->clock.RunFor(1s);
  EXPECT_EQ(ended_, std::vector<Code>{Code::kNoSpace});
  EXPECT_EQ(world_->far.asked.size(), 1u);
  ExpectQuiet();
}

TEST_F(FirstPartTest, WhoWantsOneVersionGetsThatOrNone) {
  Start();
  Ask(Miss(1));
  world_->clock.RunFor(1ms);
  bulk::ReadMiss right = Miss(1);
  right.mode = BulkMode::kWait;
  right.version = HashVersion("e", 1000);
  bulk::ReadMiss other = right;
  other.version = HashVersion("other", 1000);
  bulk::ReadMiss by_hash = Miss(1);  // as of a job that has lost the ETag
  by_hash.version = other.version;
  Ask(right);
  Ask(other);
  Ask(by_hash);
  world_->clock.RunFor(1s);
  EXPECT_EQ(ended_, (std::vector<Code>{Code::kOk, Code::kOk, Code::kChanged, Code::kChanged}));
  EXPECT_EQ(world_->far.asked.size(), 1u);
}

TEST_F(FirstPartTest, APromisedLoadWaitsForWhatMayBringIt) {
  Start();
  world_->far.found = {kSize, EtagOfObject(1)};
  Ask(Miss(1));
  world_->clock.RunFor(1ms);
  planner::Manifest manifest = ManifestOf(1, 1, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(1), Bitmap(1, true));
  world_->clock.RunFor(1s);
  EXPECT_EQ(world_->far.asked.size(), 1u);
  EXPECT_EQ(Progress().kept_objects, 1u);
  EXPECT_EQ(State()["memory"]["held_objects"], 1);
  Check();
}

TEST_F(FirstPartTest, APromisedLoadOfAnotherVersionGoesForItselfThen) {
  Start();
  Ask(Miss(1));
  world_->clock.RunFor(1ms);
  planner::Manifest manifest = ManifestOf(1, 1, kSize);
  Call(manifest);
  Confirm(manifest, Bitmap(1), Bitmap(1, true));
  world_->clock.RunFor(5ms);
  EXPECT_EQ(world_->far.asked.size(), 1u);
  world_->clock.RunFor(1s);
  ASSERT_EQ(world_->far.asked.size(), 2u);
  EXPECT_EQ(world_->far.asked[1].etag, EtagOfObject(1));
  EXPECT_EQ(Progress().kept_objects, 1u);
  EXPECT_TRUE(world_->tier->Find(OidOf(NameOfObject(1)), HashVersion("e", 1000)));
  Check();
}

TEST_F(FirstPartTest, ManyRestsStayWithinTheBytesThatMayBeUnderWay) {
  NodeOptions options = SmallFirstParts();
  options.max_load_bytes = 30'000;
  Start(8 * kMiB, options);
  world_->far.found.size = 20'000;
  for (uint32_t n = 0; n < 50; ++n) Ask(Miss(n));
  world_->clock.RunFor(5s);
  EXPECT_EQ(ended_, std::vector<Code>(50, Code::kOk));
  EXPECT_LE(world_->far.most_in_flight, 40'000u);  // the last one may go beyond
  EXPECT_EQ(world_->far.asked.size(), 100u);
  for (uint32_t n = 0; n < 50; ++n) ExpectHere(n, 20'000);
  ExpectQuiet();
}

// The less of memory.planning is left the smaller they are.
TEST_F(FirstPartTest, ManyFirstPartsStayWithinTheirShareOfPlanning) {
  NodeOptions options;
  options.max_planning_bytes = 32 * kMiB;
  Start(64 * kMiB, options);
  for (uint32_t n = 0; n < 200; ++n) Ask(Miss(n));
  world_->clock.RunFor(1ms);
  EXPECT_EQ(State()["loads"]["active"], 200);
  EXPECT_EQ(world_->far.asked.front().length, 256 * kKiB);
  EXPECT_LT(world_->far.asked.back().length, 256 * kKiB);
  EXPECT_LE(State()["planning_bytes"], 32 * kMiB / 8 + 200 * (4 * kKiB + Home::kGrantBytes));
  world_->clock.RunFor(1s);
  EXPECT_EQ(ended_, std::vector<Code>(200, Code::kOk));
  ExpectQuiet();
}

// --- With another node: this one is node 0

class FirstPartOfTwoTest : public FirstPartTest {
 protected:
  static constexpr PeerId kConnection = 100, kInbound = 60;

  void SetUp() override {
    NodeOptions options;
    options.members = {{0, "tcp://node-0"}, {1, "tcp://node-1"}};
    Start(8 * kMiB, options);
    wire::HelloReply reply{.node = 1, .incarnation = 5, .bulk_endpoint = "node 1"};
    reply.capacity_bytes = world_->tier->Stats().object_bytes;
    world_->network.Deliver(kConnection, std::move(reply));
    world_->network.Deliver(kInbound,
                            wire::Hello{.cluster = "holdfast", .node = 1, .incarnation = 5});
  }

  // Asks for objects until there is one with this home; its number.
  uint32_t AskForOneOf(NodeId home) {
    while (true) {
      const size_t before = world_->network.CountOf<wire::Ask>();
      Ask(Miss(next_++));
      world_->clock.RunFor(1ms);
      const NodeId asked = world_->network.CountOf<wire::Ask>() > before ? 1 : 0;
      if (asked == home) return next_ - 1;
    }
  }
  VersionHash AskedVersion() const {
    return LoadAs<uint64_t>(world_->network.Last<wire::Ask>()->versions.data());
  }
  void Answer(wire::Verdict verdict) {
    wire::Answer answer{
        .id = world_->network.Last<wire::Ask>()->id, .verdicts = Buffer(1), .loaders = Buffer(2)};
    StoreAs(answer.verdicts.data(), static_cast<uint8_t>(verdict));
    StoreAs(answer.loaders.data(), NodeId{1});
    world_->network.Deliver(kConnection, std::move(answer));
    world_->clock.RunFor(100ms);
  }

  uint32_t next_ = 0;
};

TEST_F(FirstPartOfTwoTest, TheHomeGivesLeaveForWhicheverVersionThereIs) {
  const uint32_t n = AskForOneOf(1);
  EXPECT_EQ(AskedVersion(), 0u);
  const size_t before = world_->far.asked.size();
  Answer(wire::Verdict::kGo);
  EXPECT_EQ(world_->far.asked.size(), before + 1);
  EXPECT_EQ(world_->far.heads, 0u);
  const auto* fetched = world_->network.Last<wire::Fetched>();
  ASSERT_NE(fetched, nullptr);
  EXPECT_TRUE(fetched->loaded);
  EXPECT_EQ(LoadAs<uint64_t>(fetched->versions.data()), 0u);
  ExpectHere(n, 1000);
}

TEST_F(FirstPartOfTwoTest, WhatAPeerHasCostsAHeadAndNoBytes) {
  const uint32_t n = AskForOneOf(1);
  const size_t before = world_->far.asked.size();
  world_->network.peers_give = true;
  Answer(wire::Verdict::kHave);
  EXPECT_EQ(world_->far.heads, 1u);
  EXPECT_EQ(AskedVersion(), HashVersion("e", 1000));
  Answer(wire::Verdict::kHave);
  EXPECT_EQ(world_->far.asked.size(), before);
  EXPECT_EQ(world_->network.peer_reads.size(), 1u);
  ExpectHere(n, 1000);
}

TEST_F(FirstPartOfTwoTest, WhoAsksMeanwhileForOneVersionIsSentHere) {
  const Oid oid = OidOf(NameOfObject(AskForOneOf(0)));  // it is under way
  wire::Ask ask{.id = 9, .oids = Buffer(16), .versions = Buffer(8)};
  StoreAs(ask.oids.data(), oid.hi);
  StoreAs(ask.oids.data() + 8, oid.lo);
  StoreAs(ask.versions.data(), HashVersion("e", 1000));
  world_->network.Deliver(kInbound, std::move(ask));
  const auto* answer = world_->network.Last<wire::Answer>();
  ASSERT_NE(answer, nullptr);
  EXPECT_EQ(static_cast<wire::Verdict>(answer->verdicts.data()[0]), wire::Verdict::kLoading);
  EXPECT_EQ(LoadAs<uint16_t>(answer->loaders.data()), 0);
}

}  // namespace
}  // namespace holdfast::cached
