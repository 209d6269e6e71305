// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/single_read.h"

#include <deque>

#include "base/uri.h"
#include "fake_world.h"
#include "snapshot/log.h"

namespace holdfast::client {
namespace {

using jobclient::FakeWorld;
using snapshot::Way;

const std::string kUri = "file:///o/one";
constexpr uint64_t kSize = 40;

// Bulk and far reads are answered by the test, or end with their deadline.
class ByHand : public FakeWorld {
 public:
  struct Asked {
    NodeId node = kNoNode;
    BulkMode mode = BulkMode::kLook;
    Time deadline{};
    ByteSpan into;
    std::function<void(BulkOutcome)> answer;
  };
  void BulkRead(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                Time deadline, std::function<void(size_t, BulkOutcome)> each) override {
    auto ended = std::make_shared<bool>(false);
    auto answer = [ended, each](BulkOutcome outcome) {
      if (!std::exchange(*ended, true)) each(0, std::move(outcome));
    };
    asked.push_back({static_cast<NodeId>(std::stoi(endpoint.substr(5))), mode, deadline,
                     items[0].into, answer});
    clock.At(deadline, [answer] { answer({.status = Status::Timeout("deadline")}); });
  }
  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t)> done) override {
    ++gets;
    const bool late = get.deadline <= clock.Now();
    const uint64_t size = far_size > 0 ? far_size : get.length;
    clock.At(clock.Now() + 30ms, [get, done, late, size, status = far_status] {
      std::fill(get.into.begin(), get.into.end(), std::byte{'f'});
      done(late ? Status::Timeout("deadline") : status, {size, get.etag}, 0);
    });
  }
  void Head(const std::string&, Time, std::function<void(Result<FarInfo>)> done) override {
    ++heads;
    clock.At(clock.Now() + 30ms, [done] { done(FarInfo{900'000, "etag#1000000"}); });
  }

  // Writes `size` times `with` where the asker wants it, and says so.
  static void Give(Asked& one, char with, uint64_t size = kSize) {
    std::fill_n(one.into.begin(), size, static_cast<std::byte>(with));
    one.answer({.status = {}, .size = size, .answered = true});
  }
  static void Refuse(Asked& one, Code code, uint64_t size = 0) {
    one.answer({.status = Status(code, "no"), .size = size, .answered = true});
  }

  std::deque<Asked> asked;
  uint64_t gets = 0;
  uint64_t heads = 0;
  uint64_t far_size = 0;  // 0: of whatever is asked for
  Status far_status;
};

class SingleReadTest : public testing::Test {
 protected:
  SingleReadTest() {
    world_.AddNodes(3);
    cluster_.emplace(world_.env(), world_.options());
    whereabouts_.emplace(world_.env(), &*cluster_, WhereaboutsOptions{.cluster = "holdfast"});
    whereabouts_->DecideBy([this](const Oid&) {
      return snapshot::Decision{
          .way = way_, .node = elsewhere_, .chance = 0.5, .situation = {.age = 10s}};
    });
    world_.clock.RunFor(100ms);  // everybody has greeted
    cluster_->WhomToAsk(OidOf(kUri), [this](const std::vector<NodeId>& nodes) { nodes_ = nodes; });
    for (NodeId node = 0; node < 3; ++node) {
      if (node != nodes_[0] && node != nodes_[1]) elsewhere_ = node;
    }
  }

  void Start(Way way, Duration timeout = 100s) {
    way_ = way;
    SingleRead::Start(
        {world_.env(), &*cluster_, &*whereabouts_},
        {{kUri, FarInfo{kSize, "etag"},
          [this](Result<SingleRead::Found> found) { ended_.push_back(std::move(found)); }}},
        world_.clock.Now() + timeout);
    TellLog();
    world_.clock.RunFor(10ms);
  }

  // Without a version, or as it is.
  void StartLarge(const std::string& uri, std::optional<FarInfo> version, bool piece = false) {
    way_ = Way::kUnknown;
    SingleRead::Start(
        {world_.env(), &*cluster_, &*whereabouts_, 500'000},
        {{.uri = uri,
          .version = std::move(version),
          .done = [this](Result<SingleRead::Found> found) { ended_.push_back(std::move(found)); },
          .piece = piece}},
        world_.clock.Now() + 100s);
    TellLog();
    world_.clock.RunFor(10ms);
  }
  void ExpectLarger(uint64_t size) {
    world_.clock.RunFor(100ms);
    ASSERT_EQ(ended_.size(), 1u);
    ASSERT_TRUE(ended_[0].ok()) << ended_[0].status().ToString();
    ASSERT_TRUE(ended_[0]->larger.has_value());
    EXPECT_EQ(ended_[0]->larger->size, size);
    EXPECT_EQ(ended_[0]->chunk, 499'712u) << "a multiple of 4 KiB";
    EXPECT_TRUE(ended_[0]->bytes.empty());
  }

  // The log that was asked for with the first read: the object was seen elsewhere.
  void TellLog() {
    snapshot::SnapshotLog log(snapshot::ClusterHash("holdfast"));
    snapshot::NodeListing listing{.node = elsewhere_, .incarnation = 1, .answered = true};
    listing.objects.push_back({snapshot::PrintOf(OidOf(kUri)), 1s});
    const std::vector<std::byte> frame = log.Append({1'000'000}, {listing}, {}, true);
    for (NodeId node = 0; node < 3; ++node) {
      world_.Deliver(
          node, wire::LogReply{.id = 1, .sequence = 1, .age = 1s, .frames = Buffer::CopyOf(frame)});
    }
  }

  bool Believed() const {
    return whereabouts_->log().known().At(snapshot::PrintOf(OidOf(kUri)), elsewhere_).has_value();
  }
  ByHand::Asked& Last(BulkMode mode) {
    auto it = std::find_if(world_.asked.rbegin(), world_.asked.rend(),
                           [mode](const ByHand::Asked& one) { return one.mode == mode; });
    HF_CHECK(it != world_.asked.rend());
    return *it;
  }
  std::string Bytes() const {
    return ended_.size() == 1 && ended_[0].ok() ? std::string(AsText(ended_[0]->bytes.view())) : "";
  }

  ByHand world_;
  std::optional<ClusterView> cluster_;
  std::optional<Whereabouts> whereabouts_;
  std::vector<NodeId> nodes_;
  NodeId elsewhere_ = kNoNode;
  Way way_ = Way::kLook;
  std::vector<Result<SingleRead::Found>> ended_;
};

TEST_F(SingleReadTest, ALookThatFindsIsTheEnd) {
  Start(Way::kLook);
  ASSERT_EQ(world_.asked.size(), 1u);
  EXPECT_EQ(world_.asked[0].node, elsewhere_);
  EXPECT_EQ(world_.asked[0].mode, BulkMode::kLook);
  ByHand::Give(world_.asked[0], 'l');
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_EQ(Bytes(), std::string(kSize, 'l'));
  EXPECT_EQ(ended_[0]->source, ObjectSource::kPeer);
  EXPECT_TRUE(Believed());
}

TEST_F(SingleReadTest, ALookInVainErasesAndTheHomeIsAsked) {
  Start(Way::kExplore);
  ASSERT_TRUE(Believed());
  ByHand::Refuse(world_.asked[0], Code::kNotFound);
  EXPECT_FALSE(Believed());
  ASSERT_EQ(world_.asked.size(), 2u);
  EXPECT_EQ(world_.asked[1].node, nodes_[0]);
  ByHand::Give(world_.asked[1], 'h');
  EXPECT_EQ(Bytes(), std::string(kSize, 'h'));
}

TEST_F(SingleReadTest, TheFirstOfARaceIsReturnedWithItsOwnBytesAndOnce) {
  for (const bool look_first : {true, false}) {
    world_.asked.clear();
    ended_.clear();
    Start(Way::kRace);
    ASSERT_EQ(world_.asked.size(), 2u);
    auto& look = Last(BulkMode::kLook);
    auto& way_far = Last(BulkMode::kFetch);
    if (look_first) ByHand::Give(look, 'l');
    ByHand::Give(way_far, 'h');
    if (!look_first) ByHand::Give(look, 'l');
    EXPECT_EQ(Bytes(), std::string(kSize, look_first ? 'l' : 'h'));
  }
}

// An answer that came after the way far was thrown away once, so the sighting stayed, and the next
// read looked there again.
TEST_F(SingleReadTest, ALookIsBelievedAlsoWhenItLosesTheRace) {
  Start(Way::kRace);
  ByHand::Give(Last(BulkMode::kFetch), 'h');
  ASSERT_EQ(ended_.size(), 1u);
  ASSERT_TRUE(Believed());
  ByHand::Refuse(Last(BulkMode::kLook), Code::kNotFound);
  EXPECT_FALSE(Believed());
  EXPECT_EQ(Bytes(), std::string(kSize, 'h'));
}

TEST_F(SingleReadTest, ARaceFailsWhenBothHaveFailed) {
  world_.far_status = Status::Denied("not for you");
  Start(Way::kRace);
  ByHand::Refuse(Last(BulkMode::kFetch), Code::kDenied);
  ByHand::Refuse(Last(BulkMode::kFetch), Code::kDenied);
  world_.clock.RunFor(100ms);
  EXPECT_TRUE(ended_.empty());  // the look is out
  ByHand::Refuse(Last(BulkMode::kLook), Code::kNotFound);
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_EQ(ended_[0].status().code(), Code::kDenied);
}

TEST_F(SingleReadTest, ASilentNodeIsNotLookedAtForLong) {
  Start(Way::kLook);
  world_.clock.RunFor(3s);
  ASSERT_EQ(world_.asked.size(), 2u);
  EXPECT_EQ(world_.asked[1].node, nodes_[0]);
  EXPECT_TRUE(Believed());  // silence says nothing
  ByHand::Give(world_.asked[1], 'h');
  EXPECT_EQ(Bytes(), std::string(kSize, 'h'));
}

// A home that hangs took all of a read's time, and the far store was then asked with none left: the
// read failed because the cache did.
TEST_F(SingleReadTest, NodesThatHangLeaveTimeForTheFarStore) {
  Start(Way::kFar, 20s);
  world_.clock.RunFor(19s);
  EXPECT_EQ(world_.gets, 1u);
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_EQ(Bytes(), std::string(kSize, 'f'));
  EXPECT_EQ(ended_[0]->source, ObjectSource::kFar);
  // They are not asked again until they greet.
  EXPECT_EQ(cluster_->BulkEndpoint(nodes_[0]), nullptr);
  EXPECT_EQ(cluster_->BulkEndpoint(nodes_[1]), nullptr);
}

// --- Larger than a chunk -------------------------------------------------------------------------

TEST_F(SingleReadTest, WhatIsKnownToBeLargerThanAChunkIsNotAskedFor) {
  StartLarge(kUri, FarInfo{600'000, "etag"});
  ExpectLarger(600'000);
  EXPECT_EQ(world_.asked.size() + world_.gets + world_.heads, 0u);
}

TEST_F(SingleReadTest, APieceIsReadAsItIs) {
  StartLarge(kUri, FarInfo{600'000, "etag"}, true);
  ASSERT_EQ(world_.asked.size(), 1u);
  ByHand::Give(world_.asked[0], 'h', 600'000);
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_FALSE(ended_[0]->larger.has_value());
  EXPECT_EQ(ended_[0]->bytes.size(), 600'000u);
}

TEST_F(SingleReadTest, TheFirstPartFromFarAwayShowsThatItIsLarger) {
  world_.far_size = 600'000;
  StartLarge(kUri, std::nullopt);
  for (size_t n = 0; n < 2; ++n) {  // neither the home nor the second pick takes it
    ASSERT_EQ(world_.asked.size(), n + 1);
    ByHand::Refuse(world_.asked[n], Code::kNoSpace);
  }
  ExpectLarger(600'000);
  EXPECT_EQ(world_.gets, 1u) << "the rest is not read with it";
}

TEST_F(SingleReadTest, ANodeThatHasItWholeGivesItWhole) {
  StartLarge(kUri, std::nullopt);
  ByHand::Refuse(world_.asked[0], Code::kNoSpace, 600'000);
  ASSERT_EQ(world_.asked.size(), 2u);
  ByHand::Give(world_.asked[1], 'h', 600'000);
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_EQ(ended_[0]->bytes.size(), 600'000u);
}

TEST_F(SingleReadTest, OfALargeRangeOnlyTheVersionIsMissing) {
  StartLarge(kUri + "#bytes=0-899999", std::nullopt);
  ExpectLarger(900'000);
  EXPECT_EQ(ended_[0]->larger->etag, "etag#1000000");
  EXPECT_EQ(world_.heads, 1u);
  EXPECT_EQ(world_.asked.size() + world_.gets, 0u);
}

}  // namespace
}  // namespace holdfast::client
