// SPDX-License-Identifier: Apache-2.0
// Brings objects into the tier: what commitments wait for, in need-by order, and what readers want
// now. One object's way:
//
//   1. Begin      it is here already, or on its way: done, or wait with the others
//   1a. LookOnDisk  it may be on this node's disk, which is asked before anybody else; who can read it
//                 there itself is told the place, and nothing is loaded
//   2. AskHome    whoever goes far asks the object's home first, many objects a message
//   3. Verdict    the home has it or somebody is loading it: take it from there; if that fails ask
//                 again, and somebody will go
//   4. Fetch      room in the tier, then the far store (or the peer) writes straight into it
//   5. Finish     visible; commitments hold it, readers look again, the home forgets the grant; what was
//                 promised on the disk is copied there (copy_down.h)
//
// A reader may not know the version. Until somebody does, it is 0, "whichever there is", for the
// home, too:
//
//   4a. GetFirst  the first bytes come into a buffer, and with them version and size; whoever waits
//                 for the one or the other version waits with the others
//   4b. TakeFirst small objects are whole by that; of others the rest follows into the tier
//   4c. AskVersion  where a peer has it or brings it, which does not tell the ETag
//
// The steps lie in loader.cc (what is to be begun, and its end), load_misses.cc (readers), load_near.cc
// (1a to 3) and load_far.cc (4 to 4c).
//
// A home that does not answer, peers that fail and a grant that is lost lead to the far store,
// never to waiting.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rate_model.h"
#include "cached/asks.h"
#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/copy_down.h"
#include "cached/home.h"
#include "cached/load_queue.h"
#include "cached/membership.h"
#include "cached/pace.h"
#include "cached/second_reads.h"

namespace holdfast::cached {

class Loader {
 public:
  static constexpr size_t kMaxUrgent = 100'000;   // reads that wait for their turn
  static constexpr size_t kMaxBegins = 1'024;     // in an event
  static constexpr size_t kMaxTogether = 16'384;  // loads that come many to a request
  static constexpr uint32_t kMaxAsks = 3;         // of a load; then it goes without leave
  static constexpr Duration kFarDeadline = 300s;
  static constexpr Duration kPeerDeadline = 60s;
  static constexpr Duration kRoomRetry = 50ms;  // for promised room that readers still pin
  static constexpr uint32_t kRoomRetries = 200;
  // First parts take about 1 / kShareOfPlanning of memory.planning: the less of that is left the
  // smaller they are, which costs no more requests than to ask for the size would.
  static constexpr uint64_t kShareOfPlanning = 8;
  static constexpr uint64_t kSmallFirst = 4 * kKiB;
  // Copies on their way to the disk, and what will be copied, take at most so much of it, and no more
  // than this.
  static constexpr uint64_t kShareOfCopies = 8;
  static constexpr uint64_t kMostCopies = 32 * kMiB;

  struct Counters {
    uint64_t far_requests = 0;
    uint64_t far_bytes = 0;
    uint64_t peer_objects = 0;
    uint64_t peer_bytes = 0;
    uint64_t disk_objects = 0;
    uint64_t disk_bytes = 0;
    uint64_t disk_places = 0;  // told to readers instead of loading
    uint64_t failed = 0;
    uint64_t late = 0;  // after their need-by
  };

  Loader(const Context* context, Commitments* commitments, Membership* membership, Home* home);

  void Enqueue(LoadBatch batch);
  // What is queued is not begun before.
  void NotBefore(Time when) { not_before_ = when; }
  // Drops what a commitment that has ended still had queued.
  void Forget(const Commitment& ended) { queue_.Forget(ended); }
  void OnMiss(bulk::ReadMiss miss, std::function<void(Status)> done);
  void OnAnswer(PeerId from, const wire::Answer& answer) { asks_.OnAnswer(from, answer); }
  // Once a second: measured rates.
  void Tick();

  // How what a commitment waits for and is queued or under way can be had, of the objects
  // [first, last) of its manifest; in no order. The texts are the loader's.
  void NamesOf(const Commitment& commitment, uint32_t first, uint32_t last,
               std::vector<entry::Name>* names) const;

  // t1 of what is enqueued from now on: from far away, and from this node's disk.
  RateModel Rate() const;
  RateModel DiskRate() const;
  const Counters& counters() const { return counters_; }
  size_t active() const { return loads_.size(); }
  const LoadQueue& queue() const { return queue_; }
  uint64_t first_bytes() const { return first_bytes_; }       // of memory.planning
  uint64_t copy_bytes() const { return copy_down_.bytes(); }  // of it, too

