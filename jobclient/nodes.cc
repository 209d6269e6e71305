// SPDX-License-Identifier: Apache-2.0
#include "jobclient/nodes.h"

#include <algorithm>
#include <utility>

#include "wire/codec.h"

namespace holdfast::jobclient {
namespace {

void AddCounters(const wire::Progress& from, wire::Progress* to) {
  to->loads_done += from.loads_done;
  to->loaded_bytes += from.loaded_bytes;
  to->far_requests += from.far_requests;
  to->far_bytes += from.far_bytes;
}

}  // namespace

Nodes::Nodes(const Env& env, const JobOptions& options) : env_(env), cluster_(options.cluster) {
  nodes_.resize(options.members.size());
  for (size_t i = 0; i < nodes_.size(); ++i) nodes_[i].member = options.members[i];
  std::sort(nodes_.begin(), nodes_.end(),
            [](const Node& a, const Node& b) { return a.member.node < b.member.node; });
  for (size_t i = 0; i < nodes_.size(); ++i) {
    HF_CHECK(i == 0 || nodes_[i - 1].member.node != nodes_[i].member.node);
    nodes_[i].peer = env_.network->Connect(nodes_[i].member.control_endpoint);
  }
}

const Node* Nodes::Find(NodeId id) const {
  auto it = std::lower_bound(nodes_.begin(), nodes_.end(), id,
                             [](const Node& n, NodeId wanted) { return n.member.node < wanted; });
  return it != nodes_.end() && it->member.node == id ? &*it : nullptr;
}

Node* Nodes::Find(NodeId id) { return const_cast<Node*>(std::as_const(*this).Find(id)); }

Node* Nodes::OfPeer(PeerId peer) {
  auto it =
      std::find_if(nodes_.begin(), nodes_.end(), [peer](const Node& n) { return n.peer == peer; });
  return it == nodes_.end() ? nullptr : &*it;
}

void Nodes::SendHello(const Node& node, JobId job) const {
  env_.network->Send({node.peer},
                     wire::Encode(wire::Hello{
                         .cluster = cluster_, .job = job, .node = kNoNode, .incarnation = 0}));
}

Nodes::Arrival Nodes::TakeHello(Node& node, wire::HelloReply reply) {
  if (reply.node != node.member.node || reply.incarnation == 0) {
    env_.log->Warn("the node at " + node.member.control_endpoint + " says that it is node " +
                   std::to_string(reply.node) + ", and the configuration says " +
                   std::to_string(node.member.node) + "; it is not used");
    return Arrival::kIgnored;
  }
  node.refused = false;
  const bool first = node.hello.incarnation == 0;
  const bool restarted = !first && node.hello.incarnation != reply.incarnation;
  if (restarted) {
    AddCounters(node.progress, &node.past);
    node.progress = {};
    node.load_objects = node.load_bytes = node.near_objects = node.near_bytes = 0;
    node.failures = 0;
    node.away_until = node.left_out_until = {};
  }
  if (first || restarted) node.room_bytes = reply.free_bytes;
  node.hello = std::move(reply);
  const Arrival arrival = TakeSignOfLife(node, node.hello.incarnation);
  return restarted ? Arrival::kRestarted : arrival;
}

Nodes::Arrival Nodes::TakeSignOfLife(Node& node, Incarnation incarnation) {
  if (node.hello.incarnation == 0 || incarnation != node.hello.incarnation)
    return Arrival::kIgnored;
  node.missed = 0;
  node.heard_at = env_.clock->Now();
  if (node.here) return Arrival::kKnown;
  if (node.heard_at < node.away_until) return Arrival::kIgnored;
  node.here = true;
  return Arrival::kCameBack;
}

bool Nodes::AllSettled() const {
  return std::all_of(nodes_.begin(), nodes_.end(),
                     [](const Node& n) { return n.here || n.refused; });
}

bool Nodes::AnyHere() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.here; });
}

uint64_t Nodes::MaxObjectBytes() const {
  uint64_t most = 0;
  bool any = false;
  for (const Node& n : nodes_) {
    any |= n.hello.incarnation != 0;
    most = std::max(most, n.hello.max_object_bytes);
  }
  return any ? most : UINT64_MAX;
}

std::vector<planner::NodeWeight> Nodes::Weights() const {
  std::vector<planner::NodeWeight> weights;
  for (const Node& n : nodes_) {
    if (n.hello.incarnation != 0) weights.push_back({n.member.node, n.hello.capacity_bytes});
  }
  return weights;
}

wire::Progress Nodes::SumOfProgress() const {
  wire::Progress sum;
  for (const Node& n : nodes_) {
    AddCounters(n.past, &sum);
    AddCounters(n.progress, &sum);
    if (!n.here) continue;
    sum.known |= n.progress.known;
    sum.kept_objects += n.progress.kept_objects;
    sum.loads_left += n.progress.loads_left;
  }
  return sum;
}

}  // namespace holdfast::jobclient
