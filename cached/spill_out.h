// SPDX-License-Identifier: Apache-2.0
// Gives what leaves this node's memory, and its disk does not take, to peers with room. Of one
// segment:
//
//   1. Offer   to the peers that have said they have most room, memory before disk
//   2. Bids    until all of them have answered, or kBidTime is over
//   3. Give    the best bidders get as much as they have bid for, and pull it
//   4. End     when all have said that they are done, or kGiveTime is over; what nobody has bid for is
//              offered again for kTryFor, for peers take a little at a time. What was not pulled is gone
//
// Nothing waits for this: reclaim drops what it needs the room of, and a pull finds it gone.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "cached/context.h"
#include "cached/membership.h"
#include "cached/store/outlet.h"

namespace holdfast::cached {

class SpillOut {
 public:
  static constexpr size_t kAsked = 3;     // peers
  static constexpr size_t kMaxFlows = 4;  // at a time
  static constexpr uint64_t kShareOfPlanning =
      16;  // with more than 1 / this of memory.planning no more
  static constexpr Duration kBidTime = 500ms;
  static constexpr Duration kGiveTime = 2500ms;  // longer than a pull may take (guests.h)
  static constexpr Duration kTryFor = 1s;
  static constexpr Duration kAgainAfter = 50ms;

  struct Counters {
    uint64_t offered_objects = 0;
    uint64_t given_objects = 0;  // to peers that have bid
    uint64_t taken_objects = 0;  // as they have said
    uint64_t taken_bytes = 0;    // of records
  };

  SpillOut(const Context* context, Membership* membership)
      : context_(context), membership_(membership) {}

  // The outlet of this node's memory (store/outlet.h).
  uint64_t Room() const;
  void Take(std::vector<store::LeavingRecord> records, std::function<void()> done);

  void OnBid(PeerId from, const wire::SpillBid& bid);
  void OnTaken(PeerId from, const wire::SpillTaken& taken);

  size_t under_way() const { return flows_.size(); }
  uint64_t memory_bytes() const { return memory_bytes_; }
  const Counters& counters() const { return counters_; }

 private:
  struct Asked {
    bool answered = false;
    bool pulls = false;  // was given something and has not said that it is done
    uint64_t bytes = 0;  // of its bid
    bool on_disk = false;
  };
  struct Flow {
    std::vector<store::LeavingRecord> records;
    std::function<void()> done;
    Time try_until;
    std::map<NodeId, Asked> asked;  // in this round
    bool given = false;
    uint64_t memory_bytes = 0;
  };
  using Flows = std::map<uint64_t, Flow>;

  std::vector<NodeId> BestPeers(uint64_t* room) const;
  Asked* FindAsked(uint64_t id, PeerId from, NodeId* node);
  void Offer(uint64_t id);
  void Give(uint64_t id);
  static std::vector<std::pair<NodeId, Asked*>> Bidders(Flow* flow);
  // As many of `records` as fit; the others stay in it.
  bool GiveTo(uint64_t id, NodeId node, Asked* asked, std::vector<store::LeavingRecord>* records);
  void EndRound(uint64_t id);
  void End(uint64_t id);

  const Context* context_;
  Membership* membership_;
  Flows flows_;
  uint64_t last_id_ = 0;
  uint64_t memory_bytes_ = 0;
  Time not_before_{INT64_MIN / 2};  // by the limit of the rate
  Counters counters_;
};

}  // namespace holdfast::cached
