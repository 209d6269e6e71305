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
    PeerId connection = kNoPeer;  // from here to there
    PeerId inbound = kNoPeer;     // on which it greeted us last
    Incarnation incarnation = 0;  // 0 until it was heard of
    uint64_t capacity = 0;
    std::string bulk_endpoint;
    Time last_answer{INT64_MIN / 2};
    uint64_t guest_bytes = 0;       // that it had room for then, less what it was offered since
    uint64_t guest_disk_bytes = 0;  // and on its disk
  };

  explicit Membership(const Context* context);

  void Start();
  // Once a second: greets everybody.
  void Greet();
  // A node greets: what comes over this connection from now on is its word.
  void OnHello(PeerId from, const wire::Hello& hello);
  void OnHelloReply(PeerId from, const wire::HelloReply& reply);
  // kNoNode for a connection on which no node has greeted, or has greeted again over another one.
  NodeId NodeOf(PeerId inbound) const;
  // The last that was heard of; 0: none.
  Incarnation IncarnationOf(NodeId node) const;
  // Is this the connection that was made to `node`?
  bool IsConnectionTo(NodeId node, PeerId connection) const;

  NodeId HomeOf(const Oid& oid) const {
    if (stale_) Rebuild();
    return placement_.PicksOf(oid).home;
  }
  // nullptr for this node itself, for unknown nodes and for those that do not answer.
  const Peer* Reachable(NodeId node) const;
  // An Ask to this node was not answered: treat it as away until it answers a hello again.
  void Suspect(NodeId node);
  void SetGuestRoom(NodeId node, uint64_t memory_bytes, uint64_t disk_bytes);
  // So many bytes of its room for guests are taken, or were never there, until it says so again.
  void TakeGuestRoom(NodeId node, uint64_t bytes, bool on_disk);
  const std::map<NodeId, Peer>& peers() const { return peers_; }

 private:
  void Rebuild() const;
  uint64_t WeightOf(const Peer& peer) const {
    return peer.capacity == 0 ? own_capacity_ : peer.capacity;
  }

  const Context* context_;
  uint64_t own_capacity_;
  std::map<NodeId, Peer> peers_;
  // Made when it is needed: ranking every slot takes milliseconds, and when a cluster starts every
  // other node's answer may change the weights.
  mutable planner::Placement placement_;
  mutable bool stale_ = true;
};

}  // namespace holdfast::cached
