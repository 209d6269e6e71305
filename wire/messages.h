// SPDX-License-Identifier: Apache-2.0
// Every control message, in the order of the protocol. A message is an envelope (MessagePack: small
// fields) and columns beside it (raw little-endian arrays and bitmaps, never parsed element by
// element). wire/codec.h turns one into Frames and back; docs/formats.md is the page for these
// bytes.
//
// Durations count from the receipt of the message that carries them; no two clocks are compared.
//
// A column's owner is the message: decoded messages own the received buffers, and views into them
// live as long.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/rate_model.h"
#include "base/status.h"
#include "base/units.h"
#include "wire/spill_messages.h"
#include "wire/stream_messages.h"

namespace holdfast::wire {

constexpr uint16_t kProtocolVersion = 1;

// Limits that a decoder enforces; reaching one is kCorrupt with its name.
constexpr size_t kMaxManifestObjects = 4'000'000;
constexpr size_t kMaxEnvelopeBytes = 1 * kMiB;
constexpr size_t kMaxNameBytes = 4096;
constexpr size_t kMaxEtagBytes = 256;
constexpr size_t kMaxAskObjects = 16'384;
constexpr size_t kMaxMembers = 4096;
// Columns of a call are cut into chunks of this many objects of the manifest; a multiple of 64.
constexpr uint32_t kChunkObjects = 65'536;

// --- Hello, once per connection, by jobs and by nodes --------------------------------------------

struct Hello {
  std::string cluster{};        // both sides' configured cluster name must be equal
  JobId job = 0;                // 0 from a node
  NodeId node = kNoNode;        // kNoNode from a job
  Incarnation incarnation = 0;  // of the sending node; 0 from a job
};

struct HelloReply {
  NodeId node = kNoNode;
  Incarnation incarnation = 0;
  uint64_t capacity_bytes = 0;  // of the memory tier for objects; the weight in rendezvous hashing
  uint64_t free_bytes = 0;      // not promised to anybody
  uint64_t max_object_bytes = 0;  // larger objects are never bid for
  uint64_t far_bytes_per_s = 0;   // measured or configured
  uint64_t far_objects_per_s = 0;
  std::string bulk_endpoint{};    // for BulkRead
  std::string far_identity{};     // the S3 endpoint of the node, for people; empty if none
  uint64_t guest_bytes = 0;       // room for what other nodes' memory lets go of, in memory
  uint64_t guest_disk_bytes = 0;  // and on the disk
};

// --- A manifest: the set of a job's objects ------------------------------------------------------

// The content of a manifest: sorted by OID, no OID twice, sizes and versions known
// (planner/manifest.h builds it). `digest` is Hash128 over count, size_width and the three columns,
// in that order.
struct ManifestColumns {
  uint32_t count = 0;
  uint8_t size_width = 4;  // bytes per size: 4 when every size fits, else 8
  Buffer oids{};           // count × 16: hi, lo
  Buffer sizes{};          // count × size_width
  Buffer versions{};       // count × 8
};

struct NeedManifest {  // node → job, in answer to a Call
  JobId job = 0;
  uint32_t call = 0;
  ManifestDigest digest{};
};

struct Manifest {  // job → node, in answer to NeedManifest
  ManifestDigest digest{};
  ManifestColumns columns{};
};

// --- Call, bids ----------------------------------------------------------------------------------

struct Call {  // job → every node
  JobId job = 0;
  uint32_t call = 0;  // 1, 2, ...: a later one asks for what remains
  ManifestDigest digest{};
  uint32_t count = 0;       // of the manifest
  uint8_t priority = 0;     // higher goes first in a node's load queue
  uint16_t name_bytes = 0;  // the most that name and ETag of an object take together
  Duration hold{};          // how long the job would like its objects kept: the t2 it asks for
  Duration lease{};         // without a heartbeat for this long the job is gone
  bool dry_run = false;     // bids are wanted, nothing is reserved: `holdfast plan`
  Buffer asked{};           // bitmap over the manifest: what this call is about; empty: everything
  Buffer offer{};           // bitmap over the manifest: what this node may offer to load
  Buffer
      home{};  // bitmap over the manifest, subset of offer: the node is the home, its offer reserves
};

// What a node bids for the objects [first, first + count) of a manifest. The three bitmaps are
// disjoint. t1 of a keep is 0; t1 of a load follows from the rate model and from how much the job
// confirms at this node, over all chunks.
struct Bids {  // node → job, one per chunk
  JobId job = 0;
  uint32_t call = 0;
  Incarnation incarnation = 0;
  uint32_t first = 0;
  uint32_t count = 0;
  Duration keep_t2{};  // of every keep in this chunk
  Duration load_t2{};  // of every load in this chunk
  RateModel rate{};
  Status status{};  // not ok: the node can bid for nothing of this call, and why
  Buffer keep{};    // bitmaps over the chunk
  Buffer load{};    // reserved until the offer expires
  Buffer spare{};   // "if there is room when you confirm"
  // Of loads and spares: what lies on the node's disk, also what it was not asked to offer. It takes no
  // far request, and its t1 follows from near_rate, apart from the others. Empty: nothing.
  Buffer near{};
  RateModel near_rate{};
};

// --- Settle: confirm and acknowledge -------------------------------------------------------------

// Settles every bid of one chunk: set bits are confirmed, the others cancelled. Idempotent by (job,
// call, first). Only what is to be loaded travels with names and ETags: the n-th set bit of `load`
// has the n-th name.
struct Confirm {  // job → node
  JobId job = 0;
  uint32_t call = 0;
  Incarnation incarnation = 0;  // of the node that bid
  uint32_t first = 0;
  uint32_t count = 0;
  Buffer keep{};  // bitmaps over the chunk
  Buffer load{};
  Buffer name_ends{};  // u32 per load: end of its name in `names`
  Buffer names{};      // canonical URIs, one after the other
  Buffer etag_ends{};  // u32 per load
  Buffer etags{};
  Buffer need_by{};  // u32 per load: milliseconds from now; empty: in order
};

enum class Refusal : uint8_t {
  kNone = 0,
  kGone = 1,
  kNoRoom = 2,
  kExpired = 3,
  kBadName = 4,
  kUnknownCall = 5
};

struct Ack {  // node → job: the promise
  JobId job = 0;
  uint32_t call = 0;
  Incarnation incarnation = 0;
  uint64_t tenancy = 0;  // as in Progress; 0: the node does not know the job
  uint32_t first = 0;
  uint32_t count = 0;
  Duration t2{};                 // everything not refused stays until then
  RateModel rate{};              // final
  Buffer refused{};              // bitmap over the chunk; empty: nothing
  Refusal why = Refusal::kNone;  // of the refusals in this chunk, the most common
};

// --- A job's life --------------------------------------------------------------------------------

struct Heartbeat {  // job → node
  JobId job = 0;
  Duration lease{};
  uint64_t losses_seen =
      0;  // of this incarnation; the node forgets those and sends the others again
};

// Loads that failed for good, commitments that were lost: the job replans or reads far away.
struct Loss {
  uint32_t index = 0;  // in the manifest of the job's call
  Code code = Code::kOk;
  std::string text{};
};

struct Progress {  // node → job, in answer to a heartbeat and when something was lost
  JobId job = 0;
  Incarnation incarnation = 0;
  // Random when the node began to know the job. Whoever says the same number, also after a restart,
  // has forgotten nothing that was acknowledged with it, but for the losses that it tells.
  uint64_t tenancy = 0;
  bool known =
      false;  // false: the node holds nothing for this job (it restarted, or the lease ended)
  uint64_t kept_objects = 0;
  uint64_t loads_left = 0;
  uint64_t loads_done = 0;
  uint64_t loaded_bytes = 0;
  uint64_t far_requests = 0;  // spent far away by this node for this job
  uint64_t far_bytes = 0;
  uint64_t first_loss = 0;   // number of lost[0]; numbers only grow at an incarnation
  std::vector<Loss> lost{};  // at most 1,000 a message; the rest follows when these were seen
};

struct EndJob {  // job → node: the promises end, the objects stay
  JobId job = 0;
};

// --- Between nodes: who goes far -----------------------------------------------------------------

// Who asks and who has fetched is who greeted last over the same connection.
struct Ask {  // the node that is to load → each object's home
  uint64_t id = 0;
  Buffer oids{};      // n × 16
  Buffer versions{};  // n × 8
  Buffer
      tried{};  // n × u16, the NodeId from which the object could not be had, or kNoNode; empty: none
};

enum class Verdict : uint8_t {
  kGo = 0,       // fetch it; the home remembers who was sent
  kHave = 1,     // the home has it: take it from there
  kLoading = 2,  // `loader` is fetching it or has done so just now: take it from there, waiting
};

struct Answer {  // home → asker
  uint64_t id = 0;
  Buffer verdicts{};  // n × u8
  Buffer loaders{};   // n × u16, a NodeId where the verdict is kLoading
};

struct Fetched {       // asker → home: the fetches of these objects are over
  bool loaded = true;  // false: they failed
  Buffer oids{};
  Buffer versions{};
};

// --- Administration ------------------------------------------------------------------------------

struct StatusQuery {
  uint64_t id = 0;
};

struct StatusReply {
  uint64_t id = 0;
  std::string json{};  // documented in docs/operators.md
};

// Drops what nobody holds. Either OIDs or a prefix of canonical URIs.
struct Drop {
  uint64_t id = 0;
  std::string prefix{};
  Buffer oids{};
};

struct DropReply {
  uint64_t id = 0;
  uint64_t dropped_objects = 0;
  uint64_t dropped_bytes = 0;
  uint64_t held_objects = 0;  // matched, but kept by promises
};

// Any request that could not be served; `about` names the message type.
struct ErrorReply {
  std::string about{};
  JobId job = 0;
  Status status{};
};

// --- Virtual snapshots ---------------------------------------------------------------------------

struct SnapshotQuery {  // collector → node: what do you hold?
  uint64_t id = 0;
  uint64_t sequence = 0;  // of the snapshot that this becomes a part of; the node remembers a few
  uint64_t previous = 0;  // of the one before it in the log: what was evicted since?
};

struct SnapshotReply {  // node → collector
  uint64_t id = 0;
  Incarnation incarnation = 0;
  Buffer prints{};  // n × u64: the first halves of the OIDs, in no order; some may come twice
  Buffer ages{};    // n × u32: milliseconds since it was loaded or its promises ended
  Buffer held{};    // bitmap: a promise keeps it
  Buffer kept{};    // bitmap: it lies in the kept ring or on the disk (snapshot/rings.h)
  // By cell of age (snapshot/survival.h), u64 each, since `previous`: how many objects were evicted,
  // and the sum of the squares of those that left together, both of the fresh ring and then of the
  // kept one; and how many went on from the one to the other. Empty when this incarnation does not
  // remember that snapshot.
  Buffer evicted{};
  Buffer evicted_squares{};
  Buffer moved{};
};

// Frames of the snapshot log (snapshot/log.h), one after the other. A node keeps those from the last
// full one on for whoever asks, and understands their headers and checksums only.
struct LogAppend {  // collector → node; answered by a LogReply without frames
  uint64_t id = 0;
  Buffer frames{};
};

struct LogQuery {  // whoever wants the log → node
  uint64_t id = 0;
  uint64_t after = 0;  // the frames after the one of this number and this mark (FrameHeader); all
  uint32_t mark = 0;   // there are when it is not among them
};

struct LogReply {  // node → whoever asked
  uint64_t id = 0;
  uint64_t sequence = 0;  // of the last frame kept; 0: none
  uint32_t mark = 0;      // its own
  Duration age{};         // since that frame came
  Buffer frames{};
};

// The order is the type's number on the wire: append, never insert.
using Message =
    std::variant<Hello, HelloReply, NeedManifest, Manifest, Call, Bids, Confirm, Ack, Heartbeat,
                 Progress, EndJob, Ask, Answer, Fetched, StatusQuery, StatusReply, Drop, DropReply,
                 ErrorReply, SnapshotQuery, SnapshotReply, LogAppend, LogQuery, LogReply,
                 StreamOpen, StreamQuery, StreamReply, StreamAppend, StreamAppended, StreamKeep,
                 StreamKept, StreamDrop, StreamDropped, StreamList, StreamListed, SpillOffer,
                 SpillBid, SpillGive, SpillTaken, Lodged>;

}  // namespace holdfast::wire
