// SPDX-License-Identifier: Apache-2.0
// What a job is told about its plan.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/units.h"

namespace holdfast {

// Who serves what, and what it will take; both as planned and, at the end, as it was.
struct PlanReport {
  uint64_t objects = 0;      // distinct; what is read in chunks is one for each of them
  uint64_t cut_objects = 0;  // of the list, as often as it names them: read in chunks
  uint64_t bytes = 0;
  uint64_t local_objects = 0;  // kept at the reader's own node
  uint64_t kept_objects = 0;   // kept anywhere in the cluster, local ones included
  uint64_t kept_bytes = 0;
  uint64_t load_objects = 0;  // to be loaded by nodes
  uint64_t load_bytes = 0;
  uint64_t disk_objects = 0;  // of those, from a node's own disk: no far request
  uint64_t disk_bytes = 0;
  uint64_t far_objects = 0;  // that nobody can have: read far away by the job
  uint64_t far_bytes = 0;
  // What the loads that do not come from disks and those are expected to cost: one for each object, or for each pack and node that reads it.
  uint64_t far_requests = 0;
  uint64_t too_large_objects = 0;  // of those, larger than any node promises (memory.max_object)
  Duration ready{};                // when the last load is due
  // The least for which a node promised its objects, from the plan on: PlanOptions::hold or the
  // node's limits.max_hold. 0: nobody promised anything, as in a dry run.
  Duration held_for{};
  uint32_t calls = 0;
  uint64_t bids = 0;  // bids received, all rounds
  uint64_t manifest_bytes_sent = 0;
  Duration planned_in{};  // from the first call to the last acknowledgement
  struct PerNode {
    NodeId node = kNoNode;
    bool answered = false;
    Incarnation incarnation = 0;
    uint64_t keeps = 0;
    uint64_t loads = 0;
    uint64_t bytes = 0;
  };
  std::vector<PerNode> nodes;  // by node id
};

}  // namespace holdfast
