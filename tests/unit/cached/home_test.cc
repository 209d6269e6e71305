// SPDX-License-Identifier: Apache-2.0
// Who may go far for an object, as its home decides it, and what a node makes of the answers.
#include "cached/home.h"

#include <gtest/gtest.h>

#include "tests/unit/cached/node_fixture.h"

namespace holdfast::cached {
namespace {

using wire::Verdict;

NodeOptions FourNodes() {
  NodeOptions options;
  for (NodeId node = 0; node < 4; ++node)
    options.members.push_back({node, "tcp://node-" + std::to_string(node)});
  return options;
}

constexpr PeerId Inbound(NodeId node) { return 50 + node; }

class HomeTest : public testing::Test {
 protected:
  void Greet(NodeId node, Incarnation incarnation, PeerId from) {
    membership_.OnHello(from, {.cluster = "holdfast", .node = node, .incarnation = incarnation});
  }
  void SetUp() override {
    for (NodeId node = 1; node < 4; ++node) Greet(node, 10u + node, Inbound(node));
  }
  Verdict Ask(NodeId asker, NodeId tried = kNoNode) {
    Home::Decision decision = home_.Consider(key_, asker, tried);
    loader_ = decision.loader;
    return decision.verdict;
  }
  wire::Fetched Fetched(bool loaded) const {
    wire::Fetched message{.loaded = loaded, .oids = Buffer(16), .versions = Buffer(8)};
    StoreAs(message.oids.data(), key_.oid.hi);
    StoreAs(message.oids.data() + 8, key_.oid.lo);
    StoreAs(message.versions.data(), key_.version);
    return message;
  }

