// SPDX-License-Identifier: Apache-2.0
// Brings objects into the tier: what commitments wait for, in need-by order, and what readers want
// now. One object's way:
//
//   1. Begin      it is here already, or on its way: done, or wait with the others
//   2. AskHome    whoever goes far asks the object's home first, many objects a message
//   3. Verdict    the home has it or somebody is loading it: take it from there; if that fails ask
//                 again, and somebody will go
//   4. Fetch      room in the tier, then the far store (or the peer) writes straight into it
//   5. Finish     visible; commitments hold it, readers look again, the home forgets the grant
//
// A home that does not answer, peers that fail and a grant that is lost lead to the far store,
// never to waiting.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/rate_model.h"
#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/home.h"
#include "cached/load_queue.h"
#include "cached/membership.h"

namespace holdfast::cached {

class Loader {
 public:
  static constexpr size_t kMaxUrgent = 100'000;  // reads that wait for their turn
  static constexpr size_t kMaxBegins = 1'024;    // in an event
  static constexpr uint32_t kMaxAsks = 3;        // of a load; then it goes without leave
  static constexpr size_t kAskBatch = 1'024;
  static constexpr Duration kAskTimeout = 1s;
  static constexpr Duration kFarDeadline = 300s;
  static constexpr Duration kPeerDeadline = 60s;
  static constexpr Duration kRoomRetry = 50ms;  // for promised room that readers still pin
  static constexpr uint32_t kRoomRetries = 200;

  struct Counters {
    uint64_t far_requests = 0;
    uint64_t far_bytes = 0;
    uint64_t peer_objects = 0;
    uint64_t peer_bytes = 0;
    uint64_t failed = 0;
    uint64_t late = 0;  // after their need-by
  };

  Loader(const Context* context, Commitments* commitments, Membership* membership, Home* home);

  void Enqueue(LoadBatch batch);
  // Drops what a commitment that has ended still had queued.
  void Forget(JobId job, uint32_t call) { queue_.Forget(job, call); }
  void OnMiss(bulk::ReadMiss miss, std::function<void(Status)> done);
  void OnAnswer(PeerId from, const wire::Answer& answer);
  // Once a second: measured rates.
  void Tick();

  // t1 of what is enqueued from now on.
  RateModel Rate() const;
  const Counters& counters() const { return counters_; }
  size_t active() const { return loads_.size(); }
  const LoadQueue& queue() const { return queue_; }

 private:
  struct Load {
    uint64_t id = 0;
    Want want;
    NodeId home = kNoNode;
    bool granted = false;  // the home waits for Fetched
    uint32_t asks = 0;
    NodeId tried = kNoNode;  // the peer that could not give it
    NodeId peer = kNoNode;   // the one that it is read from, and how
    BulkMode peer_mode = BulkMode::kLook;
    uint64_t slot = 0;  // 0: no room yet
    ByteSpan into;
    uint32_t room_retries = 0;
    Time far_began;
  };
  struct PeerWant {
    ObjectKey key;
    uint64_t load;
  };

  void Pump();
  void SchedulePump();
  bool NextWant(Want* want);
  void HeadFirst(bulk::ReadMiss miss, std::function<void(Status)> done);
  void OnHead(const Oid& oid, const Result<FarInfo>& info);
  void AddUrgent(Want want);

  void Begin(Want want);
  void AskHome(Load& load);
  void FlushAsks();
  void AskTimedOut(uint64_t ask);
  void OnVerdict(Load& load, wire::Verdict verdict, NodeId loader);
  void TakeFromPeer(Load& load, NodeId peer, BulkMode mode);
  void PeerFailed(Load& load);
  void TakeAgain(Load& load);
  void FlushPeerReads();
  void OnPeer(const PeerWant& from, BulkOutcome outcome);
  void GoFar(Load& load);
  void OnFar(const ObjectKey& key, uint64_t id, Status status, const FarInfo& info, uint64_t hash);
  // True when the load has room; otherwise it was put off or has failed (and is gone).
  bool HasRoom(Load& load, void (Loader::*again)(Load&));
  void Deliver(Load& load, uint64_t hash);
  // By value: callers give the key of the very load that ends here.
  void Finish(ObjectKey key, const Status& status);
  void FlushFetched();
  Load* Find(const ObjectKey& key, uint64_t id);

  const Context* context_;
  Commitments* commitments_;
  Membership* membership_;
  Home* home_;
  uint64_t segment_bytes_;

  std::map<ObjectKey, Load> loads_;  // begun and not finished
  uint64_t load_bytes_ = 0;
  uint64_t next_id_ = 1;
  // Reads of names whose version is being looked up.
  std::map<Oid, std::vector<std::pair<bulk::ReadMiss, std::function<void(Status)>>>> heads_;
  size_t asking_versions_ = 0;
  std::deque<Want> urgent_;  // first in first out
  LoadQueue queue_;
  bool pump_scheduled_ = false;

  std::map<NodeId, std::vector<PeerWant>> asks_;                        // to be sent, by home
  std::map<uint64_t, std::pair<NodeId, std::vector<PeerWant>>> asked_;  // under way, by ask id
  std::map<std::pair<NodeId, BulkMode>, std::vector<PeerWant>> peer_reads_;
  std::map<std::pair<NodeId, bool>, std::vector<ObjectKey>> fetched_;  // to be told: home, loaded

  Counters counters_;
  uint64_t done_objects_ = 0;  // since the last Tick
  uint64_t done_bytes_ = 0;
  int64_t slowness_permille_ = 1'000;  // measured against the configured rates
  Duration far_latency_ = 50ms;        // smoothed
};

}  // namespace holdfast::cached
