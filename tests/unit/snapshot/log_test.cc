// SPDX-License-Identifier: Apache-2.0
#include "snapshot/log.h"

#include <cstdlib>
#include <optional>

#include "base/random.h"
#include "tests/unit/snapshot/log_fixture.h"

namespace holdfast::snapshot {
namespace {

// --- Histories against a model ----------------------------------------------------------------

// A cluster as it is, and what its log must say of it.
class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {
    for (NodeId node = 0; node < 4; ++node) Join(static_cast<NodeId>(node * 3));
  }

  void Step() {
    now_ =
        After(passed_ += Duration(60'000'000 + static_cast<int64_t>(random_.Below(600'000'000))));
    if (random_.Chance(0.1)) Join(static_cast<NodeId>(random_.Below(14)));
    if (random_.Chance(0.1) && nodes_.size() > 1) Leave();
    for (auto& [number, node] : nodes_) {
      if (random_.Chance(0.1)) node = {.incarnation = random_.Next() | 1};
      Churn(&node);
      node.answers = !random_.Chance(0.15);
    }
  }

  std::vector<NodeListing> Snapshot() {
    std::vector<NodeListing> listings;
    for (const auto& [number, node] : nodes_) {
      if (!node.answers) {
        listings.push_back(Absent(number));
        continue;
      }
      NodeListing listing{.node = number, .incarnation = node.incarnation};
      // The node answers up to a second after the stamp.
      for (const auto& [print, object] : node.objects) {
        const auto late = static_cast<int64_t>(random_.Below(1'000'000));
        listing.objects.push_back(
            {print, Duration(now_.us + late - object.written_us), object.held});
      }
      listings.push_back(std::move(listing));
      std::erase_if(expected_, [n = number](const auto& item) { return item.first.first == n; });
      for (const auto& [print, object] : node.objects) expected_[{number, print}] = object;
      seen_[number] = now_;
    }
    return listings;
  }

  void ExpectKnown(const SnapshotLog& log) const {
    const Sightings known = SightingsOf(log);
    ASSERT_EQ(known.size(), expected_.size());
    for (const auto& [place, seen] : known) {
      const auto expected = expected_.find(place);
      ASSERT_NE(expected, expected_.end()) << place.first << " " << place.second;
      EXPECT_EQ(seen.held, expected->second.held);
      // Half a cell when it was seen first and half a one in a full frame, and what nodes are late.
      const int64_t age = now_.us - expected->second.written_us;
      EXPECT_LE(std::abs(seen.written_us - expected->second.written_us), age / 20 + 4'000'000);
    }
    ASSERT_EQ(log.nodes().size(), nodes_.size());
    for (const SnapshotLog::Node& node : log.nodes()) {
      const auto seen = seen_.find(node.node);
      EXPECT_EQ(node.seen, seen == seen_.end() ? Stamp{} : seen->second);
      EXPECT_EQ(node.answered, nodes_.at(node.node).answers);
      EXPECT_EQ(node.objects, std::count_if(known.begin(), known.end(), [&](const auto& item) {
                  return item.first.first == node.node;
                }));
    }
  }

  Stamp now() const { return now_; }
  Random& random() { return random_; }

 private:
  struct Node {
    Incarnation incarnation = 0;
    bool answers = true;
    std::map<Print, Seen> objects{};
  };

  void Join(NodeId number) { nodes_.try_emplace(number, Node{.incarnation = random_.Next() | 1}); }

  void Leave() {
    const auto gone = std::next(nodes_.begin(), static_cast<long>(random_.Below(nodes_.size())));
    std::erase_if(expected_, [&](const auto& item) { return item.first.first == gone->first; });
    seen_.erase(gone->first);
    nodes_.erase(gone);
  }

  // Few prints, so that they move between nodes and are on several at once.
  void Churn(Node* node) {
    for (uint64_t n = random_.Below(40); n > 0; --n) {
      const Print print = (random_.Below(200) * 0x9e3779b97f4a7c15) >> 24;
      if (random_.Chance(0.4)) {
        node->objects.erase(print);
      } else {
        node->objects[print] = {
            .held = random_.Chance(0.3),
            .kept = random_.Chance(0.5),
            .written_us = now_.us - static_cast<int64_t>(random_.Below(50'000'000))};
      }
    }
  }

