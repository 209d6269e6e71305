// SPDX-License-Identifier: Apache-2.0
// A job's side of the protocol: the core of the client library, on one thread, through base/env.h
// alone. One job is one user of its Network (it takes over OnMessage). None of the environment's
// callbacks may run after the job's destruction.
//
//   1. Greet     hello to every member; whoever has not answered by hello_timeout counts as away
//   2. Call      offers by bitmap to each node that answered; manifests to those who lack them
//   3. Settle    chunk by chunk, as soon as every called node has bid for the chunk (or bid_timeout passed)
//   4. Confirm   and wait for the acknowledgements; repeated until ack_timeout, idempotent. Who lives and still does not
//                answer (its journal does not, say) keeps what it has promised, and is left out of calls for a while
//   5. Again     what has no bid or was refused goes into another call, at most max_rounds
//   6. Keep      heartbeats; losses and dead nodes lead to another call for what remains
//   7. End       the promises end, the objects stay
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/env.h"
#include "holdfast/object_list.h"
#include "holdfast/plan_report.h"
#include "planner/manifest.h"
#include "planner/placement.h"
#include "wire/messages.h"

namespace holdfast::jobclient {

class Flights;
using holdfast::PlanReport;

struct Member {
  NodeId node = kNoNode;
  std::string control_endpoint;
};

struct JobOptions {
  std::string cluster = "holdfast";
  std::vector<Member> members;
  NodeId reader =
      kNoNode;  // the node on this host; kNoNode: none, everything is read over the network
  Duration hold = std::chrono::hours(1);
  Duration lease = 15s;  // heartbeats go out every lease / 5
  uint8_t priority = 100;
  bool dry_run = false;  // plan only: nothing is reserved or confirmed
  // Pace of the reader, for need-by times: objects a second; 0: as fast as can be (order is all
  // that counts).
  double objects_per_s = 0;
  // Positions of the list in the order of the first reading, for need-by times; empty: the order of
  // the list.
  std::vector<uint32_t> read_order;
  JobId job = 0;  // 0: a random one

  Duration hello_timeout = 1s;
  Duration bid_timeout = 5s;
  Duration ack_timeout = 5s;
  Duration resend_after = 500ms;
  uint32_t max_rounds = 4;
};

class Job {
 public:
  Job(const Env& env, JobOptions options);
  ~Job();
  Job(const Job&) = delete;

  // Steps 1 to 5. `list` has canonical names, sizes and ETags (the caller resolves them first) and
  // outlives the job. kInvalid for an empty list or two versions of one object. A cluster of which
  // no node answers is not an error: the report says that everything is far. Once.
  void Plan(const ObjectList* list, std::function<void(Result<PlanReport>)> done);

  JobId id() const;
  NodeId reader() const;  // as in the options

  // After Plan. Index in the manifest of a position in the list.
  const planner::Manifest& manifest() const;
  uint32_t IndexOf(size_t position) const;
  // The node that has promised object `index`; kNoNode: nobody. Changes as nodes are lost and won.
  // This, IndexOf and manifest() may be called from any thread.
  NodeId NodeOf(uint32_t index) const;
  // Where reads go: the bulk endpoint of a node that is there; nullptr when it is away.
  const std::string* BulkEndpoint(NodeId node) const;
  // For what nobody has promised: whom to ask to fetch it (its home, else its second pick);
  // kNoNode: nobody is there.
  NodeId FetcherOf(uint32_t index) const;
  // The reader saw a node fail (a broken connection): it counts as away until it answers a
  // heartbeat, and what it had promised goes into another call.
  void NodeFailed(NodeId node, std::string_view why = "a read of it failed");
  // The node that had promised it does not have it: nobody has promised it any more.
  void PromiseBroken(NodeId node, uint32_t index);
  // Objects that were read; another call does not ask for them again in a single pass. `Rewind`
  // forgets it.
  void MarkRead(uint32_t index);
  void Rewind();

  PlanReport Report() const;
  // Sums of the nodes' progress: loads left, far requests and bytes spent for this job.
  wire::Progress ClusterProgress() const;
  void OnProgress(std::function<void(const wire::Progress&)> observer);

  // Asks every node for its progress now, before the next heartbeat.
  void AskProgress();
  // Every node that is here and has promised something has told its progress since then.
  bool HeardFromAllSince(Time when) const;
  // Since then, and since it promised something last, each has told that it has nothing more to
  // load; and nothing that is missing is looked for, or will be soon.
  bool LoadsEndedSince(Time when) const;
  // From the next heartbeat on, which goes out now: the lease that the nodes count.
  void SetLease(Duration lease);

  // Step 7. Sends EndJob; nothing is awaited, and nothing but reads that are under way goes on.
  void End();
  // The same without EndJob: the promises last until their lease or their t2 is over.
  void Leave();

  // The reads of the job's readers that are under way. Their buffers are filled from outside until
  // they land, so a job is destroyed only when there are none, or when the environment has ended
  // them all.
  Flights& flights();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::jobclient
