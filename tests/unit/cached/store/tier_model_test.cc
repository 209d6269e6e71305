// SPDX-License-Identifier: Apache-2.0
// The tier against a std::map, by random operations on tiny segments. The tier may lose what nobody
// holds; everything else it has to know exactly as the map does.
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/random.h"
#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

struct Key {
  uint64_t number;
  VersionHash version;
  friend auto operator<=>(const Key&, const Key&) = default;
};
struct Known {
  uint64_t size;
  uint32_t holds;
};
struct Started {
  Key key;
  MemoryTier::Slot slot;
  uint64_t bytes;
};

uint64_t BytesOf(const RecordView& r) {
  return shm::RecordBytes(r.payload.size(), r.name.size(), r.etag.size());
}

class Model {
 public:
  Model(uint64_t seed, const MemoryTierOptions& options)
      : random_(seed),
        node_(options),
        client_(1, node_.memory.span(), node_.plan.segments, &node_.sessions) {
    node_.tier->SetHoldUntil([](const Oid& oid, VersionHash) {
      return Time{static_cast<int64_t>(oid.lo % 7'200'000'000)};
    });
  }

  void Run(int steps) {
    for (int step = 0; step < steps && !testing::Test::HasFatalFailure(); ++step) {
      now_ = now_ + 1ms;
      switch (random_.Below(12)) {
        case 0:
        case 1:
        case 2:
        case 3:
          Start();
          break;
        case 4:
        case 5:
        case 6:
          Finish();
          break;
        case 7:
          Hold();
          break;
        case 8:
        case 9:
          Unhold();
          break;
        case 10:
          Drop();
          break;
        default:
          node_.tier->Maintain(now_, random_.Below(40 * kKiB));
          Read();
      }
      if (step % 64 == 0) Check();
    }
    Check();
  }
  uint64_t compared() const { return compared_; }
  // At the end everything can be let go of, and all of the memory comes back.
  void Empty() {
    while (!started_.empty()) Finish();
    for (auto& [key, known] : known_) {
      for (; known.holds > 0; --known.holds)
        ASSERT_TRUE(node_.tier->Unhold(OidOf(key.number), key.version));
      node_.tier->Drop(OidOf(key.number), key.version);
    }
    known_.clear();
    Check();
    EXPECT_EQ(node_.tier->Stats().live_bytes, 0u);
  }

 private:
  Key RandomKey() { return {random_.Below(300), 1 + random_.Below(2)}; }

  void Start() {
    const Key key = RandomKey();
    const uint64_t size = random_.Chance(0.1) ? random_.Below(5000) : random_.Below(700);
    const std::string name(1 + random_.Below(50), 'n');
    std::optional<Time> until;
    if (random_.Chance(0.3))
      until = now_ + Duration(static_cast<int64_t>(random_.Below(7'200'000'000)));
    Result<MemoryTier::Slot> slot = node_.tier->Allocate(
        {.oid = OidOf(key.number), .version = key.version, .size = size, .name = name, .etag = "e"},
        now_, until);
    if (!slot.ok()) {
      EXPECT_EQ(slot.status().code(), Code::kNoSpace);
      return;
    }
    Fill(key.number, key.version, slot->payload);
    started_.push_back({key, *slot, shm::RecordBytes(size, name.size(), 1)});
  }
  void Finish() {
    if (started_.empty()) return;
    const size_t i = random_.Below(started_.size());
    const Started s = started_[i];
    started_.erase(started_.begin() + static_cast<ptrdiff_t>(i));
    if (random_.Chance(0.2)) return node_.tier->Abort(s.slot.id);
    const uint32_t holds = static_cast<uint32_t>(random_.Chance(0.5) ? random_.Below(3) : 0);
    const bool there = node_.Has(s.key.number, s.key.version);
    node_.tier->Commit(s.slot.id, Hash64(s.slot.payload), holds);
    if (there) {
      known_.at(s.key).holds += holds;
    } else {
      ASSERT_TRUE(!known_.contains(s.key) || known_.at(s.key).holds == 0)
          << "a held record was lost";
      known_[s.key] = {s.slot.payload.size(), holds};
    }
  }
  void Hold() {
    const Key key = RandomKey();
    const bool there = node_.Has(key.number, key.version);
    EXPECT_EQ(node_.tier->Hold(OidOf(key.number), key.version), there);
    if (there) ++known_.at(key).holds;
  }
  void Unhold() {
    const Key key = RandomKey();
    auto it = known_.find(key);
    const bool held = it != known_.end() && it->second.holds > 0;
    EXPECT_EQ(node_.tier->Unhold(OidOf(key.number), key.version), held);
    if (held) --it->second.holds;
  }
  void Drop() {
    const Key key = RandomKey();
    auto it = known_.find(key);
    const bool held = it != known_.end() && it->second.holds > 0;
    const bool there = node_.Has(key.number, key.version);
    EXPECT_EQ(node_.tier->Drop(OidOf(key.number), key.version), there && !held);
    EXPECT_EQ(node_.Has(key.number, key.version), held);
  }
  void Read() {
    std::vector<std::byte> bytes(20 * 5000);
    std::vector<LocalRequest> requests;
    std::vector<Key> keys;
    for (size_t i = 0; i < 20; ++i) {
      keys.push_back(RandomKey());
      requests.push_back(
          {OidOf(keys[i].number), keys[i].version, ByteSpan(bytes).subspan(i * 5000, 5000)});
    }
    std::vector<LocalOutcome> outcomes(20);
    client_->CopyMany(requests, outcomes);
    for (size_t i = 0; i < 20; ++i) {
      const bool there = node_.Has(keys[i].number, keys[i].version);
      ASSERT_EQ(outcomes[i].code, there ? Code::kOk : Code::kNotFound);
      if (there) {
        EXPECT_TRUE(
            IsRight(keys[i].number, keys[i].version, requests[i].into.first(outcomes[i].size)));
      }
    }
  }

  void Check() {
    TierStats expected;
    for (const auto& [key, known] : known_) {
      const std::optional<RecordView> found = node_.tier->Find(OidOf(key.number), key.version);
      if (!found) {
        ASSERT_EQ(known.holds, 0u) << "a held record was lost";
        continue;
      }
      ASSERT_EQ(found->payload.size(), known.size);
      ASSERT_TRUE(IsRight(key.number, key.version, found->payload));
      ++compared_;
      expected.live_bytes += BytesOf(*found);
      ++expected.live_objects;
      if (known.holds > 0) {
        expected.held_bytes += BytesOf(*found);
        ++expected.held_objects;
      }
    }
    const TierStats stats = node_.tier->Stats();
    EXPECT_EQ(stats.live_bytes, expected.live_bytes);
    EXPECT_EQ(stats.live_objects, expected.live_objects);
    EXPECT_EQ(stats.held_bytes, expected.held_bytes);
    EXPECT_EQ(stats.held_objects, expected.held_objects);
    EXPECT_LE(stats.live_bytes, stats.object_bytes);
    uint64_t visited = 0;
    node_.tier->ForEach([&](const RecordView&, bool) { ++visited; });
    EXPECT_EQ(visited, expected.live_objects);
  }

  Random random_;
  uint64_t compared_ = 0;
  Node node_;
  Client client_;
  Time now_{1'000'000};
  std::map<Key, Known> known_;  // what was put and, if not held, may have been lost since
  std::vector<Started> started_;
};

TEST(TierModel, AgreesWithAMap) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed, SmallOptions(static_cast<uint32_t>(8 + seed * 3), 8 * kKiB, 400));
    model.Run(3000);
    EXPECT_GT(model.compared(), 100u);  // payloads, beside the counts after every 64 steps
    model.Empty();
  }
}

}  // namespace
}  // namespace holdfast::store