 private:
  struct Load {
    uint64_t id = 0;
    Want want;
    NodeId home = kNoNode;
    std::optional<ObjectKey> granted;  // the home waits for Fetched of this
    uint32_t asks = 0;
    NodeId tried = kNoNode;  // the peer that could not give it
    NodeId peer = kNoNode;   // the one that it is read from, and how
    BulkMode peer_mode = BulkMode::kLook;
    bool together = false;  // it comes with others, and does not count as one of max_loads
    uint64_t slot = 0;      // 0: no room yet
    ByteSpan into;
    uint64_t counted = 0;  // in load_bytes_
    uint64_t to_copy = 0;  // in to_copy_
    uint32_t room_retries = 0;
    Time far_began;
    // What came before its size was known. The far store's callback owns it, too: it may outlive
    // this node.
    std::shared_ptr<Buffer> first;
    uint64_t first_hash = 0;                      // where that is the whole object
    uint32_t expires_s = 0;                       // as who gave it has said
    std::optional<store::DiskTier::Found> found;  // on this node's disk
  };
  struct PeerWant {
    ObjectKey key;
    uint64_t load;
  };

  void Pump();
  void SchedulePump();
  bool NextWant(Want* want);
  bool HasTurn() const;
  bool MayBegin() const;
  void CountRequests(const Load& load, uint32_t requests);
  bool OnDiskHere(const ObjectKey& key) const;
  void AddUrgent(Want want);
  bool TellPlace(const bulk::ReadMiss& miss);
  Status TooLarge(uint64_t size) const;
  std::function<void(Status)> Wanting(const ObjectKey& key, const Want& loaded,
                                      std::function<void(Status)> done) const;

  void Begin(Want want);
  static void MayGoFar(Load& load, const Want& want);
  void LookOnDisk(Load& load);
  void OnDisk(Load& load, Result<store::DiskTier::Found> found);
  bool OnlyBelow(const Load& load) const;
  void TakeFromDisk(Load& load);
  void NotOnDisk(Load& load);
  void AskHome(Load& load);
  void Answered(const Asks::Question& question, const std::optional<Home::Decision>& decision);
  void OnVerdict(Load& load, wire::Verdict verdict, NodeId loader);
  void TakeFromPeer(Load& load, NodeId peer, BulkMode mode);
  void PeerFailed(Load& load);
  void TakeAgain(Load& load);
  void FlushPeerReads();
  void OnPeer(const PeerWant& from, BulkOutcome outcome);
  void GoFar(Load& load);
  void OnFar(const ObjectKey& key, uint64_t id, Status status, const FarInfo& info, uint64_t hash);
  void AskVersion(Load& load);
  void OnVersion(Load& load, const Result<FarInfo>& info);
  void GetFirst(Load& load);
  void OnFirst(Load& load, const Status& status, const FarInfo& info, uint64_t hash);
  void TakeFirst(Load& load);
  void DropFirst(Load& load);
  Load& Learned(Load& load, const FarInfo& info);
  // True when the load has room; otherwise it was put off or has failed (and is gone).
  bool HasRoom(Load& load, void (Loader::*again)(Load&));
  void Deliver(Load& load, uint64_t hash, Pace* pace);
  // By value: callers give the key of the very load that ends here.
  void Finish(ObjectKey key, const Status& status);
  void Arrived(const ObjectKey& key);
  void CopiedDown(const ObjectKey& key, const Status& status);
  Load* Find(const ObjectKey& key, uint64_t id);
  // What may bring this version: for version 0 any one, for others also whichever there is.
  Load* Loading(const ObjectKey& key);
  void Count(Load& load, uint64_t bytes);

  const Context* context_;
  Commitments* commitments_;
  Membership* membership_;
  Home* home_;
  uint64_t segment_bytes_;

  std::map<ObjectKey, Load> loads_;  // begun and not finished
  size_t together_ = 0;              // of them
  uint64_t load_bytes_ = 0;          // under way
  uint64_t to_copy_ = 0;             // of them, promised on the disk
  uint64_t most_copies_;
  uint64_t first_bytes_ = 0;  // in buffers
  uint64_t next_id_ = 1;
  std::deque<PeerWant> rests_;  // begun, and their rest waits for its turn
  std::deque<Want> urgent_;     // first in first out
  LoadQueue queue_;
  bool pump_scheduled_ = false;
  Time not_before_{INT64_MIN / 2};
  bool waits_to_begin_ = false;

  Asks asks_;
  std::map<std::pair<NodeId, BulkMode>, std::vector<PeerWant>> peer_reads_;

  CopyDown copy_down_;
  Counters counters_;
  Pace far_pace_;  // and from peers
  Pace disk_pace_{20'000, 500'000'000};
  SecondReads second_reads_;
  Duration far_latency_ = 50ms;  // smoothed
};

}  // namespace holdfast::cached
