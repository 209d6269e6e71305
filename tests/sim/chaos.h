// SPDX-License-Identifier: Apache-2.0
// The faults that happen to processes, hosts and clocks, once a second by their rates. Those of
// messages, bulk connections and the far store happen where the traffic is.
#pragma once

#include "tests/sim/world.h"

namespace holdfast::sim {

class Cluster;

class Chaos {
 public:
  explicit Chaos(Cluster* cluster);
  // Schedules itself until the faults are stopped.
  void Start();

 private:
  void Tick();
  void Nodes();
  void Jobs();
  void Clocks();
  void Cables();
  void Sessions();
  Duration Between(Duration low, Duration high);

  Cluster* cluster_;
  World* world_;
  Random random_;
};

}  // namespace holdfast::sim
