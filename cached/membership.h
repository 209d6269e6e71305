// SPDX-License-Identifier: Apache-2.0
// The other nodes as this one sees them: who they are, what they can hold, whether they answer.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "cached/context.h"
#include "planner/placement.h"

namespace holdfast::cached {

// Every node greets every other once a second; the answers carry incarnations and capacities.
// Capacities decide homes, so they are remembered when a node goes away; a node that has never
// answered counts as large as this one.
class Membership {
 public:
  static constexpr Duration kHelloEvery = 1s;
  static constexpr Duration kAwayAfter = 3500ms;

  struct Peer {
    NodeId node = kNoNode;
    PeerId connection = kNoPeer;
    Incarnation incarnation = 0;
    uint64_t capacity = 0;
    std::string bulk_endpoint;
    Time last_answer{INT64_MIN / 2};
  };

  explicit Membership(const Context* context);

  void Start();
  // Once a second: greets everybody.
  void Greet();
  void OnHelloReply(PeerId from, const wire::HelloReply& reply);
  // Called when a node is first heard of under a new incarnation: what it was granted before is
  // void.
  void OnRestart(std::function<void(NodeId)> restarted) { restarted_ = std::move(restarted); }

  NodeId HomeOf(const Oid& oid) const {
    if (stale_) Rebuild();
    return placement_.PicksOf(oid).home;
  }
  // nullptr for this node itself, for unknown nodes and for those that do not answer.
  const Peer* Reachable(NodeId node) const;
  // An Ask to this node was not answered: treat it as away until it answers a hello again.
  void Suspect(NodeId node);
  const std::map<NodeId, Peer>& peers() const { return peers_; }

 private:
  void Rebuild() const;

  const Context* context_;
  std::map<NodeId, Peer> peers_;
  // Made when it is needed: ranking every slot takes milliseconds, and when a cluster starts every
  // other node's answer changes the weights.
  mutable planner::Placement placement_;
  mutable bool stale_ = true;
  std::function<void(NodeId)> restarted_;
};

}  // namespace holdfast::cached
