// SPDX-License-Identifier: Apache-2.0
// Readers against a daemon that loads and reclaims tiny segments without a pause, in one process:
// also for the thread sanitizer. Records say what they must contain, so a reader that is given
// bytes of another record notices.
#include <gtest/gtest.h>

#include <deque>
#include <thread>
#include <vector>

#include "base/random.h"
#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kObjects = 400;
constexpr uint64_t kVersions = 3;
constexpr uint64_t kLargest = 1200;
#ifdef __SANITIZE_THREAD__
constexpr int kReads = 8'000;
#else
constexpr int kReads = 300'000;
#endif

// The size follows from object and version, so that a reader can check it too.
uint64_t SizeOf(uint64_t number, VersionHash version) {
  return 1 + Mix64(number * 5 + version) % kLargest;
}

struct Counts {
  uint64_t found = 0;
  uint64_t views = 0;
  uint64_t over_grant = 0;
  uint64_t wrong = 0;
};

void CheckRecord(uint64_t number, VersionHash asked, VersionHash version, ByteView payload,
                 Counts* counts) {
  ++counts->found;
  const bool right = (asked == 0 || asked == version) &&
                     payload.size() == SizeOf(number, version) && IsRight(number, version, payload);
  counts->wrong += right ? 0 : 1;
}

Counts Read(LocalReader* reader, uint64_t seed) {
  Random random(seed);
  Counts counts;
  constexpr size_t kBatch = 16;
  std::vector<std::byte> memory(kBatch * kLargest);
  std::deque<std::pair<uint64_t, LocalView>> views;
  for (int done = 0; done < kReads;) {
    const uint64_t number = random.Below(kObjects);
    const VersionHash version = random.Below(kVersions + 1);
    const uint64_t kind = random.Below(8);
    if (kind < 3) {
      const LocalOutcome o = reader->Copy({OidOf(number), version, ByteSpan(memory)});
      if (o.code == Code::kOk) {
        CheckRecord(number, version, o.version, ByteView(memory).first(o.size), &counts);
      }
      ++done;
    } else if (kind == 3) {
      std::vector<LocalRequest> requests;
      std::vector<LocalOutcome> outcomes(kBatch);
      for (uint64_t i = 0; i < kBatch; ++i) {
        requests.push_back({OidOf((number + i) % kObjects), version,
                            ByteSpan(memory).subspan(i * kLargest, kLargest)});
      }
      reader->CopyMany(requests, outcomes);
      for (uint64_t i = 0; i < kBatch; ++i) {
        if (outcomes[i].code != Code::kOk) continue;
        CheckRecord((number + i) % kObjects, version, outcomes[i].version,
                    requests[i].into.first(outcomes[i].size), &counts);
      }
      done += kBatch;
    } else if (kind < 6 || views.empty()) {
      bool over_grant = false;
      LocalView view = reader->View(OidOf(number), version, &over_grant);
      counts.over_grant += over_grant ? 1 : 0;
      if (view) {
        ++counts.views;
        CheckRecord(number, version, view.version(), view.payload(), &counts);
        views.emplace_back(number, std::move(view));
      }
      ++done;
    } else {
      // It was right when it was made; it must still be.
      auto& [seen, view] = views[random.Below(views.size())];
      CheckRecord(seen, 0, view.version(), view.payload(), &counts);
      if (views.size() > 20) views.pop_front();
    }
  }
  return counts;
}

// Loads, holds, drops and reclaims until `stop`; returns how many segments' worth of bytes it has
// dropped.
uint64_t Serve(Node* node, const std::atomic<bool>* stop) {
  Random random(99);
  Time now{1};
  node->tier->SetHoldUntil(
      [](const Oid& oid, VersionHash) { return Time{static_cast<int64_t>(oid.hi >> 30)}; });
  while (!stop->load(std::memory_order_relaxed)) {
    now = now + 1ms;
    const uint64_t number = random.Below(kObjects);
    const VersionHash version = 1 + random.Below(kVersions);
    std::optional<Time> until;
    if (random.Chance(0.1)) until = now + 5min;
    (void)node->Put(number, version, SizeOf(number, version), now, until);
    if (random.Chance(0.1)) node->tier->Hold(OidOf(random.Below(kObjects)), 0);
    for (int i = 0; i < 3; ++i) node->tier->Unhold(OidOf(random.Below(kObjects)), 0);
    if (random.Chance(0.1)) node->tier->Drop(OidOf(random.Below(kObjects)), 0);
    if (random.Chance(0.05)) node->tier->Maintain(now, 8 * kKiB);
  }
  return node->tier->Stats().dropped_bytes / node->plan.segment_bytes;
}

TEST(TierTorture, NoReaderSeesBytesOfAnotherRecord) {
  Node node(SmallOptions(48, 4 * kKiB, 900));
  std::deque<Client> clients;
  for (uint32_t i = 1; i <= 2; ++i) {
    clients.emplace_back(i, node.memory.span(), node.plan.segments, &node.sessions);
  }
  node.tier->Maintain(Time{}, 0);
  std::atomic<bool> stop{false};
  uint64_t turned_over = 0;
  std::thread daemon([&] { turned_over = Serve(&node, &stop); });
  std::vector<Counts> counts(4);
  std::vector<std::thread> readers;
  for (size_t i = 0; i < counts.size(); ++i) {
    readers.emplace_back([&, i] { counts[i] = Read(&clients[i % 2].reader(), i); });
  }
  for (std::thread& reader : readers) reader.join();
  stop.store(true);
  daemon.join();

  Counts sum;
  for (const Counts& c : counts) {
    sum.found += c.found;
    sum.views += c.views;
    sum.over_grant += c.over_grant;
    sum.wrong += c.wrong;
  }
  EXPECT_EQ(sum.wrong, 0u);
  EXPECT_GT(sum.found, 1000u);
  EXPECT_GT(sum.views, 100u);
  EXPECT_GT(sum.over_grant, 0u);
  EXPECT_GT(turned_over, node.plan.segments);
  // Every view is gone, so no pin is left and every emptied segment comes back.
  for (uint32_t i = 1; i <= 2; ++i) EXPECT_EQ(node.sessions.PinnedSegments(i), 0u);
  node.tier->Maintain(Time{}, 0);
  EXPECT_EQ(node.tier->Stats().waiting_segments, 0u);
}

}  // namespace
}  // namespace holdfast::store
