// SPDX-License-Identifier: Apache-2.0
// Weighted rendezvous hashing: which nodes are picked for an object. The first pick is its home.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/env.h"
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
  // Any order, ids distinct. Objects that lie in one group of `far`, which outlives this, have the same
  // picks, so that one node loads them together.
  explicit Placement(std::vector<NodeWeight> nodes, const FarStore* far = nullptr);

  // As given, in the order of the ids.
  const std::vector<NodeWeight>& weights() const { return weights_; }

  // {kNoNode, kNoNode} when no node has weight.
  Picks PicksOf(const Oid& oid) const { return table_.empty() ? Picks{} : table_[SlotOf(oid)]; }
  // Of other weights, with the same groups.
  Placement With(std::vector<NodeWeight> nodes) const { return Placement(std::move(nodes), far_); }
  // Whether an object's picks are those of the group that it comes with.
  bool ComesWithOthers(const Oid& oid) const { return far_ != nullptr && far_->PlaceOf(oid); }
  // Objects of one slot have the same picks.
  uint32_t SlotOf(const Oid& oid) const {
    std::optional<FarPlace> place;
    if (far_ != nullptr) place = far_->PlaceOf(oid);
    return static_cast<uint32_t>((place ? place->group : oid.hi) >> 48);
  }

 private:
  const FarStore* far_ = nullptr;  // one that has places
  std::vector<NodeWeight> weights_;
  std::vector<Picks> table_;
};

}  // namespace holdfast::planner
