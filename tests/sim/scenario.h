// SPDX-License-Identifier: Apache-2.0
// What a seed is about: how many nodes of what size, which objects exist, which jobs read what.
// Drawn once at the start, apart from the faults.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/sim/far_world.h"
#include "tests/sim/job_process.h"
#include "tests/sim/node_host.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

struct Scenario {
  std::vector<NodeSetup> nodes;
  std::vector<JobSetup> jobs;     // own_node is set by the cluster
  std::vector<Duration> starts;   // of each job
  uint32_t queue_limit = 10'000;  // of control messages on one link
  double fill = 0;  // bytes of the distinct objects / bytes that the cluster can promise
  // Objects that no job lists and that readers want at random, so that the nodes' memory is
  // churned; 0: none.
  uint32_t background_objects = 0;  // the last of the far world
  // With room for everything and no faults each object is fetched exactly once, and every job is
  // covered.
  bool ample = false;
  uint64_t chunk = 0;  // of everybody, in half of the scenarios; 0: nothing is cut
};

constexpr uint32_t kJobObjects = 500;

// Adds the objects to `far`.
Scenario DrawScenario(World* world, FarWorld* far);

}  // namespace holdfast::sim
