// SPDX-License-Identifier: Apache-2.0
// Unplanned objects: snapshots of real daemons, and reads that look where the log says.
#include "jobclient/client/collector.h"
#include "jobclient/client/parts.h"
#include "tests/unit/jobclient/client/client_fixture.h"

namespace holdfast {
namespace {

class DynamicTest : public ClientTest {
 protected:
  // Three nodes, and files whose names are canonical.
  void Start(size_t files) {
    StartCluster(3);
    ObjectList list = MakeFiles(files);
    Connect(false);
    for (size_t i = 0; i < list.size(); ++i) {
      names.push_back(client->Canonical(list.item(i).uri)->c_str());
    }
  }

  // The node that is asked on the way far.
  NodeId HomeOf(size_t i) {
    auto& parts = ClientInternals::Of(*client);
    client::Promised<NodeId> home;
    parts.thread->Post([&] {
      parts.cluster->WhomToAsk(OidOf(names[i]),
                               [&](std::vector<NodeId> nodes) { home.Set(nodes.front()); });
    });
    return home.Wait();
  }

  // As a reader on that node's host would: the node fetches it, whoever the home is.
  void Place(size_t i, NodeId node) {
    HomeOf(i);  // everybody has been greeted then
    auto& parts = ClientInternals::Of(*client);
    Buffer room(kMiB);
    client::Promised<Status> placed;
    parts.thread->Post([&] {
      BulkItem item;
      item.oid = OidOf(names[i]);
      item.name = names[i];
      item.into = room.span();
      std::vector<BulkItem> items;
      items.push_back(std::move(item));
      parts.network->BulkRead(*parts.cluster->BulkEndpoint(node), BulkMode::kFetch,
                              std::move(items), parts.loop->Now() + 10s,
                              [&](size_t, BulkOutcome outcome) { placed.Set(outcome.status); });
    });
    ASSERT_TRUE(placed.Wait().ok());
  }

  NodeId OtherThanHome(size_t i) { return static_cast<NodeId>((HomeOf(i) + 1) % 3); }

  Collected Collect() {
    second += 10;
    Result<Collected> collected = collector().Collect({second * 1'000'000}, 5s, false);
    EXPECT_TRUE(collected.ok()) << collected.status().ToString();
    if (!collected.ok()) return {};
    frames.insert(frames.end(), collected->frame.begin(), collected->frame.end());
    informed = collector().Broadcast(
        *collected, [&] { return frames; }, 5s);
    return *std::move(collected);
  }

  SnapshotCollector& collector() {
    if (!made) made.emplace(client.get(), &log);
    return *made;
  }

  // A client that knows the log as it is now.
  void ConnectAgain() {
    made.reset();
    Connect(false);
  }

  Result<Object> Get(size_t i) {
    Result<Object> object = client->Get(names[i]);
    EXPECT_TRUE(object.ok()) << object.status().ToString();
    EXPECT_EQ(object.ok() ? object->text() : contents[i], contents[i]);
    return object;
  }