  World world_{8 * kMiB, FourNodes()};
  Membership membership_{world_.context.get()};
  Home home_{world_.context.get(), &membership_};
  ObjectKey key_ = KeyOfObject(1, kSize);
  NodeId loader_ = kNoNode;
};

TEST_F(HomeTest, OneIsSentAndTheOthersTakeItFromThere) {
  EXPECT_EQ(Ask(1), Verdict::kGo);
  EXPECT_EQ(Ask(2), Verdict::kLoading);
  EXPECT_EQ(loader_, 1);
  EXPECT_EQ(Ask(0), Verdict::kLoading);
  EXPECT_EQ(Ask(1), Verdict::kGo);  // it may ask again
  EXPECT_EQ(home_.under_way(), 1u);
}

// Two jobs had planned it for different nodes, and the second one's turn came after the first one
// had loaded it: it was fetched twice.
TEST_F(HomeTest, WhatANodeHasFetchedIsTakenFromThereForAWhile) {
  EXPECT_EQ(Ask(1), Verdict::kGo);
  home_.OnFetched(membership_.NodeOf(Inbound(1)), Fetched(true));
  EXPECT_EQ(home_.under_way(), 0u);
  EXPECT_EQ(Ask(2), Verdict::kLoading);
  EXPECT_EQ(loader_, 1);
  world_.clock.RunFor(world_.context->options.grant_ttl + 1s);
  home_.Expire();
  EXPECT_EQ(home_.memory_bytes(), 0u);
  EXPECT_EQ(Ask(2), Verdict::kGo);
}

TEST_F(HomeTest, AFetchThatFailedIsForgottenAtOnce) {
  EXPECT_EQ(Ask(1), Verdict::kGo);
  home_.OnFetched(membership_.NodeOf(Inbound(1)), Fetched(false));
  EXPECT_EQ(Ask(2), Verdict::kGo);
}

TEST_F(HomeTest, OfAllWhoTriedTheHolderInVainOneIsSent) {
  EXPECT_EQ(Ask(1), Verdict::kGo);
  EXPECT_EQ(Ask(2, 1), Verdict::kGo);
  EXPECT_EQ(Ask(3, 1), Verdict::kLoading);
  EXPECT_EQ(loader_, 2);
}

TEST_F(HomeTest, WhoCouldNotReadFromTheHomeIsNotSentThereAgain) {
  world_.Put(1, kSize);
  EXPECT_EQ(Ask(1), Verdict::kHave);
  EXPECT_EQ(Ask(1, 0), Verdict::kGo);
}

// A node that was asked for an object by its name alone fetches whichever version there is.
TEST_F(HomeTest, WhoFetchesWhicheverVersionThereIsMayBringAnyOne) {
  const ObjectKey any{key_.oid, 0};
  EXPECT_EQ(home_.Consider(any, 1, kNoNode).verdict, Verdict::kGo);
  EXPECT_EQ(Ask(2), Verdict::kLoading);
  EXPECT_EQ(loader_, 1);
  EXPECT_EQ(home_.Consider(any, 2, kNoNode).verdict, Verdict::kLoading);
  EXPECT_EQ(Ask(2, 1), Verdict::kGo);  // it was another version
  home_.Fetched(any, 1, true);
  EXPECT_EQ(Ask(3), Verdict::kLoading);
}

TEST_F(HomeTest, ForWhicheverVersionThereIsAnyGrantWillDo) {
  const ObjectKey any{key_.oid, 0};
  EXPECT_EQ(Ask(1), Verdict::kGo);
  EXPECT_EQ(home_.Consider(any, 2, kNoNode).loader, 1);
  EXPECT_EQ(home_.Consider(any, 2, 1).verdict, Verdict::kGo);
  const ObjectKey next{{key_.oid.hi, key_.oid.lo + 1}, 0};
  EXPECT_EQ(home_.Consider(next, 3, kNoNode).verdict, Verdict::kGo);
}

TEST_F(HomeTest, ARestartVoidsWhatWasGrantedBeforeAndNothingElse) {
  EXPECT_EQ(Ask(1), Verdict::kGo);
  Greet(1, 99, 70);
  EXPECT_EQ(Ask(2), Verdict::kGo);
  EXPECT_EQ(Ask(1, 2), Verdict::kGo);
  Greet(1, 99, 70);  // the same incarnation again
  EXPECT_EQ(Ask(2), Verdict::kLoading);
}

TEST_F(HomeTest, AConnectionSpeaksForTheNodeThatGreetedOverItLast) {
  EXPECT_EQ(Ask(1), Verdict::kGo);
  for (PeerId stranger : {Inbound(2), PeerId{77}})  // node 2, and nobody
    home_.OnFetched(membership_.NodeOf(stranger), Fetched(false));
  EXPECT_EQ(Ask(2), Verdict::kLoading);
  Greet(1, 11, 70);
  EXPECT_EQ(membership_.NodeOf(Inbound(1)), kNoNode);
  home_.OnFetched(membership_.NodeOf(70), Fetched(false));
  EXPECT_EQ(Ask(2), Verdict::kGo);
}

TEST_F(HomeTest, WhomNobodyKnowsGoesUnremembered) {
  EXPECT_EQ(Ask(kNoNode), Verdict::kGo);
  EXPECT_EQ(Ask(1), Verdict::kGo);
  EXPECT_EQ(Ask(kNoNode), Verdict::kLoading);
}

TEST_F(HomeTest, AFullTableForgetsTheOldest) {
  world_.context->options.max_planning_bytes = 100 * Home::kGrantBytes * Home::kShareOfPlanning;
  Home home(world_.context.get(), &membership_);
  for (uint32_t n = 0; n < 1000; ++n) home.Consider(KeyOfObject(n, kSize), 1, kNoNode);
  EXPECT_EQ(home.under_way(), 100u);
  EXPECT_EQ(home.memory_bytes(), 100 * Home::kGrantBytes);
  EXPECT_EQ(home.Consider(KeyOfObject(900, kSize), 2, kNoNode).verdict, Verdict::kLoading);
  EXPECT_EQ(home.Consider(KeyOfObject(899, kSize), 2, kNoNode).verdict, Verdict::kGo);
}

// --- The asker's side: node 0 of two

class AskerTest : public NodeTest {
 protected:
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
  void LoadHere(const planner::Manifest& manifest) {
    Call(manifest);
    Confirm(manifest, Bitmap(manifest.size()), Bitmap(manifest.size(), true));
    world_->clock.RunFor(500ms);
  }
  wire::Answer AnswerTo(const wire::Ask& ask, wire::Verdict verdict, NodeId loader) {
    size_t count = ask.versions.size() / 8;
    wire::Answer answer{.id = ask.id, .verdicts = Buffer(count), .loaders = Buffer(2 * count)};
    for (size_t i = 0; i < count; ++i) {
      StoreAs(answer.verdicts.data() + i, static_cast<uint8_t>(verdict));
      StoreAs(answer.loaders.data() + 2 * i, loader);
    }
    return answer;
  }

