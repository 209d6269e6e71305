// SPDX-License-Identifier: Apache-2.0
#include "jobclient/leases.h"

#include <utility>

#include "wire/codec.h"

namespace holdfast::jobclient {

std::vector<NodeId> Leases::Beat() {
  std::vector<NodeId> silent;
  for (Node& node : nodes_->all()) {
    if (node.here && ++node.missed > kMissedUntilAway) silent.push_back(node.member.node);
    // A node that restarted behind the same connection does not know us, and one that was away may
    // have: both answer.
    if (!node.here) nodes_->SendHello(node, job_);
    if (node.hello.incarnation != 0) SendHeartbeat(node);
  }
  return silent;
}

void Leases::SendHeartbeat(const Node& node) const {
  const uint64_t seen = node.losses_from == node.hello.incarnation ? node.losses_seen : 0;
  env_.network->Send({node.peer}, wire::Encode(wire::Heartbeat{
                                      .job = job_, .lease = lease_, .losses_seen = seen}));
}

bool Leases::Take(Node& node, wire::Progress&& progress, std::vector<wire::Loss>* lost) const {
  if (progress.job != job_ || progress.incarnation != node.hello.incarnation) return false;
  if (node.losses_from != progress.incarnation) {
    node.losses_from = progress.incarnation;
    node.losses_seen = 0;
  }
  // The node tells a loss again until it knows that we have seen it.
  for (size_t i = 0; i < progress.lost.size(); ++i) {
    if (progress.first_loss + i < node.losses_seen) continue;
    node.losses_seen = progress.first_loss + i + 1;
    lost->push_back(std::move(progress.lost[i]));
  }
  progress.lost.clear();
  if (!lost->empty()) SendHeartbeat(node);
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
