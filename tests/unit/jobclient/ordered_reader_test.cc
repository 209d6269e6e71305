// SPDX-License-Identifier: Apache-2.0
#include "jobclient/ordered_reader.h"

#include <gtest/gtest.h>

#include <optional>

#include "fake_world.h"
#include "jobclient/flights.h"

namespace holdfast::jobclient {
namespace {

// A planned job and one reader of it whose user takes every object in order and checks its bytes.
class OrderedReading : public ::testing::Test {
 protected:
  void Plan(NodeId nodes, uint32_t objects, uint64_t max_bytes = 1000, NodeId own = kNoNode) {
    world.AddNodes(nodes);
    list = FakeWorld::List(objects, max_bytes);
    world.KnowNames(list);
    JobOptions options = world.options();
    options.reader = own;
    job.emplace(world.env(), options);
    ASSERT_TRUE(PlanNow(world, *job, list).ok());
    for (uint32_t i = 0; i < objects; ++i) order.push_back(i);
  }

  void StartAgain() {
    world.nodes.clear();
    order.clear();
    reader.reset();
    job.reset();
    world.clock.DropAll();
  }

  void Open(OrderedReaderOptions options = {}) {
    results.clear();
    results.resize(order.size());
    taken = 0;
    window = options.look_ahead_objects;
    reader.emplace(
        world.env(), &*job, &list, order, options,
        [this](uint32_t index) {
          return job->reader() != kNoNode && job->NodeOf(index) == job->reader();
        },
        [this](uint64_t ordinal, ReadResult result) {
          ASSERT_LT(ordinal, order.size());
          EXPECT_LT(ordinal, taken + window);
          ++landed;
          EXPECT_TRUE(!results[ordinal].has_value() || results[ordinal]->local)
              << "twice: " << ordinal;
          results[ordinal] = std::move(result);
        });
    reader->Start();
  }

  bool Expects(uint64_t ordinal) {
    return job->reader() != kNoNode && job->NodeOf(job->IndexOf(order[ordinal])) == job->reader();
  }

  // The user: own memory where it is expected, else what the reader brings. Checks every byte.
  void ReadAll() {
    for (; taken < order.size(); Take()) {
      ObjectList::Item item = list.item(order[taken]);
      if (Expects(taken) && world.node(job->reader()).holds.contains(Hash128(AsBytes(item.uri)))) {
        ++local;
        continue;
      }
      if (!results[taken]) reader->Missed(taken);
      ASSERT_TRUE(world.clock.RunUntil([&] { return results[taken].has_value(); }))
          << "stuck at " << taken;
      ASSERT_TRUE(results[taken]->status.ok()) << results[taken]->status.ToString();
      if (results[taken]->local) {
        ++local;
        continue;
      }
      EXPECT_EQ(AsText(results[taken]->bytes.view()), BytesOf(item.uri, item.size)) << taken;
    }
  }

  void Take() {
    if (results[taken]) results[taken]->bytes = {};
    reader->Consumed(++taken);
  }

  uint64_t Count(Source source) const {
    return reader->Counters().objects[static_cast<size_t>(source)];
  }