  static constexpr PeerId kConnection = 100, kInbound = 60;
};

TEST_F(AskerTest, WhatAPeerHasFetchedIsNotFetchedAgain) {
  planner::Manifest manifest = ManifestOf(0, 40, kSize);
  wire::Ask ask{.id = 1, .oids = Buffer(16 * 40), .versions = Buffer(8 * 40)};
  wire::Fetched fetched{.oids = Buffer(16 * 40), .versions = Buffer(8 * 40)};
  for (uint32_t i = 0; i < 40; ++i) {
    for (auto [oids, versions] :
         {std::pair(&ask.oids, &ask.versions), {&fetched.oids, &fetched.versions}}) {
      StoreAs(oids->data() + 16 * i, manifest.oid(i).hi);
      StoreAs(oids->data() + 16 * i + 8, manifest.oid(i).lo);
      StoreAs(versions->data() + 8 * i, manifest.version(i));
    }
  }
  world_->network.Deliver(kInbound, std::move(ask));
  world_->network.Deliver(kInbound, std::move(fetched));
  world_->network.peers_give = true;
  world_->network.peers_expire_s = 4'000'000'000;
  LoadHere(manifest);
  const auto* question = world_->network.Last<wire::Ask>();  // those whose home is node 1
  ASSERT_NE(question, nullptr);
  size_t of_node_1 = question->versions.size() / 8;
  EXPECT_EQ(world_->network.peer_reads.size(), 40 - of_node_1);
  EXPECT_EQ(world_->far.Counters().gets, 0u);
  EXPECT_EQ(Progress().kept_objects, 40 - of_node_1);
  size_t ending = 0;
  for (uint32_t i = 0; i < 40; ++i) {
    const auto record = world_->tier->Find(manifest.oid(i), manifest.version(i));
    ending += record && record->expires_s == 4'000'000'000 ? 1 : 0;
  }
  EXPECT_EQ(ending, 40 - of_node_1);
}

// The other's clock may be behind, or it has ended on the way.
TEST_F(AskerTest, WhatHasExpiredIsNotTakenFromAPeer) {
  const planner::Manifest manifest = ManifestOf(0, 40, kSize);
  world_->network.peers_give = true;
  world_->network.peers_expire_s = static_cast<uint32_t>(world_->clock.Wall().seconds);
  LoadHere(manifest);
  const auto* first = world_->network.Last<wire::Ask>();
  ASSERT_NE(first, nullptr);
  const uint64_t first_id = first->id;
  const size_t asked = first->versions.size() / 8;
  const Oid oid{LoadAs<uint64_t>(first->oids.data()), LoadAs<uint64_t>(first->oids.data() + 8)};
  world_->network.Deliver(kConnection, AnswerTo(*first, Verdict::kHave, kNoNode));
  world_->clock.RunFor(100ms);
  EXPECT_EQ(world_->network.peer_reads.size(), asked);
  EXPECT_FALSE(world_->tier->Find(oid, 0));
  const auto* second = world_->network.Last<wire::Ask>();  // it failed, as far as the home is told
  ASSERT_GT(second->id, first_id);
  EXPECT_EQ(second->versions.size() / 8, asked);
  EXPECT_EQ(LoadAs<uint16_t>(second->tried.data()), 1);
}

TEST_F(AskerTest, APeerThatFailsIsNamedToTheHomeBeforeAnybodyGoesFar) {
  planner::Manifest manifest = ManifestOf(0, 40, kSize);
  LoadHere(manifest);
  const auto* first = world_->network.Last<wire::Ask>();
  uint64_t first_id = first->id;
  size_t asked = first->versions.size() / 8;
  uint64_t gets = world_->far.Counters().gets;
  world_->network.Deliver(kConnection, AnswerTo(*first, Verdict::kHave, kNoNode));
  world_->clock.RunFor(100ms);
  EXPECT_EQ(world_->far.Counters().gets, gets);
  const auto* second = world_->network.Last<wire::Ask>();
  ASSERT_GT(second->id, first_id);
  ASSERT_EQ(second->versions.size() / 8, asked);
  EXPECT_EQ(LoadAs<uint16_t>(second->tried.data()), 1);
  // What comes over another connection is not the home's word.
  world_->network.Deliver(kInbound, AnswerTo(*second, Verdict::kGo, kNoNode));
  world_->clock.RunFor(100ms);
  EXPECT_EQ(world_->far.Counters().gets, gets);
  world_->network.Deliver(kConnection, AnswerTo(*second, Verdict::kGo, kNoNode));
  world_->clock.RunFor(100ms);
  EXPECT_EQ(world_->far.Counters().gets, 40u);
  EXPECT_EQ(Progress().kept_objects, 40u);
}

TEST_F(AskerTest, AHomeThatAlwaysNamesAnotherPeerIsAskedThreeTimes) {
  planner::Manifest manifest = ManifestOf(0, 40, kSize);
  LoadHere(manifest);
  for (int i = 0; i < 5; ++i) {
    world_->network.Deliver(kConnection, AnswerTo(*world_->network.Last<wire::Ask>(),
                                                  Verdict::kLoading, NodeId(2 + i)));
    world_->clock.RunFor(50ms);
  }
  EXPECT_EQ(world_->network.CountOf<wire::Ask>(), 3u);
  EXPECT_EQ(world_->far.Counters().gets, 40u);
}

TEST_F(NodeTest, WhatIsTooLargeForAPromiseIsReadThroughTheNode) {
  Start();
  bulk::ReadMiss miss;
  miss.oid = OidOf(NameOfObject(1));
  miss.size = world_->tier->max_object_bytes() + 1;
  miss.name = NameOfObject(1);
  miss.etag = EtagOfObject(1);
  miss.version = HashVersion(miss.etag, miss.size);
  miss.mode = BulkMode::kFetch;
  Status done = Status::Timeout("not done");
  node_->OnMiss(miss, [&](const Status& status) { done = status; });
  world_->clock.RunFor(1s);
  EXPECT_TRUE(done.ok()) << done.ToString();
  EXPECT_TRUE(world_->tier->Find(miss.oid, miss.version));
}

TEST_F(AskerTest, AReadOfWhatNoNodeCanKeepIsRefusedAndHoldsUpNobody) {
  Status huge;
  bulk::ReadMiss miss;
  miss.oid = OidOf(NameOfObject(1));
  miss.size = uint64_t{1} << 62;
  miss.name = NameOfObject(1);
  miss.etag = EtagOfObject(1);
  miss.version = HashVersion(miss.etag, miss.size);
  miss.mode = BulkMode::kFetch;
  node_->OnMiss(miss, [&](const Status& status) { huge = status; });
  world_->clock.RunFor(1ms);
  EXPECT_EQ(huge.code(), Code::kNoSpace);
  EXPECT_NE(huge.message().find("too large"), std::string::npos) << huge.ToString();
  EXPECT_EQ(State()["loads"]["active"], 0);
}

}  // namespace
}  // namespace holdfast::cached
