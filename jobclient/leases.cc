// SPDX-License-Identifier: Apache-2.0
#include "jobclient/leases.h"

#include <utility>

#include "wire/codec.h"

namespace holdfast::jobclient {

std::vector<NodeId> Leases::Beat() {
  std::vector<NodeId> silent;
  for (Node& node : nodes_->all()) {
    if (node.here && ++node.missed > kMissedUntilAway) silent.push_back(node.member.node);
    // A node that restarted behind the same connection does not know us, and one that was away may have: both answer.
    if (!node.here) nodes_->SendHello(node, job_);
    if (node.hello.incarnation != 0) SendHeartbeat(node);
  }
  return silent;
}

void Leases::SendHeartbeat(const Node& node) const {
  env_.network->Send({node.peer}, wire::Encode(wire::Heartbeat{.job = job_, .lease = lease_}));
}

bool Leases::Take(Node& node, wire::Progress&& progress, std::vector<wire::Loss>* lost) const {
  if (progress.job != job_ || progress.incarnation != node.hello.incarnation) return false;
  *lost = std::exchange(progress.lost, {});
  // A node that forgot the job has no figures for it: what it had done and spent stays counted.
  if (progress.known) {
    node.progress = std::move(progress);
  } else {
    node.progress.known = false;
    node.progress.kept_objects = node.progress.loads_left = 0;
  }
  return true;
}

void Leases::SendEnd() const {
  std::vector<PeerId> peers;
  for (const Node& node : nodes_->all()) {
    if (node.hello.incarnation != 0) peers.push_back(node.peer);
  }
  if (!peers.empty()) env_.network->Send(peers, wire::Encode(wire::EndJob{.job = job_}));
}

}  // namespace holdfast::jobclient
