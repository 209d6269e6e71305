// SPDX-License-Identifier: Apache-2.0
// A node as a process of its own for bench/plan: the real core, control network, event loop and memory tier; its far
// store answers at once, because loading is another benchmark's subject.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::bench {

struct PlanNodes {
  std::vector<pid_t> processes;
  std::vector<std::string> endpoints;  // control, by node id
};

// Starts `count` node processes whose tiers have `memory_bytes` each, for `objects` objects each.
PlanNodes StartNodes(uint16_t count, uint64_t memory_bytes, uint64_t objects);
void StopNodes(const PlanNodes& nodes);

}  // namespace holdfast::bench
