// SPDX-License-Identifier: Apache-2.0
// A node as a process of its own for bench/plan: the real core, control network, event loop and
// memory; its far store answers at once, because loading is another benchmark's subject.
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

struct PlanNodeOptions {
  uint16_t count = 0;
  uint64_t memory_bytes = 0;  // of each one's tier
  uint64_t objects = 0;       // of each one's index
};

// Starts the processes: this program again, with "node" as its first argument.
PlanNodes StartNodes(const PlanNodeOptions& options);
void StopNodes(const PlanNodes& nodes);

// What main does with that argument.
[[noreturn]] void RunNode(char** argv);

}  // namespace holdfast::bench