  FakeWorld world;
  ObjectList list;
  std::optional<Job> job;
  std::vector<uint32_t> order;
  std::vector<std::optional<ReadResult>> results;
  uint64_t taken = 0;
  uint64_t window = 0;
  uint64_t landed = 0;
  uint64_t local = 0;
  std::optional<OrderedReader> reader;
};

TEST_F(OrderedReading, BringsEverythingFromTheNodesThatPromisedIt) {
  Plan(3, 3000);
  Open();
  ReadAll();
  EXPECT_EQ(landed, 3000u);
  EXPECT_EQ(Count(Source::kPeer), 3000u);
  EXPECT_EQ(world.far_counters.gets, 0u);
  EXPECT_EQ(reader->Counters().detours, 0u);
  // Batches, not single objects.
  uint32_t batches = 0;
  for (auto& [id, node] : world.nodes) batches += node->bulk_batches;
  EXPECT_LT(batches, 3000u / 20);
  EXPECT_EQ(job->flights().size(), 0u);
}

TEST_F(OrderedReading, LeavesToTheOwnMemoryWhatIsThere) {
  Plan(3, 3000, 1000, 1);
  const uint64_t own = job->Report().nodes[1].loads;
  ASSERT_GT(own, 800u);
  Open();
  ReadAll();
  EXPECT_EQ(local, own);
  EXPECT_EQ(landed, 3000 - own);
  EXPECT_EQ(world.node(1).bulk_items, 0u);  // no message at all
}

TEST_F(OrderedReading, WaitsForALoadAtTheOwnNodeWithoutItsBytes) {
  Plan(1, 10, 1000, 0);
  Open();
  reader->Missed(3);
  reader->Missed(3);  // asking again changes nothing
  ASSERT_TRUE(world.clock.RunUntil([&] { return results[3].has_value(); }));
  EXPECT_TRUE(results[3]->local);
  EXPECT_EQ(world.node(0).bulk_items, 1u);
  EXPECT_EQ(world.most_bytes_in_flight, 0u);
  // It was not there after all: now its bytes.
  reader->Missed(3);
  ASSERT_TRUE(world.clock.RunUntil([&] { return !results[3]->local; }));
  EXPECT_EQ(AsText(results[3]->bytes.view()), BytesOf("file:///o/3", list.item(3).size));
}

// Was: each was missed and waited for by itself, a hundred times slower than from another node.
TEST_F(OrderedReading, WhatIsOnTheOwnNodesDiskIsAskedForAhead) {
  Plan(1, 1000, 1000, 0);
  FakeNode& node = world.node(0);
  std::swap(node.holds, node.below);
  Open({.look_ahead_objects = 128});
  ReadAll();
  EXPECT_EQ(local, 1000u);
  EXPECT_EQ(world.most_bytes_in_flight, 0u);
  EXPECT_LT(node.bulk_batches, 100u);
}

TEST_F(OrderedReading, WhatWasAskedForAheadAndIsLateIsAskedForOnceItIsWanted) {
  Plan(1, 300, 1000, 0);
  FakeNode& node = world.node(0);
  std::swap(node.holds, node.below);
  Open({.look_ahead_objects = 128});
  for (int i = 0; i < 2; ++i, Take()) {
    reader->Missed(taken);
    ASSERT_TRUE(world.clock.RunUntil([&] { return results[taken].has_value(); }));
  }
  node.bulk_fails = Code::kTimeout;
  world.clock.RunFor(10ms);
  EXPECT_EQ(landed, 2u);
  EXPECT_GT(node.bulk_items, 100u);
  node.bulk_fails = Code::kOk;
  ReadAll();
  EXPECT_EQ(Count(Source::kThroughHome), 0u);
  EXPECT_EQ(reader->Counters().detours, 0u);
  EXPECT_EQ(world.far_counters.gets, 0u);
}

TEST_F(OrderedReading, AMissWhoseOwnNodeIsAwayIsReadElsewhere) {
  Plan(1, 10, 1000, 0);
  Open();
  world.node(0).dead = true;
  job->NodeFailed(0);
  ReadAll();
  EXPECT_EQ(local, 0u);
  EXPECT_EQ(Count(Source::kFar), 10u);
}

TEST_F(OrderedReading, ADeadNodeCostsADetourAndNoError) {
  Plan(3, 2000);
  Open();
  world.node(2).dead = true;
  ReadAll();
  EXPECT_EQ(landed, 2000u);
  EXPECT_EQ(job->BulkEndpoint(2), nullptr);
  EXPECT_GT(reader->Counters().detours, 0u);
  EXPECT_GT(Count(Source::kThroughHome) + Count(Source::kFar), 0u);
  EXPECT_EQ(reader->Counters().failed, 0u);
}

TEST_F(OrderedReading, ABrokenPromiseIsReadThroughTheHome) {
  Plan(2, 500);
  world.node(0).holds.clear();
  Open();
  ReadAll();
  EXPECT_GT(Count(Source::kThroughHome), 100u);
  EXPECT_EQ(Count(Source::kFar), 0u);
  EXPECT_EQ(Count(Source::kPeer) + Count(Source::kThroughHome), 500u);
}

// Nobody has promised it, and its home does not know of it.
TEST_F(OrderedReading, WhatLiesAtTheOwnNodeIsNotFetchedByAnother) {
  for (bool own_disk : {false, true}) {
    StartAgain();
    world.AddNodes(4);
    for (auto& [id, node] : world.nodes) node->free = 0;
    list = FakeWorld::List(400, 1000);
    world.KnowNames(list);
    JobOptions options = world.options();
    options.reader = 2;
    job.emplace(world.env(), options);
    ASSERT_TRUE(PlanNow(world, *job, list).ok());
    for (uint32_t i = 0; i < 400; ++i) {
      order.push_back(i);
      ASSERT_EQ(job->NodeOf(job->IndexOf(i)), kNoNode);
      if (i % 2 == 0) world.node(2).holds.insert(Hash128(AsBytes(list.item(i).uri)));
    }
    Open({.own_disk = own_disk});
    ReadAll();
    // A half lies there, and of a quarter of all it is the home.
    EXPECT_NEAR(static_cast<double>(Count(Source::kPeer)), own_disk ? 150 : 0, own_disk ? 25 : 0);
    EXPECT_EQ(Count(Source::kPeer) + Count(Source::kThroughHome), 400u);
    EXPECT_EQ(reader->Counters().detours, 0u);
  }
}

TEST_F(OrderedReading, AnOwnNodeThatIsAwayIsNoReasonToWait) {
  Plan(3, 200, 1000, 1);
  for (auto& [id, node] : world.nodes) node->holds.clear();
  world.node(1).bulk_fails = Code::kUnavailable;
  Open({.own_disk = true});
  ReadAll();
  EXPECT_EQ(Count(Source::kThroughHome) + Count(Source::kFar) + local, 200u);
}

TEST_F(OrderedReading, EveryStepThatFailsLeadsToTheNext) {
  for (Code code : {Code::kUnavailable, Code::kTimeout, Code::kNotFound, Code::kNoSpace,
                    Code::kCorrupt, Code::kDenied, Code::kInvalid}) {
    StartAgain();
    Plan(2, 100);
    for (auto& [id, node] : world.nodes) node->bulk_fails = code;
    Open();
    ReadAll();
    EXPECT_EQ(Count(Source::kFar), 100u) << CodeName(code);
  }
}

// The size is what a list or a far store says. It ended the program.
TEST_F(OrderedReading, AnObjectOfMoreThanAllMemoryIsAnErrorOfItsOwn) {
  world.AddNodes(1);
  list = FakeWorld::List(3, 1000);
  ASSERT_TRUE(list.Add("file:///o/huge", uint64_t{1} << 50, "e").ok());
  world.KnowNames(list);
  job.emplace(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, *job, list).ok());
  order = {0, 3, 1};
  Open();
  for (; taken < order.size(); Take()) {
    ASSERT_TRUE(world.clock.RunUntil([&] { return results[taken].has_value(); })) << taken;
  }
  EXPECT_TRUE(results[0]->status.ok());
  EXPECT_EQ(results[1]->status.code(), Code::kNoSpace);
  EXPECT_TRUE(results[2]->status.ok());
}

// What the far store does not give, the home says so: it used to count as away itself, with all
// that it had promised.
TEST_F(OrderedReading, AnErrorThatANodeAnswersIsAboutTheObject) {
  for (Code code : {Code::kUnavailable, Code::kDenied}) {
    StartAgain();
    Plan(1, 2000);
    world.node(0).holds.erase(Hash128(AsBytes("file:///o/1")));
    world.far_fails = {{"file:///o/1", code}};
    Open();
    for (; taken < order.size(); Take()) {
      ASSERT_TRUE(world.clock.RunUntil([&] { return results[taken].has_value(); })) << taken;
    }
    EXPECT_EQ(Count(Source::kPeer), 1999u) << CodeName(code);
    EXPECT_EQ(results[1]->status.code(), code);
    for (const std::string& line : world.log.lines) {
      EXPECT_EQ(line.find("counts as away"), std::string::npos) << line;
    }
  }
}

TEST_F(OrderedReading, BytesOfAnotherVersionAreNotTaken) {
  Plan(2, 100);
  for (auto& [id, node] : world.nodes) node->wrong_version = true;
  Open();
  ReadAll();
  EXPECT_EQ(Count(Source::kFar), 100u);
}

TEST_F(OrderedReading, OnlyTheFarStoreMakesAReadFail) {
  Plan(1, 4);
  for (auto& [id, node] : world.nodes) node->holds.clear();
  world.far_fails = {{"file:///o/1", Code::kNotFound}, {"file:///o/2", Code::kChanged}};
  Open();
  world.clock.RunFor(1s);
  for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(results[i].has_value());
  EXPECT_TRUE(results[0]->status.ok());
  EXPECT_EQ(results[1]->status.code(), Code::kNotFound);
  EXPECT_EQ(results[2]->status.code(), Code::kChanged);
  EXPECT_TRUE(results[2]->bytes.empty());
  EXPECT_TRUE(results[3]->status.ok());
  EXPECT_EQ(reader->Counters().failed, 2u);
}

TEST_F(OrderedReading, WithoutAClusterEverythingIsReadFar) {
  Plan(0, 50);
  Open();
  ReadAll();
  EXPECT_EQ(Count(Source::kFar), 50u);
}

TEST_F(OrderedReading, TheWindowIsBoundedInObjectsAndBytes) {
  Plan(2, 2000, 1000);
  Open({.look_ahead_bytes = 10'000, .look_ahead_objects = 64, .batch_objects = 8});
  world.clock.RunFor(1s);
  EXPECT_LE(landed, 64u);
  EXPECT_GT(landed, 5u);
  ReadAll();
  EXPECT_EQ(landed, 2000u);
  EXPECT_LE(world.most_bytes_in_flight, 10'000u);
}

TEST_F(OrderedReading, ObjectsOverTheLookAheadAreReadOneAtATime) {
  Plan(2, 50, 1000);
  Open({.look_ahead_bytes = 10, .look_ahead_objects = 64});
  ReadAll();
  EXPECT_EQ(landed, 50u);
  EXPECT_LT(world.most_bytes_in_flight, 1010u);
}

TEST_F(OrderedReading, EmptyObjectsAreObjects) {
  Plan(2, 100, 1);
  Open();
  ReadAll();
  EXPECT_EQ(landed, 100u);
  EXPECT_EQ(Count(Source::kPeer), 100u);
}

TEST_F(OrderedReading, TheSameObjectMayBeReadAgainAndAgain) {
  Plan(2, 3);
  order = {2, 0, 0, 2, 1, 1, 1, 0};
  Open();
  ReadAll();
  EXPECT_EQ(landed, 8u);
}

TEST_F(OrderedReading, AUserThatSkipsGetsNothingLate) {
  Plan(2, 200);
  Open({.look_ahead_objects = 50});
  taken = 120;  // before anything landed
  reader->Consumed(120);
  world.clock.RunFor(1s);
  for (uint64_t i = 0; i < 120; ++i) EXPECT_FALSE(results[i].has_value()) << i;
  ReadAll();
  for (uint64_t i = 120; i < 200; ++i) EXPECT_TRUE(results[i].has_value()) << i;
  reader->Missed(5);    // long gone
  reader->Missed(200);  // beyond the end
  world.clock.RunFor(1s);
  EXPECT_FALSE(results[5].has_value());
}

TEST_F(OrderedReading, AReaderMayGoWhileReadsAreUnderWay) {
  Plan(2, 200);
  Open();
  EXPECT_GT(job->flights().size(), 0u);
  reader.reset();
  world.clock.RunFor(1s);
  EXPECT_EQ(landed, 0u);
  EXPECT_EQ(job->flights().size(), 0u);
}

TEST_F(OrderedReading, InItsLastPassItTellsTheJobWhatWasRead) {
  Plan(2, 200);
  Open({.last_pass = true});
  ReadAll();
  for (auto& [id, node] : world.nodes) node->dead = true;
  job->NodeFailed(0);
  world.node(1).dead = false;
  world.clock.RunFor(5s);
  EXPECT_EQ(job->Report().calls, 1u);  // nothing is missing for anybody
}

// Random faults at every step: every ordinal lands once, with the right bytes, within the bounds.
TEST_F(OrderedReading, RandomFaultsNeverCostAByte) {
  Random random(7);
  Plan(4, 1500, 500, 0);
  for (int round = 0; round < 5; ++round) {
    random.Shuffle(order);
    Open({.look_ahead_bytes = 20'000, .look_ahead_objects = 100, .batch_objects = 16});
    bool running = true;
    std::function<void()> trouble = [&] {
      if (!running) return;
      FakeNode& node = world.node(static_cast<NodeId>(random.Below(4)));
      node.dead = random.Chance(0.3);
      node.bulk_fails = random.Chance(0.3) ? static_cast<Code>(1 + random.Below(8)) : Code::kOk;
      node.wrong_version = random.Chance(0.1);
      if (random.Chance(0.3)) node.holds.clear();
      world.clock.At(world.clock.Now() + 5ms, trouble);
    };
    trouble();
    ReadAll();
    running = false;
    world.clock.RunFor(1s);
    EXPECT_EQ(job->flights().size(), 0u);
    EXPECT_LE(world.most_bytes_in_flight, 20'500u);
  }
}

}  // namespace
}  // namespace holdfast::jobclient
