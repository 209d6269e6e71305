// SPDX-License-Identifier: Apache-2.0
// Flow 2 in a simulated cluster: readers of objects that nobody announced, collectors of snapshots,
// their ends by the seed, and the oracle of snapshots. Three seeds in four have them.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "tests/sim/collector_host.h"
#include "tests/sim/dynamic_reader.h"
#include "tests/sim/scenario.h"
#include "tests/sim/snapshots.h"

namespace holdfast::sim {

class DynamicAccess {
 public:
  DynamicAccess(Fabric* fabric, FarWorld* far, const Scenario& scenario,
                std::vector<std::unique_ptr<NodeHost>>* hosts,
                std::function<NodeHost*(ProcessId)> host_of);
  ~DynamicAccess();

  void Start();
  void Observe(const Delivery& delivery) { snapshots_.Observe(delivery); }
  // Hosts of its own, numbered on after those of nodes and jobs.
  size_t machines() const { return machines_; }
  // One event of chaos a second.
  void Disturb(Random* random);

  // No new reads and rounds. Everybody who is not there is started again before.
  void Stop();
  bool done() const;
  // With the faults over and everybody done: one collector reaches every node again.
  void CollectFromAll();
  // For good.
  void End();
  // May an object be read that nobody announced?
  bool Wants(const Oid& oid) const { return wanted_.contains(oid); }
  // For "stuck" messages.
  std::string Where() const;
  DynamicAccessCounts counts() const;

 private:
  struct Slot {
    DynamicSetup setup;
    std::unique_ptr<DynamicReader> reader;
    uint32_t starts = 0;
  };
  static Duration Between(Random* random, Duration low, Duration high);
  void StartReader(size_t slot);
  void DisturbReaders(Random* random);
  void DisturbCollectors(Random* random);

  Fabric* fabric_;
  World* world_;
  FarWorld* far_;
  Random random_;
  size_t machines_ = 0;
  bool stopped_ = false;
  std::set<Oid> wanted_;
  DynamicCounts reads_;
  CollectorCounts rounds_;
  Snapshots snapshots_;
  std::vector<Slot> readers_;
  std::vector<std::unique_ptr<CollectorHost>> collectors_;
};

}  // namespace holdfast::sim
