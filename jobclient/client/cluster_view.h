// SPDX-License-Identifier: Apache-2.0
// The cluster as a client sees it outside of any job: who is there, whom to ask for an object, and
// questions to nodes. On the loop's thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/env.h"
#include "jobclient/nodes.h"
#include "planner/placement.h"
#include "wire/messages.h"

namespace holdfast::client {

class ClusterView {
 public:
  // `options`: cluster and members. Connects and greets.
  ClusterView(const Env& env, const jobclient::JobOptions& options);

  bool Knows(NodeId node) const { return nodes_.Find(node) != nullptr; }
  // Greets again those who are away, and waits for first answers at most a second. `done` is called
  // once, at once when there is nothing to wait for.
  void WhenGreeted(std::function<void()> done);
  // The nodes to ask for an unplanned object, best first: its home, its second pick; any other when
  // neither is there. `done` is called once, when greeted.
  void WhomToAsk(const Oid& oid, std::function<void(std::vector<NodeId>)> done);
  const std::string* BulkEndpoint(NodeId node) const;
  // What it said about itself; null while it has not greeted.
  const wire::HelloReply* HelloOf(NodeId node) const;
  // The largest object that each node that is here promises; 0: none is here.
  uint64_t MostThatAllPromise() const;
  // Those of the configuration, by id.
  std::vector<NodeId> Members() const;
  // The nodes that have greeted.
  std::vector<NodeId> Here() const;
  void Failed(NodeId node);

  // Sends a question that has an id, and calls `done` with its answer, the node's refusal, or
  // kTimeout. kNotFound for an unknown node.
  void Ask(NodeId node, std::function<wire::Message(uint64_t id)> question, Time deadline,
           std::function<void(Result<wire::Message>)> done);
  // Ends a job on every node. `done` gets the number of nodes that confirmed it before the
  // deadline, and of all.
  void EndJob(JobId job, Time deadline, std::function<void(size_t confirmed, size_t nodes)> done);

 private:
  static constexpr Duration kFirstAnswer = 1s;
  static constexpr Duration kGreetAgain = 2s;
  static constexpr Duration kRefusedPause = 100ms;

  struct Question {
    NodeId node;
    std::string_view about;  // the message's name
    std::function<void(Result<wire::Message>)> done;
  };
  struct Ending {
    JobId job;
    std::map<NodeId, bool> confirmed;
    std::function<void(size_t, size_t)> done;
  };
  void OnMessage(PeerId from, Frames frames);
  void Answer(NodeId from, uint64_t id, Result<wire::Message> answer);
  void TakeRefusal(NodeId from, const wire::ErrorReply& error);
  void TakeEnd(NodeId node, const wire::Progress& progress);
  void Greet();
  bool Greeted() const;
  std::vector<NodeId> Candidates(const Oid& oid);
  void FinishEnding(uint64_t id);

  Env env_;
  jobclient::Nodes nodes_;
  // Made when it is asked for: some milliseconds, and every node's first greeting changes it.
  std::optional<planner::Placement> placement_;
  Time started_;
  Time greeted_{};
  uint64_t next_id_ = 1;
  std::map<uint64_t, Question> questions_;
  std::map<uint64_t, Ending> endings_;
};

}  // namespace holdfast::client
