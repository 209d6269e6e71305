// SPDX-License-Identifier: Apache-2.0
// One call of one job, from the Call to the last chunk that is settled:
//
//   1. Begin      the manifest is known, or is asked for once
//   2. Bid        chunk by chunk, one chunk an event: what is here, what could be loaded; room is
//   reserved
//   3. Confirm    chunk by chunk: the reservation becomes a commitment; the acknowledgement is the
//                 promise, and waits until the journal has it
//   4. Load       when all chunks are settled and acknowledged, or when the offers expire, the
//                 confirmed loads are queued together
//   5. Expire     what was not confirmed in time is free again; a late confirm takes what room
//   there is then
#pragma once

#include <functional>
#include <vector>

#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/loader.h"
#include "cached/manifests.h"
#include "cached/promise_log.h"
#include "planner/bidding.h"
#include "planner/calendar.h"

namespace holdfast::cached {

class CallFlow;

// What the flows of a node share.
struct Planning {
  Manifests* manifests;
  planner::Calendar* calendar;  // of the memory
  planner::Calendar* below;     // of the disk
  Commitments* commitments;
  Loader* loader;
  PromiseLog* log;
  std::function<CallFlow*(JobId, uint32_t call)> find;  // null: it is gone
  std::function<Room(JobId)> tentative;                 // of all calls of a job
  std::function<uint64_t()> planning_bytes;             // in use, of max_planning_bytes
};

class CallFlow {
 public:
  // Far more than anybody has, and so little that no sum of what records take can overflow.
  static constexpr uint64_t kMaxListBytes = uint64_t{1} << 60;
  static constexpr uint64_t kFixedBytes = 1 * kKiB;  // of a flow, whatever its list
  static constexpr uint64_t BitmapBytes(uint64_t objects) { return objects / 8 * 9; }

  CallFlow(const Context* context, const Planning* planning, PeerId peer, wire::Call call);
  ~CallFlow();
  CallFlow(const CallFlow&) = delete;

  // Steps 1 and 2; again when the manifest has come, and when the call comes again because its bids
  // were lost.
  void Begin(PeerId peer);
  // The next chunk; false when there is none left.
  bool BidSlice();
  void OnConfirm(PeerId peer, wire::Confirm confirm);
  void Expire();
  // How confirmed loads that are not queued yet can be had, as Loader::NamesOf.
  void NamesOf(const Commitment& commitment, uint32_t first, uint32_t last,
               std::vector<entry::Name>* names) const;
  // Tells the job that this node bids for nothing of this call, and why.
  void Refuse(Status status);

  PeerId peer() const { return peer_; }
  const ManifestDigest& digest() const { return call_.digest; }
  bool waits_for_manifest() const { return manifest_ == nullptr; }
  Time expires() const { return expires_; }
  const Room& tentative() const { return tentative_; }
  // That this call takes, bitmaps and names above all.
  uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  struct Chunk {
    Bitmap keep{}, load{}, spare{}, near{};
    Room reserved{};
    bool bid = false;
    bool settled = false;
    Bitmap refused{};
    wire::Refusal why = wire::Refusal::kNone;
    // While the journal writes it.
    uint64_t ticket = 0;
    Bitmap promised{};
    PeerId peer = kNoPeer;
  };
  uint64_t OwnBytes() const;  // without names
  Status CheckManifest() const;
  void SendBids(uint32_t first, const Chunk& chunk);
  void RefuseConfirm(PeerId peer, const wire::Confirm& confirm, wire::Refusal why) const;
  void SendAck(PeerId peer, uint32_t first, uint32_t count, const Chunk& chunk) const;
  struct Found {
    Bitmap here;       // in memory, or on its way there for a promise
    Bitmap held;       // of those, promised already
    Bitmap disk;       // on this node's disk; empty without one
    Bitmap disk_held;  // of those, promised already
  };
  Found Look(uint32_t first, uint32_t count) const;
  planner::BidInput InputFor(uint32_t first) const;
  void Reserve(Chunk& chunk, const planner::BidOutcome& bids);
  Room RoomForThisCall() const;
  void Release(Chunk& chunk);
  // Clears the bits of `load` whose names are not those of their objects.
  void CheckNames(const wire::Confirm& confirm, Bitmap* load) const;
  LoadBatch BatchOf(wire::Confirm confirm) const;
  void KeepLoads(LoadBatch batch);
  void Write(const Commitment& commitment, size_t number, const LoadBatch& batch);
  void OnWritten(size_t number, uint64_t ticket, const Status& written);
  void StartLoads();
  bool AllSettled() const;
  Duration Hold() const;

  const Context* context_;
  const Planning* planning_;
  PeerId peer_;
  wire::Call call_;
  const planner::Manifest* manifest_ = nullptr;
  Bitmap asked_, offer_, home_;
  std::vector<Chunk> chunks_;
  size_t next_ = 0;
  Time received_;
  Time expires_;
  Time reserved_until_;
  Room tentative_;
  // What a dry run would have reserved: its later chunks find that much less room.
  Room dry_;
  uint64_t memory_bytes_ = 0;
  Time until_;
  std::vector<LoadBatch> loads_;  // confirmed, until all chunks are
};

}  // namespace holdfast::cached
