// SPDX-License-Identifier: Apache-2.0
// What was counted of reads that nobody announced, of snapshots, and of what was checked about them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace holdfast::sim {

constexpr size_t kWays = 5;  // snapshot::Way

struct DynamicCounts {
  uint64_t reads = 0;
  uint64_t own_memory = 0;
  std::array<uint64_t, kWays> ways{};    // decided by what was learned
  std::array<uint64_t, kWays> thrown{};  // ... by a die
  uint64_t found = 0;                    // by a look
  uint64_t gone = 0;                     // looks that were answered: not here
  uint64_t silent = 0;                   // looks that were not answered
  uint64_t through_home = 0;
  uint64_t far = 0;
  uint64_t own_disk = 0;
  uint64_t larger = 0;  // than a chunk: the read ended with the version
  uint64_t failed = 0;  // because the far store refuses
};

struct CollectorCounts {
  uint64_t rounds = 0;  // that were ended
  uint64_t full = 0;
  uint64_t unanswered = 0;  // by no node at all
  uint64_t absent = 0;      // nodes
  uint64_t objects = 0;
  uint64_t given = 0;  // to nodes, each
};

struct SnapshotCounts {
  uint64_t listings = 0;  // compared with the index
  uint64_t logs = 0;      // given by nodes, different ones, read from their full frame on
};

struct DynamicAccessCounts {
  DynamicCounts reads;
  CollectorCounts collectors;
  SnapshotCounts snapshots;

  DynamicAccessCounts& operator+=(const DynamicAccessCounts& other);
};

// Prints; false when something of it never happened, so that nothing was tested about it.
bool Print(const DynamicAccessCounts& counts);

}  // namespace holdfast::sim
