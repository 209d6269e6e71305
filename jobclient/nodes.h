// SPDX-License-Identifier: Apache-2.0
// The members of the cluster as one job sees them: connections, who is there, what each said about
// itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/env.h"
#include "jobclient/job.h"
#include "planner/placement.h"
#include "wire/messages.h"

namespace holdfast::jobclient {

struct Node {
  Member member;
  PeerId peer = kNoPeer;
  bool here = false;       // answers; only such nodes are called, read from and waited for
  bool refused = false;    // said that it will not serve us (another cluster, another protocol)
  wire::HelloReply hello;  // of the running incarnation; incarnation 0: never answered

  uint32_t missed = 0;    // heartbeats sent since it was last heard
  Time heard_at{INT64_MIN / 2};
  uint32_t failures = 0;  // that readers saw; each keeps it away for longer
  Time away_until{};
  Time left_out_until{};  // of calls: it lives, and cannot answer them

  // What it can take for this job, as far as the job knows.
  uint64_t room_bytes = 0;
  // To be loaded there: what it acknowledged.
  uint64_t load_objects = 0;
  uint64_t load_bytes = 0;
  RateModel rate;
  uint64_t near_objects = 0;  // and from its disk
  uint64_t near_bytes = 0;
  RateModel near_rate;

  // Of the promises that we have from it; 0: none. It promised them under this number, and while it
  // says the same number, restarted or not, it keeps them but for the losses that it tells.
  uint64_t tenancy = 0;
  uint64_t losses_seen = 0;  // of the incarnation below
  Incarnation losses_from = 0;
  wire::Progress progress;          // the latest of this incarnation
  Time progress_at{INT64_MIN / 2};  // when it came
  wire::Progress past;              // counters of incarnations that are gone
};

class Nodes {
 public:
  // What became of a node with its answer.
  enum class Arrival { kIgnored, kKnown, kCameBack, kRestarted };

  // Connects to every member. Ids must be distinct.
  Nodes(const Env& env, const JobOptions& options);

  std::vector<Node>& all() { return nodes_; }  // by node id; addresses are stable
  const std::vector<Node>& all() const { return nodes_; }
  Node* Find(NodeId id);
  const Node* Find(NodeId id) const;
  Node* OfPeer(PeerId peer);

  // Step 1 of a job.
  void SendHello(const Node& node, JobId job) const;
  Arrival TakeHello(Node& node, wire::HelloReply reply);
  // A node that is away by our own account came back with a sign of life.
  Arrival TakeSignOfLife(Node& node, Incarnation incarnation);

  // Every member has answered or refused.
  bool AllSettled() const;
  bool AnyHere() const;
  // Largest object that some node takes, as far as any has said.
  uint64_t MaxObjectBytes() const;
  std::vector<planner::NodeWeight> Weights() const;
  wire::Progress SumOfProgress() const;

 private:
  Env env_;
  std::string cluster_;
  std::vector<Node> nodes_;
};

}  // namespace holdfast::jobclient