  std::vector<std::string> names;
  snapshot::SnapshotLog log{snapshot::ClusterHash("test")};
  std::optional<SnapshotCollector> made;
  int64_t second = 1'000'000;
  std::vector<std::byte> frames;
  uint32_t informed = 0;
  std::vector<NodeId> raced;
};

TEST_F(DynamicTest, ASnapshotListsWhatEveryNodeHolds) {
  Start(40);
  for (size_t i = 2; i < 40; ++i) Place(i, static_cast<NodeId>(i % 3));
  Collected first = Collect();
  EXPECT_EQ(first.answered, 3u);
  EXPECT_TRUE(first.full);
  EXPECT_EQ(first.objects, 38u);
  EXPECT_EQ(first.added, 38u);
  EXPECT_EQ(informed, 3u);
  for (size_t i = 2; i < 40; ++i) {
    std::array<snapshot::Sighting, snapshot::Known::kMost> seen;
    ASSERT_EQ(log.known().Find(snapshot::PrintOf(OidOf(names[i])), seen), 1u) << i;
    EXPECT_EQ(seen[0].node, i % 3);
  }
  Place(0, 1);
  Collected next = Collect();
  EXPECT_FALSE(next.full);
  EXPECT_EQ(next.added, 1u);
  EXPECT_EQ(next.removed, 0u);
}

TEST_F(DynamicTest, WhatTheLogKnowsIsLookedForThere) {
  Start(30);
  for (size_t i = 2; i < 30; ++i) Place(i, OtherThanHome(i));
  EXPECT_EQ(Get(2)->source(), ObjectSource::kThroughHome);  // nobody has told of it
  Collect();
  ConnectAgain();
  for (size_t i = 3; i < 30; ++i) {
    const Result<Explanation> why = client->Explain(names[i]);
    ASSERT_TRUE(why.ok());
    EXPECT_EQ(why->choice, Explanation::Choice::kLook);
    EXPECT_EQ(why->node, OtherThanHome(i));
    EXPECT_GT(why->chance, 0.9);
    EXPECT_EQ(why->snapshot, log.sequence());
    EXPECT_EQ(Get(i)->source(), ObjectSource::kPeer);
  }
  EXPECT_EQ(client->Spent().gets, 0u);
}

TEST_F(DynamicTest, WhatIsGoneIsHadByWayOfItsHomeAndNotLookedForAgain) {
  Start(10);
  Place(5, OtherThanHome(5));
  Collect();
  ASSERT_EQ(client->DropObjects({names[5]})->dropped_objects, 1u);
  ConnectAgain();
  EXPECT_EQ(client->Explain(names[5])->choice, Explanation::Choice::kLook);
  EXPECT_EQ(Get(5)->source(), ObjectSource::kThroughHome);
  const Result<Explanation> why = client->Explain(names[5]);
  EXPECT_EQ(why->choice, Explanation::Choice::kHome);  // which has it now
  EXPECT_EQ(why->node, HomeOf(5));
  // And the log's next part says the same.
  Collect();
  ConnectAgain();
  EXPECT_EQ(client->Explain(names[5])->choice, Explanation::Choice::kHome);
}

TEST_F(DynamicTest, WithoutALogTheHomeIsAsked) {
  Start(5);
  EXPECT_EQ(client->Explain(names[3])->choice, Explanation::Choice::kUnknown);
  EXPECT_EQ(client->Explain(names[3])->snapshot, 0u);
  EXPECT_EQ(Get(3)->source(), ObjectSource::kThroughHome);
}

TEST_F(DynamicTest, NobodyAsksTheFarStoreForTheVersionFirst) {
  Start(20);
  for (size_t i = 2; i < 20; ++i) EXPECT_EQ(Get(i)->source(), ObjectSource::kThroughHome);
  for (NodeId node = 0; node < 3; ++node) {
    const Result<std::string> status = client->NodeStatus(node);
    ASSERT_TRUE(status.ok()) << status.status().ToString();
    EXPECT_NE(status->find("\"heads\":0"), std::string::npos) << *status;
  }
  EXPECT_EQ(client->Spent().gets, 0u);
}

TEST_F(DynamicTest, WhatNoNodeServesIsReadInOneOrTwoFromTheFarStore) {
  Start(5);
  for (size_t node = 0; node < 3; ++node) Kill(node, SIGKILL);
  uint64_t bytes = 0;
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(Get(i)->source(), ObjectSource::kFar);
    bytes += contents[i].size();
  }
  EXPECT_EQ(client->Spent().gets, 6u);  // the second is larger than a first part
  EXPECT_EQ(client->Spent().bytes, bytes);
  EXPECT_EQ(client->Spent().heads, 0u);
}

TEST_F(DynamicTest, ANodeThatIsAwayIsAbsentAndNotEmpty) {
  Start(12);
  for (size_t i = 2; i < 12; ++i) Place(i, 1);
  Collect();
  Kill(1, SIGKILL);
  second += 10;
  Result<Collected> collected = collector().Collect({second * 1'000'000}, 1s, false);
  ASSERT_TRUE(collected.ok());
  EXPECT_EQ(collected->answered, 2u);
  EXPECT_EQ(collected->absent, std::vector<NodeId>{1});
  EXPECT_EQ(collected->removed, 0u);
  EXPECT_EQ(log.known().size(), 10u);
  // Reads go on, by way of the home or from the far store.
  for (size_t i = 2; i < 12; ++i) EXPECT_TRUE(Get(i).ok());
  Kill(0, SIGKILL);
  Kill(2, SIGKILL);
  const uint64_t before = log.sequence();
  EXPECT_EQ(collector().Collect({(second + 10) * 1'000'000}, 500ms, false).status().code(),
            Code::kUnavailable);
  EXPECT_EQ(log.sequence(), before);
}

TEST_F(DynamicTest, ANodeThatMissedSnapshotsGetsThemAll) {
  Start(12);
  Place(3, 0);
  Collect();
  Kill(2, SIGTERM);
  Place(4, 0);
  second += 10;
  Result<Collected> collected = collector().Collect({second * 1'000'000}, 1s, false);
  ASSERT_TRUE(collected.ok());
  frames.insert(frames.end(), collected->frame.begin(), collected->frame.end());
  pids[2] = Spawn(2);
  EXPECT_EQ(collected->absent, std::vector<NodeId>{2});
  collected->absent.clear();  // it is there again
  uint32_t have = 0;
  for (int tries = 0; have < 3 && tries < 50; ++tries) {
    have = collector().Broadcast(
        *collected, [&] { return frames; }, 200ms);
  }
  EXPECT_EQ(have, 3u);
}

// Whoever is first, the bytes are right and come once; and the far way goes on in peace.
TEST_F(DynamicTest, ARaceIsWonByWhoComesFirst) {
  Start(60);
  for (size_t i = 2; i < 40; ++i) Place(i, OtherThanHome(i));
  Collect();
  auto& parts = ClientInternals::Of(*client);
  parts.thread->Call([&] {
    parts.whereabouts->DecideBy([this](const Oid& oid) {
      for (size_t i = 0; i < names.size(); ++i) {
        if (OidOf(names[i]) == oid)
          return snapshot::Decision{.way = snapshot::Way::kRace, .node = raced[i]};
      }
      return snapshot::Decision{};
    });
  });
  for (size_t i = 0; i < names.size(); ++i) raced.push_back(OtherThanHome(i));
  for (size_t i = 2; i < 60; ++i) EXPECT_TRUE(Get(i).ok());
  // Nobody has it: the error is that of the far store.
  names.push_back("file:///no/such/file");
  raced.push_back(1);
  EXPECT_EQ(client->Get(names.back()).status().code(), Code::kNotFound);
}

TEST_F(DynamicTest, ManyAreReadAtOnceAndEachIsAnsweredOnce) {
  Start(300);
  for (size_t i = 2; i < 100; ++i) Place(i, static_cast<NodeId>(i % 3));
  Collect();
  ConnectAgain();
  std::vector<ObjectList::Item> items;
  for (const std::string& name : names) items.push_back({.uri = name, .etag = {}});
  items.push_back({.uri = "file:///no/such/file", .etag = {}});
  items.push_back({.uri = "nonsense", .etag = {}});
  std::vector<int> answers(items.size());
  client->GetMany(items, [&](size_t i, Result<Object> object) {
    ++answers[i];
    if (i >= 300) {
      EXPECT_EQ(object.status().code(), i == 300 ? Code::kNotFound : Code::kInvalid);
      return;
    }
    ASSERT_TRUE(object.ok()) << object.status().ToString();
    EXPECT_EQ(object->text(), contents[i]);
    EXPECT_EQ(object->name(), names[i]);
  });
  for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i], 1) << i;
  client->GetMany({}, [](size_t, Result<Object>) { FAIL(); });
}

}  // namespace
}  // namespace holdfast
