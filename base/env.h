// SPDX-License-Identifier: Apache-2.0
// The capabilities through which the core sees the world. The real ones are in io/, the simulated
// ones in tests/sim/; the core (base, wire, planner, snapshot, the cached and jobclient cores) has
// no threads, clocks, files, sockets or entropy of its own. Every method here is called on the one
// deciding thread and every callback runs on it, never from inside the call that was given it. A
// callback cannot be cancelled: its owner puts an id into it, and a late one finds no flow under
// that id and does nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status.h"
#include "base/units.h"

namespace holdfast {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
  // For stamps that people read, and for what is to end at a time of day (expiry); no other decision
  // uses it. Any thread may ask.
  virtual WallTime Wall() const = 0;
  // Runs `run` once, at `when` or later, in the order (when, order of the calls). A time that has
  // passed means "after what is queued now": that is how long work is cut into slices.
  virtual void At(Time when, std::function<void()> run) = 0;
};

// Clock::Wall, for those who need no more of a clock. Any thread may call it.
using WallClock = std::function<WallTime()>;

// One end of a control connection. Ids are never used again within a process.
using PeerId = uint64_t;
constexpr PeerId kNoPeer = 0;

// A control message: an encoded envelope and bulk columns beside it (wire/messages.h).
struct Frames {
  Buffer head;
  std::vector<Buffer> columns;
  size_t bytes() const {
    size_t n = head.size();
    for (const Buffer& c : columns) n += c.size();
    return n;
  }
};

// One object, or a range of it, wanted from a node's segments.
struct BulkItem {
  Oid oid;
  VersionHash version = 0;  // 0: whatever version the node has
  uint64_t size = 0;        // of the whole object, where known; 0 otherwise
  std::string name;         // canonical URI; needed where the node may have to fetch, else empty
  std::string etag;         // full ETag of `version`, where known
  ByteSpan into;  // where the bytes go; must hold the whole object; valid until the callback
};

// How one BulkItem ended. On kOk, into[0, size) holds the object's bytes and their XXH3 has been
// verified.
struct BulkOutcome {
  Status status;
  VersionHash version = 0;
  uint64_t size = 0;       // on kNoSpace with size > 0: `into` was too small, this is what it takes
  uint64_t hash = 0;       // XXH3-64 of the bytes
  uint32_t expires_s = 0;  // since 1970, where the node knows; 0: never
  // The node said so itself: its error is about the object, not about the node.
  bool answered = false;
  // The node only said where on its disk it lies, and this side has read it there.
  bool own_disk = false;
};

enum class BulkMode : uint8_t {
  kLook = 0,  // only what is there now; kNotFound otherwise
  kWait = 1,  // also what is being loaded: wait for it
  kFetch =
      2,  // also what is not: have the node fetch it, keep it if it can, and serve it (read-through)
};

class Network {
 public:
  virtual ~Network() = default;
  // Opens a connection to a node's control endpoint ("tcp://10.0.0.1:7070"). Never fails at once:
  // an unreachable node is one that does not answer.
  virtual PeerId Connect(const std::string& endpoint) = 0;
  virtual void Disconnect(PeerId peer) = 0;
  // Best effort, in order per peer while both live; the same frames go to every peer without a copy
  // for each. A peer whose queue is full misses the message, as if it was lost.
  virtual void Send(const std::vector<PeerId>& peers, Frames frames) = 0;
  // Called for every message; `frames` is garbage until decoded.
  virtual void OnMessage(std::function<void(PeerId from, Frames frames)> handler) = 0;

  // Reads `items` from the node at `bulk_endpoint` ("tcp://10.0.0.1:7071", "unix:/run/..."),
  // pipelined. `each` runs once for every item, in any order, also when the connection breaks
  // (kUnavailable) or `deadline` passes (kTimeout).
  virtual void BulkRead(const std::string& bulk_endpoint, BulkMode mode,
                        std::vector<BulkItem> items, Time deadline,
                        std::function<void(size_t index, BulkOutcome)> each) = 0;
};

// A part of a range that has a place of its own.
struct FarPiece {
  uint64_t offset = 0;  // in the object
  ByteSpan into = {};
  bool filled = false;  // all of it came
  uint64_t hash = 0;    // XXH3-64 of its bytes then
};

// One GET of a whole object, of the rest of one whose beginning is there already, or of a range.
struct FarGet {
  std::string uri;              // canonical
  std::string etag;             // sent as If-Match when not empty; a difference is kChanged
  uint64_t offset = 0;          // of a whole one: so many of its bytes are in `into` already
  uint64_t length = 0;          // of a whole one: all its bytes, else kChanged; of a range the most
  bool whole = true;            // false: as much of [offset, offset + length) as the object has
  ByteSpan into;                // `length` bytes for the far store's threads, until the callback
  Time deadline = Time::Max();  // retries end here
  // Of a range: where its parts go, instead of `into`, and what is in none is dropped. They rise by
  // offset, lie within the range and do not overlap; the caller's until the callback.
  std::vector<FarPiece>* pieces = nullptr;
  // Of a range without pieces: what its hash begins with. The caller's until the callback.
  ByteView before = {};
};

