// SPDX-License-Identifier: Apache-2.0
// Takes in what leaves the memory of other nodes, as long as this one has room to spare:
//
//   1. Bid    for what is offered: the room in memory, or else on the disk; it counts for kBidTime
//   2. Pull   what is named comes out of the sender's memory by a bulk read, straight into a segment
//             of guests, or into buffers for the disk
//   3. Keep   it can be found as any record; reclaim takes guests before all others
//   4. Tell   the sender that it is over, and each object's home where it lies
//
// What a message says is believed no further than it can be checked: names belong to their OIDs,
// versions to ETags and sizes, bytes to their hashes, and room is looked for again when it is taken.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/membership.h"
#include "planner/calendar.h"

namespace holdfast::cached {

class Guests {
 public:
  static constexpr Duration kBidTime = 2s;
  static constexpr Duration kPullTime = 2s;
  static constexpr size_t kMaxBids = 64;
  static constexpr size_t kMaxPulls = 16;
  static constexpr uint64_t kMostBuffered = 16 * kMiB;  // on the way to the disk
  static constexpr uint64_t kShareOfPlanning = 16;      // and at most 1 / this of memory.planning

  struct Counters {
    uint64_t objects = 0;  // taken in, since the start
    uint64_t bytes = 0;    // of records
    uint64_t disk_objects = 0;
    uint64_t refused_offers = 0;
  };
  // `busy`: the node has enough to do for itself.
  Guests(const Context* context, const Membership* membership, Commitments* commitments,
         const planner::Calendar* calendar, std::function<bool()> busy);

  // What it would bid just now.
  Room FreeRoom() const;
  void OnOffer(PeerId from, const wire::SpillOffer& offer);
  void OnGive(PeerId from, const wire::SpillGive& give);
  void Expire();

  size_t under_way() const { return pulls_.size(); }
  uint64_t memory_bytes() const { return buffered_; }
  const Counters& counters() const { return counters_; }
  Status CheckBooks() const;

 private:
  struct Bid {
    uint64_t bytes = 0;
    bool on_disk = false;
    Time expires;
  };
  using BidId = std::pair<NodeId, uint64_t>;
  struct Guest {
    ObjectKey key;
    uint64_t size = 0;
    Duration age{};
    std::string name;
    std::string etag;
    uint64_t slot = 0;  // in memory
    Buffer buffer{};    // or for the disk
    ByteSpan into{};    // either
    bool read = false;
    uint64_t hash = 0;
    uint32_t expires_s = 0;
    bool here = false;

    uint64_t record_bytes() const { return shm::RecordBytes(size, name.size(), etag.size()); }
  };
  struct Pull {
    NodeId node = kNoNode;
    PeerId from = kNoPeer;
    uint64_t id = 0;  // of the offer
    bool on_disk = false;
    uint64_t bytes = 0;  // of the bid
    std::vector<Guest> guests;
    size_t left = 0;  // that are being read
  };

  uint64_t Promised() const;
  uint64_t MostBuffered() const;
  void Forget(std::map<BidId, Bid>::iterator bid);
  void Begin(uint64_t id, const std::string& endpoint);
  std::vector<Guest> GuestsOf(const wire::SpillGive& give, uint64_t room, uint64_t most) const;
  bool IsHere(const Guest& guest) const;
  bool MakeRoom(const Pull& pull, Guest* guest);
  void OnRead(uint64_t id, size_t n, const BulkOutcome& outcome);
  void Write(uint64_t id);
  void Count(const Guest& guest);
  void End(uint64_t id);
  void TellHomes(const Pull& pull) const;

  const Context* context_;
  const Membership* membership_;
  Commitments* commitments_;
  const planner::Calendar* calendar_;
  std::function<bool()> busy_;
  std::map<BidId, Bid> bids_;
  std::map<uint64_t, Pull> pulls_;
  uint64_t last_pull_ = 0;
  uint64_t bid_memory_ = 0, bid_disk_ = 0;  // of bids and of pulls
  uint64_t buffered_ = 0;
  Counters counters_;
};

}  // namespace holdfast::cached
