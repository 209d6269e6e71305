// SPDX-License-Identifier: Apache-2.0
// A promise finds its room: in a tier whose promises go up to PromisableBytes, with records of
// every size up to the largest that may be promised, promises that end at random, unpromised loads
// in between, and readers that pin all of their quarter.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <vector>

#include "base/random.h"
#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

struct Shape {
  uint32_t segments;
  uint64_t segment_bytes;
  enum { kSmall, kMixed, kLargest, kHalves } sizes;
};

class FullTier {
 public:
  FullTier(uint64_t seed, const Shape& shape)
      : random_(seed),
        shape_(shape),
        node_(SmallOptions(shape.segments, shape.segment_bytes, 60'000)) {
    for (uint32_t i = 1; i <= 2; ++i) {
      clients_.push_back(
          std::make_unique<Client>(i, node_.memory.span(), node_.plan.segments, &node_.sessions));
    }
    node_.tier->SetHoldUntil([&](const Oid& oid, VersionHash) { return until_.at(oid); });
    node_.tier->Maintain(now_, 0);
  }

  void Run(int steps) {
    while (fullest() < 0.95 && !testing::Test::HasFatalFailure()) Promise();
    for (int step = 0; step < steps && !testing::Test::HasFatalFailure(); ++step) {
      now_ = now_ + 10ms;
      if (random_.Chance(0.6)) Promise();
      if (random_.Chance(0.02)) EndSome(0.01);
      if (random_.Chance(0.3)) LoadUnpromised();
      if (random_.Chance(0.2)) View();
      if (random_.Chance(0.1)) node_.tier->Maintain(now_, random_.Below(4 * shape_.segment_bytes));
    }
    while (!loading_.empty()) FinishOldestLoad();
    ASSERT_EQ(node_.tier->Stats().held_bytes, promised_);
    for (const auto& [number, bytes] : held_) {
      ASSERT_TRUE(node_.Has(number)) << "a held record was lost";
      ASSERT_TRUE(IsRight(number, 1, node_.tier->Find(OidOf(number), 1)->payload));
    }
  }
  double fullest() const {
    return static_cast<double>(fullest_) / static_cast<double>(node_.tier->PromisableBytes());
  }
  uint64_t moved() const { return node_.tier->Stats().moved_bytes; }
  uint64_t over_grant() const { return over_grant_; }

 private:
  uint64_t RandomSize() {
    const uint64_t most = node_.tier->max_object_bytes();
    switch (shape_.sizes) {
      case Shape::kSmall:
        return random_.Below(most / 16);
      case Shape::kLargest:
        return most;
      case Shape::kHalves:
        return random_.Chance(0.5) ? most : most / 2 + 1;
      default:
        return random_.Chance(0.2) ? random_.Below(most + 1) : random_.Below(most / 20);
    }
  }

  // As a job does: room is taken in the calendar, the object is loaded, or found in the ring and
  // held.
  void Promise() {
    const uint64_t size = RandomSize();
    const uint64_t bytes = shm::RecordBytes(size, ("mem:" + std::to_string(next_)).size(), 2);
    if (promised_ + bytes > node_.tier->PromisableBytes()) {
      EndSome(0.08);
      return;
    }
    const Time until = now_ + Duration(static_cast<int64_t>(random_.Below(18'000'000'000)));
    const uint64_t number = next_++;
    until_[OidOf(number)] = until;
    if (random_.Chance(0.2)) {
      if (!node_.Put(number, 1, size, now_).ok()) return;
      ASSERT_TRUE(node_.tier->Hold(OidOf(number), 1));
    } else {
      Load(number, size, until);
    }
    held_[number] = bytes;
    promised_ += bytes;
    fullest_ = std::max(fullest_, promised_);
  }
  // The last two loads are always under way.
  void Load(uint64_t number, uint64_t size, Time until) {
    const std::string name = "mem:" + std::to_string(number);
    Result<MemoryTier::Slot> slot = node_.tier->Allocate(
        {.oid = OidOf(number), .version = 1, .size = size, .name = name, .etag = "v1"}, now_,
        until);
    ASSERT_TRUE(slot.ok()) << slot.status().message() << " at " << promised_ << " of "
                           << node_.tier->PromisableBytes();
    Fill(number, 1, slot->payload);
    loading_.push_back(*slot);
    if (loading_.size() > 2) FinishOldestLoad();
  }
  void FinishOldestLoad() {
    node_.tier->Commit(loading_.front().id, Hash64(loading_.front().payload), 1);
    loading_.pop_front();
  }
  // Records of a segment end at different times: what is left is scattered.
  void EndSome(double share) {
    while (!loading_.empty()) FinishOldestLoad();
    std::erase_if(held_, [&](const auto& h) {
      if (!random_.Chance(share)) return false;
      promised_ -= h.second;
      return node_.tier->Unhold(OidOf(h.first), 1);
    });
  }
  void LoadUnpromised() {
    const Status status = node_.Put(next_++, 1, RandomSize(), now_);
    EXPECT_TRUE(status.ok() || status.code() == Code::kNoSpace) << status.message();
  }
  void View() {
    if (views_.size() > 200 || (!views_.empty() && random_.Chance(0.4))) views_.pop_front();
    if (held_.empty()) return;
    auto it = held_.lower_bound(random_.Below(next_));
    if (it == held_.end()) it = held_.begin();
    bool over_grant = false;
    LocalView view = (*clients_[random_.Below(2)])->View(OidOf(it->first), 1, &over_grant);
    over_grant_ += over_grant ? 1 : 0;
    if (view) views_.push_back(std::move(view));
  }

  Random random_;
  Shape shape_;
  Node node_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::deque<LocalView> views_;
  std::deque<MemoryTier::Slot> loading_;
  Time now_{1'000'000};
  std::map<Oid, Time> until_;
  std::map<uint64_t, uint64_t> held_;  // bytes by number
  uint64_t promised_ = 0;
  uint64_t fullest_ = 0;
  uint64_t next_ = 1;
  uint64_t over_grant_ = 0;
};

TEST(FullTier, EveryPromiseFindsRoom) {
  const Shape shapes[] = {{16, 32 * kKiB, Shape::kMixed},   {64, 16 * kKiB, Shape::kMixed},
                          {64, 16 * kKiB, Shape::kLargest}, {64, 16 * kKiB, Shape::kHalves},
                          {128, 8 * kKiB, Shape::kSmall},   {600, 8 * kKiB, Shape::kMixed}};
  for (const Shape& shape : shapes) {
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(testing::Message()
                   << shape.segments << " segments, sizes " << shape.sizes << ", seed " << seed);
      FullTier tier(seed, shape);
      tier.Run(static_cast<int>(5000 + 20 * shape.segments));
      EXPECT_GT(tier.fullest(), 0.9);
      EXPECT_GT(tier.moved(), 0u);
      EXPECT_GT(tier.over_grant(), 0u);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace holdfast::store
