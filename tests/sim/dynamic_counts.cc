// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/dynamic_counts.h"

#include <cinttypes>
#include <cstdio>

namespace holdfast::sim {

DynamicAccessCounts& DynamicAccessCounts::operator+=(const DynamicAccessCounts& other) {
  reads.reads += other.reads.reads;
  reads.own_memory += other.reads.own_memory;
  for (size_t way = 0; way < kWays; ++way) {
    reads.ways[way] += other.reads.ways[way];
    reads.thrown[way] += other.reads.thrown[way];
  }
  reads.found += other.reads.found;
  reads.gone += other.reads.gone;
  reads.silent += other.reads.silent;
  reads.through_home += other.reads.through_home;
  reads.far += other.reads.far;
  reads.own_disk += other.reads.own_disk;
  reads.larger += other.reads.larger;
  reads.failed += other.reads.failed;
  collectors.rounds += other.collectors.rounds;
  collectors.full += other.collectors.full;
  collectors.unanswered += other.collectors.unanswered;
  collectors.absent += other.collectors.absent;
  collectors.objects += other.collectors.objects;
  collectors.given += other.collectors.given;
  snapshots.listings += other.snapshots.listings;
  snapshots.logs += other.snapshots.logs;
  return *this;
}

bool Print(const DynamicAccessCounts& sum) {
  const DynamicCounts& reads = sum.reads;
  std::printf("not announced: reads %" PRIu64 ", in own memory %" PRIu64
              "; by way of the home %" PRIu64 ", found by a look %" PRIu64 ", far %" PRIu64
              ", on the own disk %" PRIu64 ", larger than a chunk %" PRIu64
              ", refused by the far store %" PRIu64 "; looks in vain %" PRIu64
              ", without an answer %" PRIu64 "\n",
              reads.reads, reads.own_memory, reads.through_home, reads.found, reads.far,
              reads.own_disk, reads.larger, reads.failed, reads.gone, reads.silent);
  constexpr const char* kNames[kWays] = {"unknown", "far", "look", "race", "explore"};
  bool all = reads.own_memory > 0 && reads.found > 0 && reads.gone > 0 && reads.silent > 0 &&
             reads.through_home > 0 && reads.far > 0 && reads.larger > 0;
  for (size_t way = 0; way < kWays; ++way) {
    std::printf("  %-8s %7" PRIu64 " by what was learned, %7" PRIu64 " by a die\n", kNames[way],
                reads.ways[way], reads.thrown[way]);
    all = all && reads.ways[way] > 0 && reads.thrown[way] > 0;
  }
  std::printf("snapshots %" PRIu64 " (%" PRIu64 " full, %" PRIu64 " unanswered), of %" PRIu64
              " objects, %" PRIu64 " nodes absent; given to nodes %" PRIu64
              " times; compared: %" PRIu64 " listings, %" PRIu64 " logs\n",
              sum.collectors.rounds, sum.collectors.full, sum.collectors.unanswered,
              sum.collectors.objects, sum.collectors.absent, sum.collectors.given,
              sum.snapshots.listings, sum.snapshots.logs);
  return all && sum.collectors.absent > 0 && sum.snapshots.logs > 0;
}

}  // namespace holdfast::sim
