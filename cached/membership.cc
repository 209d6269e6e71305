// SPDX-License-Identifier: Apache-2.0
#include "cached/membership.h"

#include <algorithm>
#include <utility>

namespace holdfast::cached {

Membership::Membership(const Context* context)
    : context_(context), own_capacity_(context->tier->Stats().object_bytes) {
  for (const Member& member : context->options.members) {
    if (member.node == context->options.node) continue;
    peers_[member.node].node = member.node;
  }
}

void Membership::Start() {
  for (const Member& member : context_->options.members) {
    auto it = peers_.find(member.node);
    if (it != peers_.end())
      it->second.connection = context_->env.network->Connect(member.control_endpoint);
  }
  Greet();
}

void Membership::Greet() {
  std::vector<PeerId> connections;
  for (const auto& [node, peer] : peers_) connections.push_back(peer.connection);
  if (connections.empty()) return;
  const NodeOptions& options = context_->options;
  context_->env.network->Send(connections,
                              wire::Encode(wire::Hello{.cluster = options.cluster,
                                                       .job = 0,
                                                       .node = options.node,
                                                       .incarnation = options.incarnation}));
}

void Membership::OnHello(PeerId from, const wire::Hello& hello) {
  auto it = peers_.find(hello.node);
  if (it == peers_.end()) return;
  it->second.inbound = from;
  it->second.incarnation = hello.incarnation;
}

NodeId Membership::NodeOf(PeerId inbound) const {
  for (const auto& [node, peer] : peers_) {
    if (peer.inbound == inbound) return node;
  }
  return kNoNode;
}

Incarnation Membership::IncarnationOf(NodeId node) const {
  if (node == context_->options.node) return context_->options.incarnation;
  auto it = peers_.find(node);
  return it == peers_.end() ? 0 : it->second.incarnation;
}

bool Membership::IsConnectionTo(NodeId node, PeerId connection) const {
  auto it = peers_.find(node);
  return it != peers_.end() && it->second.connection == connection;
}

void Membership::OnHelloReply(PeerId from, const wire::HelloReply& reply) {
  auto it = peers_.find(reply.node);
  if (it == peers_.end() || it->second.connection != from) return;  // not who we called
  Peer& peer = it->second;
  peer.last_answer = context_->Now();
  peer.incarnation = reply.incarnation;
  peer.bulk_endpoint = reply.bulk_endpoint;
  SetGuestRoom(reply.node, reply.guest_bytes, reply.guest_disk_bytes);
  uint64_t weight = WeightOf(peer);
  peer.capacity = reply.capacity_bytes;
  stale_ = stale_ || WeightOf(peer) != weight;
}

const Membership::Peer* Membership::Reachable(NodeId node) const {
  auto it = peers_.find(node);
  if (it == peers_.end()) return nullptr;
  return context_->Now() - it->second.last_answer < kAwayAfter ? &it->second : nullptr;
}

void Membership::Suspect(NodeId node) {
  auto it = peers_.find(node);
  if (it != peers_.end()) it->second.last_answer = Time{INT64_MIN / 2};
}

void Membership::SetGuestRoom(NodeId node, uint64_t memory_bytes, uint64_t disk_bytes) {
  auto it = peers_.find(node);
  if (it == peers_.end()) return;
  it->second.guest_bytes = memory_bytes;
  it->second.guest_disk_bytes = disk_bytes;
}

void Membership::TakeGuestRoom(NodeId node, uint64_t bytes, bool on_disk) {
  auto it = peers_.find(node);
  if (it == peers_.end()) return;
  uint64_t& room = on_disk ? it->second.guest_disk_bytes : it->second.guest_bytes;
  room -= std::min(room, bytes);
}

void Membership::Rebuild() const {
  std::vector<planner::NodeWeight> weights{{context_->options.node, own_capacity_}};
  for (const auto& [node, peer] : peers_) weights.push_back({node, WeightOf(peer)});
  placement_ = planner::Placement(std::move(weights), context_->env.far);
  stale_ = false;
}

}  // namespace holdfast::cached
