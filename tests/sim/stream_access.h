// SPDX-License-Identifier: Apache-2.0
// Streams in a simulated cluster: writers, readers at the same time and later, and their ends by the
// seed. Two seeds in three have them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/scenario.h"
#include "tests/sim/stream_processes.h"

namespace holdfast::sim {

class StreamAccess {
 public:
  // `machines`: so many hosts there are already.
  StreamAccess(Fabric* fabric, FarWorld* far, const Scenario& scenario,
               std::vector<std::unique_ptr<NodeHost>>* hosts, size_t machines);
  ~StreamAccess();

  void Start();
  void Observe(const Delivery& delivery) { oracle_.Observe(delivery); }
  size_t machines() const { return machines_; }
  // One event of chaos a second.
  void Disturb(Random* random);
  // Nobody is started any more.
  void Stop() { stopped_ = true; }
  bool done() const;
  // For good.
  void End();
  std::string Where() const;
  const StreamCounts& counts() { return oracle_.counts(); }

 private:
  struct Slot {
    StreamSetup setup;
    bool writes = false;
    Duration start{};
    std::unique_ptr<StreamWriterProcess> writer{};
    std::unique_ptr<StreamReaderProcess> reader{};
    uint32_t starts = 0;
  };
  void AddStream(const Scenario& scenario, uint64_t number);
  void Place(StreamSetup* setup);
  void StartSlot(size_t number);
  bool Done(const Slot& slot) const;

  Fabric* fabric_;
  World* world_;
  FarWorld* far_;
  std::vector<std::unique_ptr<NodeHost>>* hosts_;
  Random random_;
  size_t others_;
  size_t machines_ = 0;
  bool stopped_ = false;
  StreamOracle oracle_;
  std::vector<Slot> slots_;
};

}  // namespace holdfast::sim