  Random random_;
  Duration passed_{};
  Stamp now_ = kStart;
  std::map<NodeId, Node> nodes_;
  Sightings expected_;
  std::map<NodeId, Stamp> seen_;
};

TEST(SnapshotLogTest, SaysWhatTheNodesSaid) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed);
    SnapshotLog owner(kCluster), follower(kCluster);
    std::optional<SnapshotLog> late;  // reads from the last full frame on
    RingEvidence evidence;
    for (int snapshot = 0; snapshot < 60; ++snapshot) {
      world.Step();
      evidence[Ring::kFresh].Evicted(
          1s, Duration(static_cast<int64_t>(world.random().Below(9'000'000'000))), 3);
      const bool full = world.random().Chance(0.1);
      const Frame frame = owner.Append(world.now(), world.Snapshot(), evidence, full);
      const auto header = ReadFrameHeader(frame);
      ASSERT_TRUE(header.ok());
      ASSERT_EQ(header->full, full || snapshot == 0);
      if (header->full) late.emplace(kCluster);
      ASSERT_TRUE(follower.Apply(frame).ok());
      ASSERT_TRUE(late->Apply(frame).ok());
      world.ExpectKnown(owner);
      world.ExpectKnown(*late);
      ExpectSame(owner, follower);
      ExpectSameNodes(owner, *late);
      ExpectSameEvidence(owner.evidence(), late->evidence());
      if (HasFailure()) return;
    }
  }
}

// --- Ages ---------------------------------------------------------------------------------------

TEST(SnapshotLogTest, AgesAreKeptToWithinACellAndDoNotWander) {
  std::vector<HeldObject> objects;
  for (int64_t us = 1; us < 4'000'000'000'000; us = us * 5 / 4 + 1) {
    objects.push_back({static_cast<Print>(objects.size()), Duration(us), false});
  }
  SnapshotLog log(kCluster);
  log.Append(kStart, {Listing(1, objects)}, {}, true);
  const Sightings first = SightingsOf(log);
  for (const auto& [place, seen] : first) {
    const auto age = static_cast<double>(objects[place.second].age.count());
    EXPECT_NEAR(static_cast<double>(kStart.us - seen.written_us), age, 0.0226 * age + 500'000);
  }
  for (int i = 1; i <= 50; ++i) {
    auto older = objects;
    for (HeldObject& o : older) {
      o.age += 60s * i;
      o.held = i % 7 == 0;
    }
    log.Append(After(60s * i), {Listing(1, older)}, {}, i % 5 == 0);
    Sightings now = SightingsOf(log);
    for (auto& [place, seen] : now) seen.held = false;
    ASSERT_EQ(now, first) << i;
  }
}

TEST(SnapshotLogTest, AnObjectThatWasLoadedAgainIsYoungAgain) {
  SnapshotLog log(kCluster);
  log.Append(kStart, {Listing(1, {{5, 3600s}, {6, 3600s}})}, {}, true);
  const Frame frame = log.Append(After(600s), {Listing(1, {{5, 30s}, {6, 4200s}})}, {}, false);
  EXPECT_NEAR(static_cast<double>(log.known().At(5, 1)->written.us),
              static_cast<double>(After(570s).us), 1e6);
  EXPECT_EQ(log.added(), 0u);
  EXPECT_EQ(log.removed(), 0u);
}

TEST(SnapshotLogTest, NodesThatLieAboutLoadTimes) {
  SnapshotLog log(kCluster);
  log.Append(kStart, {Listing(1, {{5, Duration::min()}, {6, Duration::max()}, {7, -1h}})}, {},
             true);
  EXPECT_EQ(log.known().size(), 3u);
  for (Print print : {5, 7}) EXPECT_LE(log.known().At(print, 1)->written, kStart);
  EXPECT_GT(log.known().At(6, 1)->written, After(-98 * 24h));
  log.Append(After(1s), {Listing(1, {{5, Duration::max()}, {6, Duration::min()}})}, {}, false);
  EXPECT_EQ(log.known().size(), 2u);
}

TEST(SnapshotLogTest, ClocksThatGoBackwards) {
  SnapshotLog log(kCluster), reader(kCluster);
  ASSERT_TRUE(reader.Apply(log.Append(After(1h), {Listing(1, {{5, 10s}})}, {}, true)).ok());
  const Stamp written = log.known().At(5, 1)->written;
  ASSERT_TRUE(reader.Apply(log.Append(kStart, {Listing(1, {{5, 10s}, {9, 0s}})}, {}, false)).ok());
  ExpectSame(log, reader);
  EXPECT_EQ(log.stamp(), After(1h));
  EXPECT_EQ(*log.known().SeenAt(1), After(1h));
  EXPECT_EQ(log.known().At(5, 1)->written, written);
  for (int64_t us : {INT64_MIN, int64_t{0}, INT64_MAX}) {
    SnapshotLog other(kCluster);
    ASSERT_FALSE(other.Append({us}, {Listing(1, {{5, 10s}})}, {}, true).empty());
    EXPECT_GT(other.stamp(), Stamp{0});
    ASSERT_FALSE(other.Append({us}, {Listing(1, {{5, 10s}})}, {}, false).empty());
    EXPECT_EQ(other.sequence(), 2u);
  }
}

// --- Nodes --------------------------------------------------------------------------------------

TEST(SnapshotLogTest, AbsentIsNotEmpty) {
  SnapshotLog log(kCluster), reader(kCluster);
  log.Append(kStart, {Absent(1), Listing(2, {{5, 10s}})}, {}, true);
  EXPECT_EQ(log.known().SeenAt(1), nullptr);
  log.Append(After(60s), {Listing(1, {{7, 1s}}), Absent(2)}, {}, false);
  EXPECT_EQ(*log.known().SeenAt(2), kStart);
  EXPECT_TRUE(log.known().At(5, 2).has_value());
  // A full frame tells it too.
  ASSERT_TRUE(reader.Apply(log.Append(After(120s), {Absent(1), Absent(2)}, {}, true)).ok());
  ExpectSameNodes(log, reader);
  EXPECT_EQ(*reader.known().SeenAt(2), kStart);
  EXPECT_TRUE(reader.known().At(5, 2).has_value());
  // It answers, and lists it no longer.
  log.Append(After(180s), {Absent(1), Listing(2, {})}, {}, false);
  EXPECT_FALSE(log.known().At(5, 2).has_value());
  EXPECT_EQ(log.removed(), 1u);
  EXPECT_TRUE(log.known().At(7, 1).has_value());
}

TEST(SnapshotLogTest, RestartedAndGoneNodes) {
  SnapshotLog log(kCluster);
  log.Append(kStart, {Listing(1, {{5, 10s}, {6, 10s}}, 100), Listing(2, {{5, 10s}})}, {}, true);
  log.Append(After(60s), {Listing(1, {{6, 5s}}, 101), Listing(2, {{5, 70s}})}, {}, false);
  EXPECT_FALSE(log.known().At(5, 1).has_value());
  EXPECT_TRUE(log.known().At(5, 2).has_value());
  EXPECT_EQ(log.nodes()[0].incarnation, 101u);
  log.Append(After(120s), {Listing(1, {{6, 65s}}, 101)}, {}, false);
  EXPECT_EQ(log.known().size(), 1u);
  EXPECT_EQ(log.nodes().size(), 1u);
  EXPECT_EQ(log.known().SeenAt(2), nullptr);
}

// It found again what it had: of these nothing need be said.
TEST(SnapshotLogTest, WhatARestartedNodeKeptIsNotToldAgain) {
  SnapshotLog log(kCluster), reader(kCluster);
  ASSERT_TRUE(
      reader.Apply(log.Append(kStart, {Listing(1, {{5, 10s}, {6, 10s}, {7, 10s}}, 100)}, {}, true))
          .ok());
  ASSERT_TRUE(
      reader.Apply(log.Append(After(60s), {Listing(1, {{5, 70s}, {7, 2s}}, 101)}, {}, false)).ok());
  for (const SnapshotLog* each : {&log, &reader}) {
    EXPECT_EQ(each->nodes()[0].incarnation, 101u);
    EXPECT_EQ(each->nodes()[0].objects, 2u);
    EXPECT_EQ(each->removed(), 1u);
    EXPECT_EQ(each->added(), 0u);
    EXPECT_LT(each->known().At(5, 1)->written, each->known().At(7, 1)->written);
  }
}

// Of a hundred thousand objects two may have one print: it must not stop the collector.
TEST(SnapshotLogTest, TwoObjectsOfOnePrint) {
  SnapshotLog log(kCluster);
  log.Append(kStart, {Listing(1, {{0, 10s}, {0, 20s}, {5, 10s}, {5, 20s}, {5, 30s}})}, {}, true);
  EXPECT_EQ(log.known().size(), 2u);
}

// --- Evidence -----------------------------------------------------------------------------------

TEST(SnapshotLogTest, EvidenceOfAnySizeComesThrough) {
  RingEvidence evidence;
  evidence[Ring::kKept].Evicted(0s, 10s, uint64_t{1} << 63);
  evidence[Ring::kKept].StillThere(3s, 97 * 24h, 12'345);
  evidence.Forget(0.123);
  SnapshotLog log(kCluster), reader(kCluster);
  ASSERT_TRUE(reader.Apply(log.Append(kStart, {}, evidence, true)).ok());
  const auto said = evidence[Ring::kKept].Cells();
  const auto known = reader.evidence()[Ring::kKept].Cells();
  for (size_t i = 0; i < said.size(); ++i) {
    EXPECT_NEAR(known[i].kept, said[i].kept, said[4].kept * 1e-12);
    EXPECT_EQ(known[i].lost, said[i].lost);
    EXPECT_EQ(known[i].lost_squares, said[i].lost_squares);
  }
  ASSERT_TRUE(reader.Apply(log.Append(After(1s), {}, {}, false)).ok());
  for (const auto& cell : reader.evidence().Together().Cells()) EXPECT_EQ(cell.trials(), 0);
}

// --- Sizes --------------------------------------------------------------------------------------

// 10^6 objects on 8 nodes, ages from a first-in-first-out cluster of six hours, a tenth held.
class SnapshotSizesTest : public testing::Test {
 protected:
  static constexpr size_t kNodes = 8, kPerNode = 125'000;

  void SetUp() override {
    for (size_t node = 0; node < kNodes; ++node) {
      std::vector<HeldObject> objects;
      for (size_t i = 0; i < kPerNode; ++i) objects.push_back(New(6 * 3600));
      listings_.push_back(Listing(static_cast<NodeId>(node), std::move(objects), random_.Next()));
    }
    for (int i = 0; i < 3'000; ++i) {
      evidence_[i % 2 == 0 ? Ring::kFresh : Ring::kKept].Evicted(
          0s, Duration(static_cast<int64_t>(random_.Exponential(1e10))), 7);
    }
    evidence_.Forget(0.987);
  }

  HeldObject New(uint64_t oldest_s) {
    return {
        random_.Next() >> 24, Duration(static_cast<int64_t>(random_.Below(oldest_s * 1'000'000))),
        random_.Chance(0.1), oldest_s > 3600 && random_.Chance(0.9) ? Ring::kKept : Ring::kFresh};
  }

  // Ten minutes later; of each node so many have gone, and as many come.
  void Pass(size_t changed_per_node) {
    for (NodeListing& listing : listings_) {
      for (HeldObject& o : listing.objects) o.age += 600s;
      for (size_t i = 0; i < changed_per_node; ++i) {
        listing.objects[i * (kPerNode / changed_per_node)] = New(600);
      }
      listing = Listing(listing.node, std::move(listing.objects), listing.incarnation);
    }
  }

  Random random_{42};
  std::vector<NodeListing> listings_;
  RingEvidence evidence_;
};

TEST_F(SnapshotSizesTest, BytesPerObject) {
  SnapshotLog log(kCluster);
  const Frame full = log.Append(kStart, listings_, evidence_, true);
  EXPECT_LE(full.size(), 4'200'000u);
  EXPECT_LE(log.known().memory_bytes(), 24 * log.known().size());
  // 10,000 changes: 5,000 objects gone, 5,000 new.
  Pass(625);
  const Frame few = log.Append(After(600s), listings_, evidence_, false);
  EXPECT_NEAR(static_cast<double>(log.added() + log.removed()), 10'000, 10);
  EXPECT_LE(few.size(), 55'000u);
  Pass(6'250);
  const Frame many = log.Append(After(1'200s), listings_, evidence_, false);
  EXPECT_LE(many.size(), 420'000u);
  EXPECT_LE(log.known().memory_bytes(), 24 * log.known().size());
  SnapshotLog reader(kCluster);
  for (const Frame* frame : {&full, &few, &many}) ASSERT_TRUE(reader.Apply(*frame).ok());
  EXPECT_EQ(reader.known().size(), log.known().size());
  EXPECT_LE(reader.known().memory_bytes(), 24 * reader.known().size());
}

TEST_F(SnapshotSizesTest, NothingNewIsSmall) {
  SnapshotLog log(kCluster);
  log.Append(kStart, listings_, {}, true);
  Pass(1);
  EXPECT_LE(log.Append(After(600s), listings_, {}, false).size(), 600u);
}

}  // namespace
}  // namespace holdfast::snapshot
