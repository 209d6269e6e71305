// SPDX-License-Identifier: Apache-2.0
// Finds nodes for a job's objects: one search is one or more calls, each about what the one before
// left over.
//
//   1. Begin   the search of the plan: everything
//   2. Round   one call (call_round.h)
//   3. Settle up  what nobody promised goes into the next call, at most max_rounds, until a call changes nothing
//   4. Again   later, in the background: nodes were lost or won, promises broken. Searches take at most a tenth of the
//              time, so that a cluster that comes and goes does not make a job call for ever
#pragma once

#include <functional>
#include <memory>

#include "base/bitmap.h"
#include "jobclient/call_round.h"
#include "jobclient/job.h"
#include "planner/placement.h"

namespace holdfast::jobclient {

class Search {
 public:
  struct Hooks {
    std::function<void(NodeId)> unanswered;  // a node owes an answer for too long
    std::function<void()> planned;           // the first search is over; once
  };

  // Everything outlives this.
  Search(const Env& env, const JobOptions* options, const JobList* list, Nodes* nodes,
         Promises* promises, Hooks hooks);

  void Begin();
  // Something is missing: look for it soon.
  void Again();
  // The promise for an object was lost. `hopeless`: no other node will do better. After the second
  // loss it is left to the reader, who goes far for it.
  void Lost(uint32_t index, bool hopeless);
  void MarkRead(uint32_t index);
  void Rewind();
  void Stop();

  void OnNeed(NodeId node, const wire::NeedManifest& need);
  void OnBids(NodeId node, wire::Bids bids);
  void OnAck(NodeId node, const wire::Ack& ack);
  void Out(NodeId node);

  bool calling() const { return round_ != nullptr; }
  // A search is under way, or will be soon.
  bool busy() const { return calling() || scheduled_ || again_; }
  Time finished() const { return finished_; }  // the last time
  const planner::Placement& placement() const { return placement_; }
  // Calls, bids, manifest bytes, planned_in, held_for, too_large_objects.
  void CountInto(PlanReport* report) const;

 private:
  Bitmap Wanted() const;
  Bitmap TooLarge() const;
  void Start();
  void StartRound(Bitmap asked);
  void FinishRound(uint32_t call);
  void Finish();

  Env env_;
  const JobOptions* options_;
  const JobList* list_;
  Nodes* nodes_;
  Promises* promises_;
  Hooks hooks_;
  CallContext context_;
  planner::Placement placement_;

  std::unique_ptr<CallRound> round_;
  uint32_t call_ = 0;
  uint32_t round_number_ = 0;
  Time started_;
  Time finished_{};
  Time rest_until_;  // no search in the background before
  bool scheduled_ = false;
  bool again_ = false;  // asked for while a search was running
  bool planned_ = false;
  bool stopped_ = false;

  Bitmap read_;
  uint32_t read_count_ = 0;
  Bitmap lost_once_;
  Bitmap hopeless_;

  uint32_t calls_ = 0;
  uint64_t bids_ = 0;
  uint64_t manifest_bytes_ = 0;
  Duration planned_in_{};
  Duration least_hold_ = Duration::max();
};

}  // namespace holdfast::jobclient