// One object written whole, in the place of one that is there already.
struct FarPut {
  std::string uri;  // canonical
  ByteView bytes;   // for the far store's threads, until the callback
  Time deadline = Time::Max();
};

struct FarInfo {
  uint64_t size = 0;
  std::string etag;  // without quotes; never empty (a store that gives none: see docs/formats.md)
  uint32_t requests = 1;  // that this answer took; 0 if it came with another's
  // Since 1970: its store gives it up then. 0: never, or a listing, which does not say it.
  uint32_t expires_s = 0;
};

// Where an object's bytes lie among others that one request can bring along.
struct FarPlace {
  uint64_t group = 0;  // what lies in one group can come together; the same on every machine
  uint64_t offset = 0;
  friend auto operator<=>(const FarPlace&, const FarPlace&) = default;
};

struct FarEntry {
  std::string uri;  // canonical
  FarInfo info;
};

struct FarPage {
  std::vector<FarEntry> entries;  // in key order
  std::vector<std::string>
      prefixes;      // canonical, with '/' at the end; only when a delimiter was asked for
  std::string next;  // token of the next page; empty at the end
};

// What was spent; money by the configured prices.
struct FarCounters {
  uint64_t gets = 0;
  uint64_t heads = 0;
  uint64_t lists = 0;
  uint64_t puts = 0;
  uint64_t bytes = 0;
  uint64_t retries = 0;
  uint64_t errors = 0;
  MicroUsd money = 0;
};

class FarStore {
 public:
  virtual ~FarStore() = default;
  // On kOk, `into` holds the bytes of the version that FarInfo names, checked against every
  // checksum and length that the store gave. kNotFound, kDenied, kChanged, kCorrupt are final;
  // kUnavailable and kTimeout come after retries. `hash` is the XXH3-64 of all of these bytes, after
  // those of `before`.
  virtual void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t hash)> done) = 0;
  virtual void Head(const std::string& uri, Time deadline,
                    std::function<void(Result<FarInfo>)> done) = 0;
  // One page of at most 1,000 of what is below `prefix` (canonical), from `token` on; split at '/'
  // if `delimited`.
  virtual void List(const std::string& prefix, const std::string& token, bool delimited,
                    Time deadline, std::function<void(Result<FarPage>)> done) = 0;
  virtual FarCounters Counters() const = 0;
  // Whether any object may have a place; when not, nobody needs to look.
  virtual bool HasPlaces() const { return false; }
  // Nothing for an object that lies by itself.
  virtual std::optional<FarPlace> PlaceOf(const Oid&) const { return std::nullopt; }
};

// Who may also write: what packs data sets, never a node.
class FarWriter {
 public:
  virtual ~FarWriter() = default;
  // On kOk a reader finds all of the bytes under this name, at once and after a crash, in the version
  // that FarInfo names; else what was there before, or all of them. Errors as of Get.
  virtual void Put(FarPut put, std::function<void(Result<FarInfo>)> done) = 0;
};

// Segment storage: a node's numbered segments, all of one size, with room for all of their bytes
// from the start, so that a write does not find the disk full. They outlive the process. A crash may
// lose or tear what was written and not synced. Calls of different segments, or of parts that do not
// overlap, may be under way together.
class Disk {
 public:
  static constexpr uint64_t kBlock = 4096;

  virtual ~Disk() = default;
  virtual uint32_t segments() const = 0;
  virtual uint64_t segment_bytes() const = 0;  // a multiple of kBlock
  // Fills `into` (which stays the caller's) from `offset` on; `hash` is the XXH3-64 of the bytes.
  virtual void Read(uint32_t segment, uint64_t offset, ByteSpan into,
                    std::function<void(Status, uint64_t hash)> done) = 0;
  // Writes `parts`, one after the other, from `offset` on, which is a multiple of kBlock; what is
  // left of the last block becomes zero. Their memory must not change until `done`.
  virtual void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
                     std::function<void(Status)> done) = 0;
  // What was written to the segment before, and reported so, survives a crash from `done` on.
  virtual void Sync(uint32_t segment, std::function<void(Status)> done) = 0;
};

// Records that outlive the process: what a core must still know when it starts again. Local or on
// another node.
class Journal {
 public:
  virtual ~Journal() = default;
  // `done` has the record's sequence number when the record is durable; numbers rise, and callbacks
  // come in their order. kNoSpace when the journal is full, kUnavailable when too much is in flight
  // or the journal has failed: the record may be found after a restart all the same.
  virtual void Append(ByteView record, std::function<void(Status, uint64_t sequence)> done) = 0;
  // Records with lower numbers than `before`, which is a durable one's or less, are not wanted any
  // more.
  virtual Status Truncate(uint64_t before) = 0;
  // Every durable record that is still wanted, in order, and then `done`: once, before the first
  // Append. After an error the records visited are a beginning of them.
  virtual void Replay(std::function<void(uint64_t sequence, ByteView record)> each,
                      std::function<void(Status)> done) = 0;
};

// What a core is given at birth; everything outlives it.
struct Env {
  Clock* clock;
  Network* network;
  FarStore* far;
  Random* random;
  Log* log;
};

}  // namespace holdfast
