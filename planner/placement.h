// SPDX-License-Identifier: Apache-2.0
// Weighted rendezvous hashing: which nodes are picked for an object. The first pick is its home.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace holdfast::planner {

struct NodeWeight {
  NodeId node = kNoNode;
  uint64_t weight = 0;  // capacity in bytes; 0 is never picked
  friend bool operator==(const NodeWeight&, const NodeWeight&) = default;
};

struct Picks {
  NodeId home = kNoNode;
  NodeId second = kNoNode;  // kNoNode when only one node has weight
};

// The same list gives the same picks on every machine: weights are capacities (not free space,
// which every observer sees differently), scores are integers, ties go to the lower node id. Picks
// come from a table of kSlots slots, indexed by the top 16 bits of the OID, each ranked once by
// -ln(u)/weight with an integer logarithm (weighted rendezvous, Schindelhauer and Schomaker 2005),
// so that 10^6 objects take about a millisecond.
class Placement {
 public:
  static constexpr uint32_t kSlots = 65'536;

  Placement() = default;
  explicit Placement(std::vector<NodeWeight> nodes);  // any order, ids distinct

  // As given, in the order of the ids.
  const std::vector<NodeWeight>& weights() const { return weights_; }

  // {kNoNode, kNoNode} when no node has weight.
  Picks PicksOf(const Oid& oid) const { return table_.empty() ? Picks{} : table_[SlotOf(oid)]; }
  // Objects of one slot have the same picks.
  static uint32_t SlotOf(const Oid& oid) { return static_cast<uint32_t>(oid.hi >> 48); }

 private:
  std::vector<NodeWeight> weights_;
  std::vector<Picks> table_;
};

}  // namespace holdfast::planner
