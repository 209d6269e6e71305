// SPDX-License-Identifier: Apache-2.0
// Two clusters in miniature, in which objects come and go and jobs ask for them. Times are seconds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/random.h"
#include "snapshot/rings.h"

namespace holdfast::bench {

// A request for an object that the last snapshot lists, and what a look at that node finds.
struct Look {
  double age = 0;                                // now, since it was written
  double seen = 0;                               // its age in the snapshot
  snapshot::Ring ring = snapshot::Ring::kFresh;  // there
  bool found = false;
};

// One cluster with stationary churn, from empty on.
class World {
 public:
  using OnLook = std::function<void(const Look&)>;
  // The same with the rate at which the object is asked for.
  using OnProbe = std::function<void(const Look&, double rate)>;

  virtual ~World() = default;
  // Requests come until `time`; those for listed objects are looks.
  virtual void RunTo(double time, const OnLook& look) = 0;
  // What a request that came now would find, for each listed object.
  virtual void Probe(const OnProbe& probe) const = 0;
  // A snapshot now. `sum` is what the nodes say of evictions since the start, and of what they hold.
  virtual void Snapshot(snapshot::RingEvidence* sum) = 0;
};

// Lifetimes from a law, independent of each other and of requests: until kYouth nothing is evicted,
// then a Weibull law rules. What is gone is loaded by another node.
struct LifetimeLaw {
  static constexpr double kYouth = 600;
  static constexpr double kShape = 1.5;
  static constexpr double kScale = 1'200;
  static double Survival(double age);
};
std::unique_ptr<World> MakeLifetimeWorld(uint64_t seed);

// Nodes that reclaim as the memory tier does: first in first out by segments; what is loaded comes to
// the fresh ring, a tenth of all, what was read there goes on to the kept one, as does what the ghosts
// remember, and stays for a turn a read; requests by Zipf's law, every object having its home on one
// node; a miss loads. So an object that the snapshot lists is there later when its node is slow, when
// it was read, or when it was loaded again.
std::unique_ptr<World> MakeRingWorld(uint64_t seed);

}  // namespace holdfast::bench
