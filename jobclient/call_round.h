// SPDX-License-Identifier: Apache-2.0
// One call of a job, from the offers to the last acknowledgement:
//
//   1. Start        offers by bitmap go to every node that is here
//   2. OnNeed       those who lack the manifest get it; who asks within a short while shares the bytes
//   3. OnBids       chunk by chunk; a chunk is ready when every called node that is still in has bid for it
//   4. SettleChunk  in the order in which chunks became ready
//   5. SendConfirm  to every node that bid, also when nothing is confirmed: that cancels, and lets the node begin to load
//   6. OnAck        the promise
//   7. Watch        what was not answered is sent again, and hellos, so that it is known whether the node lives; who stays
//   silent is out, and what it was given remains
//
// Settling a chunk and building a confirm are one slice each; between slices other events run.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/bitmap.h"
#include "base/env.h"
#include "jobclient/job.h"
#include "jobclient/job_list.h"
#include "jobclient/nodes.h"
#include "jobclient/promises.h"
#include "planner/offers.h"
#include "planner/record_cost.h"
#include "planner/settle.h"
#include "wire/messages.h"

namespace holdfast::jobclient {

// What the calls of a job share; all of it outlives them.
struct CallContext {
  Env env;
  const JobOptions* options;
  JobId job;
  const JobList* list;
  const planner::Placement* placement;
  Nodes* nodes;
  Promises* promises;
  std::function<void(NodeId)> unanswered;  // a node owes an answer for too long
};

class CallRound {
 public:
  struct Outcome {
    Bitmap remaining;  // asked for, and nobody promised it
    uint64_t bids = 0;
    uint64_t manifest_bytes_sent = 0;
    bool sent = false;                      // somebody was asked
    uint64_t promised = 0;                  // objects
    Duration least_hold = Duration::max();  // of what was promised, from the call on
    bool refused = false;  // something that was bid for is not promised: another call may find more
  };
  using Step = void (CallRound::*)();
  // Runs a step of this call later, if the call is still there.
  using Later = std::function<void(Time when, Step step)>;

  struct Task {
    uint32_t call = 0;   // counts a job's calls from 1
    uint32_t round = 1;  // counts those of one search for what remains
    Bitmap asked;        // over the manifest
    uint32_t read = 0;   // objects read so far
  };

  // `done` is called once, at the end of a step; the call may be destroyed only after that step.
  CallRound(const CallContext* context, Task task, Later later, std::function<void()> done);

  void Start();
  void OnNeed(NodeId node, const wire::NeedManifest& need);
  void OnBids(NodeId node, wire::Bids bids);
  void OnAck(NodeId node, const wire::Ack& ack);
  // A node is gone or refuses this call: nothing more is expected of it.
  void Out(NodeId node);

  uint32_t call() const { return task_.call; }
  Outcome TakeOutcome() { return std::move(outcome_); }

 private:
  enum class Given : uint8_t { kNothing, kQueued, kSent, kAcknowledged };

  // One node's part in one chunk.
  struct Part {
    bool has_bid = false;
    Bitmap keep, load, spare;  // the bids; once settled, keep and load are what was chosen
    Bitmap near;               // of load and spare, then of load
    RateModel rate, near_rate;
    Duration hold{};  // the least that was bid
    Given given = Given::kNothing;
    Time sent;  // the confirm, last
    Duration resend;
  };
  struct Called {
    NodeId node = kNoNode;
    Incarnation incarnation = 0;
    planner::Offer offer;
    bool in = true;
    bool no_room = false;
    uint32_t bids_left = 0;
    Time heard;   // the last message that took this call on, or the call itself
    Time called;  // the call was sent, last
    Duration resend;
    Time manifest_sent = Time{INT64_MIN / 2};
    uint32_t manifests_sent = 0;
    bool wants_manifest = false;
    std::vector<Part> parts;  // by chunk
  };
  struct Chunk {
    uint32_t first = 0;
    uint32_t count = 0;
    Bitmap asked;
    uint32_t bids_left = 0;
    bool ready = false;  // queued for settling, or settled
  };

  Called* Find(NodeId node);
  planner::RecordCost Cost() const;
  bool OfferEverything();
  void SendCall(Called& called);
  void SendManifests();
  void Ready(uint32_t chunk);
  void Work();
  void ScheduleWork();
  void SettleChunk(uint32_t chunk);
  void TakeChoices(uint32_t chunk, planner::Settler::Outcome settled);
  void SendConfirm(Called& called, uint32_t chunk);
  void Watch();
  void WatchBids(Called& called, Time now);
  void WatchAcks(Called& called, Time now);
  void CountLoads(Called& called, uint32_t chunk);
  void Remain(uint32_t chunk, const Bitmap& what);
  void FinishIfDone();

  const CallContext* context_;
  Task task_;
  Later later_;
  std::function<void()> done_;

  std::vector<Called> called_;
  std::vector<Chunk> chunks_;
  std::unique_ptr<planner::Settler> settler_;
  size_t next_call_ = 0;                                // of called_, to be sent
  bool collecting_ = false;                             // a SendManifests is scheduled
  std::deque<uint32_t> to_settle_;                      // chunks
  std::deque<std::pair<size_t, uint32_t>> to_confirm_;  // called, chunk
  bool working_ = false;
  bool finished_ = false;
  uint32_t unsettled_ = 0;       // chunks
  uint32_t unacknowledged_ = 0;  // confirms, queued or sent
  Outcome outcome_;
};

}  // namespace holdfast::jobclient
