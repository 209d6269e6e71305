// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <vector>

#include "bench/decide_parts.h"

namespace holdfast::bench {
namespace {

using snapshot::Print;
using snapshot::Stamp;

constexpr uint64_t kObjects = 1'000'000;
constexpr NodeId kNodes = 64;
constexpr size_t kBatch = 4'096;

// Of this thread on its core: others run beside it.
double Now() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

double MeasureSpeed(bool quick) {
  // Evidence of a small cluster, sightings of a large one.
  World world({.churn = Churn::kRing, .nodes = 16, .objects = 8'192});
  world.TakeSnapshot();
  snapshot::Beliefs beliefs({});
  beliefs.Learn(world.evidence());
  snapshot::Known known;
  Random random(1);
  const Stamp seen = world.now();
  known.Reserve(kObjects * 11 / 10);
  std::vector<Print> objects;
  for (uint64_t i = 0; i < kObjects; ++i) {
    const Print print = random.Next() >> 24;
    objects.push_back(print);
    const auto node = static_cast<NodeId>(random.Below(kNodes));
    const Stamp written{seen.us - static_cast<int64_t>(random.Below(2'400'000'000))};
    known.Add(print, {.node = node, .written = written});
    if (i % 10 != 0) continue;
    known.Add(print, {.node = static_cast<NodeId>((node + 1) % kNodes), .written = written});
  }
  for (NodeId node = 0; node < kNodes; ++node) known.SetSeen(node, seen);
  snapshot::Costs costs({});
  snapshot::Decider decider(&known, &beliefs, &costs, &random, {});

  const size_t batches = quick ? 60 : 240;
  std::vector<Print> asked(kBatch);
  std::vector<snapshot::Decision> decisions(kBatch);
  std::vector<double> many, single;
  for (int round = 0; round < 7; ++round) {
    for (bool together : {true, false}) {
      double took = 0;
      for (size_t b = 0; b < batches; ++b) {
        for (Print& print : asked) {
          print = random.Chance(0.9) ? objects[random.Below(objects.size())] : random.Next() >> 24;
        }
        // Half an hour after the snapshot.
        const Stamp now{seen.us + static_cast<int64_t>(random.Below(1'800'000'000))};
        const double start = Now();
        if (together) {
          decider.DecideMany(asked, now, decisions);
        } else {
          for (size_t i = 0; i < kBatch; ++i) decisions[i] = decider.Decide(asked[i], now);
        }
        took += Now() - start;
      }
      (together ? many : single).push_back(static_cast<double>(batches * kBatch) / took);
    }
  }
  auto median = [](std::vector<double> v) {
    std::nth_element(v.begin(), v.begin() + 3, v.end());
    return v[3];
  };
  std::printf(
      "Decisions a second on one core, %llu objects known on %u nodes (%.1f MB): %.1f M in "
      "batches of %zu, %.1f M one by one\n\n",
      static_cast<unsigned long long>(kObjects), unsigned{kNodes},
      static_cast<double>(known.memory_bytes()) / 1e6, median(many) / 1e6, kBatch,
      median(single) / 1e6);
  return median(many);
}

}  // namespace holdfast::bench
