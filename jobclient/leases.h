// SPDX-License-Identifier: Apache-2.0
// Keeps a job's promises alive while it runs: a heartbeat to every node each fifth of the lease,
// whose answers say how the loads are going and what was lost.
#pragma once

#include <vector>

#include "jobclient/nodes.h"
#include "wire/messages.h"

namespace holdfast::jobclient {

class Leases {
 public:
  static constexpr uint32_t kMissedUntilAway = 3;

  Leases(const Env& env, const JobOptions& options, JobId job, Nodes* nodes)
      : env_(env), period_(options.lease / 5), lease_(options.lease), job_(job), nodes_(nodes) {}

  Duration period() const { return period_; }
  void SetLease(Duration lease) { lease_ = lease; }
  // Sends the heartbeats, and a hello to those who are away. Returns who has missed too many.
  std::vector<NodeId> Beat();
  void SendHeartbeat(const Node& node) const;
  // Takes what a node says about itself into `node`; false when it is not about this job or from
  // another incarnation.
  bool Take(Node& node, wire::Progress&& progress, std::vector<wire::Loss>* lost) const;
  void SendEnd() const;

 private:
  Env env_;
  Duration period_;
  Duration lease_;
  JobId job_;
  Nodes* nodes_;
};

}  // namespace holdfast::jobclient
