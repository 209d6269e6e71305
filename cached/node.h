// SPDX-License-Identifier: Apache-2.0
// A node: the core of the daemon `cached`, on one thread, through base/env.h alone. It owns the
// parts below and hands every message to the one whose step it is.
//
//   Hello, HelloReply      membership.h   who the other nodes are, and whether they answer
//   Call, NeedManifest     calls.h, call_flow.h  a call becomes bids, chunk by chunk; offers expire
//   (start)                restore_flow.h  what an earlier life had promised is taken up
//   Confirm, Ack           ...            confirmed bids become commitments
//                          promise_log.h  ... in the journal, before they are acknowledged
//   Heartbeat, Progress    commitments.h  what is promised to whom, until when; losses
//   EndJob                 commitments.h  the promises end, the objects stay
//   (loads), ReadMiss      loader.h       loads in need-by order; asks homes; fetches once
//   Ask, Answer, Fetched   home.h, asks.h  the home orders who goes far
//   Drop                   drop_flow.h    takes out what nobody holds
//   SnapshotQuery          snapshots.h, snapshot_flow.h  what is held, for how long, ages at eviction
//   LogAppend, LogQuery    ..., log_keeper.h  the end of the snapshot log, for whoever asks
//   Spill..., Lodged       spill.h        what leaves a full memory goes on at a peer
//   Stream...              streams.h      scratch data of jobs: catalogues, and room for chunks
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "cached/store/memory_tier.h"
#include "wire/bulk_format.h"
#include "wire/messages.h"

namespace holdfast::cached {

struct Member {
  NodeId node = kNoNode;
  std::string control_endpoint;  // "tcp://10.0.0.1:7070"
};

struct NodeOptions {
  NodeId node = 0;
  Incarnation incarnation = 0;  // random, not 0
  std::string cluster = "holdfast";
  std::vector<Member> members{};  // every node of the cluster, this one too; ids distinct
  std::string bulk_endpoint{};    // as told to others
  std::string far_identity{};     // as told to others, for people

  uint32_t max_loads = 256;                // far and peer reads under way
  uint64_t max_load_bytes = 256 * kMiB;    // their bytes
  uint64_t first_part_bytes = 256 * kKiB;  // of an object of unknown size, at most
  // Smaller objects on the disk are read for everybody: to hand a read to another process's thread
  // costs more than the bytes.
  uint64_t least_placed_bytes = 32 * kKiB;
  uint64_t far_bytes_per_s = 200'000'000;  // until measured
  uint64_t far_objects_per_s = 2'000;

  Duration offer_ttl = 5s;  // how long a reservation waits for its confirm
  Duration max_hold = std::chrono::hours(24 * 7);
  Duration grant_ttl = 60s;          // how long a home waits for a Fetched
  uint32_t job_share_percent = 100;  // of the promisable bytes that one job's offers may reserve
  uint32_t max_jobs = 1'000;
  uint32_t stream_disk_percent = 75;  // of the disk's segments that streams may have, all together
  // What leaves this node's memory is offered to peers; what they offer is taken where there is room.
  bool spill_peers = false;
  uint64_t spill_bytes_per_s = 100 * kMiB;  // that this node gives
  uint64_t max_planning_bytes =
      512 * kMiB;  // manifests, calls and names: their own cap inside the memory limit

  uint64_t journal_bytes = 64 * kMiB;  // that the journal has room for
  // Which start of the machine this is, and what to add to the clock for the time since: promises of
  // an earlier process of the same start have so much less time left.
  uint64_t boot = 0;
  Duration boot_ahead{};
};

class Node {
 public:
  // The tiers, the sessions and the journal are the caller's and outlive the node. `disk` may be null,
  // and may still be recovering. Without a journal promises end with the process.
  Node(const Env& env, store::MemoryTier* tier, NodeOptions options,
       store::DiskTier* disk = nullptr, Journal* journal = nullptr);
  ~Node();
  Node(const Node&) = delete;

  // Takes over env.network's messages; takes up what the journal says was promised, if anything, and
  // until then answers nobody; greets the other nodes and starts the timers.
  void Start();

  // A reader wants what the tier does not have now. `done(ok)`: it is there now, look again. In
  // mode kFetch the object is fetched by this node whatever its home is (the reader has chosen);
  // kNoSpace and kInvalid mean that this node cannot hold it. Runs `done` exactly once, also when
  // the node gives up.
  void OnMiss(bulk::ReadMiss miss, std::function<void(Status)> done);

  // The state of the node for people and tools; the fields are documented in docs/operators.md.
  std::string StatusJson() const;

  // What must be true at any time between two events; the text of the first thing that is not. For
  // tests.
  Status CheckInvariants() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::cached
