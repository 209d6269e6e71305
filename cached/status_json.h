// SPDX-License-Identifier: Apache-2.0
// A node's state for people and tools.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cached/loader.h"
#include "cached/node.h"
#include "cached/promise_log.h"
#include "cached/restore_flow.h"
#include "cached/spill.h"

namespace holdfast::cached {

struct JournalState {
  PromiseLog::Counters log;
  uint64_t used_bytes;
  bool failed;
  RestoreFlow::Counters restored;
};

struct SpillState {
  SpillOut::Counters given;
  Lifts::Counters lifts;
  Guests::Counters guests;
  size_t under_way;
  size_t lodgings;
  uint64_t sent_to_lodgings;
};

struct NodeState {
  const NodeOptions* options;
  store::TierStats tier;
  std::optional<store::DiskStats> disk;
  std::optional<JournalState> journal;
  uint64_t calendar_capacity;
  uint64_t calendar_reserved;
  uint64_t tentative_bytes;
  uint64_t disk_capacity;  // of the disk's calendar
  uint64_t disk_reserved;
  uint64_t planning_bytes;
  size_t jobs;
  uint64_t pending_objects;
  uint64_t promises_broken;
  size_t loads_active;
  Loader::Counters loads;
  size_t grants;
  SpillState spill;
  FarCounters far;
  std::vector<std::pair<NodeId, bool>> peers;  // and whether they answer
};

// The fields are documented in docs/operators.md.
std::string ToJson(const NodeState& state);

}  // namespace holdfast::cached
