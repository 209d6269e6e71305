// SPDX-License-Identifier: Apache-2.0
// Reads a planned job's objects in order with a bounded look-ahead: what the reader's own node has
// is left to mapped memory (no message; where two soon after each other were not there the node is
// asked ahead for what follows), what other nodes have comes by batches, and what nobody serves
// comes from far away. A read never fails because the cache did: it fails only when the far store
// says so too. What arrives is checked against the planned version and size; anything else counts
// as not there.
//
// One object's way, each step only if the one before did not do:
//   own node's memory (the caller's, without this class)
//   → the node that promised it, waiting for its load (kWait)
//   → the own node's disk, if this process can read it (kWait)
//   → its home, which fetches it for everybody (kFetch)
//   → the far store, directly
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/env.h"
#include "jobclient/job.h"

namespace holdfast::jobclient {

enum class Source : uint8_t { kLocal = 0, kPeer = 1, kThroughHome = 2, kFar = 3, kOwnDisk = 4 };
constexpr size_t kSources = 5;

struct ReadResult {
  Status
      status;  // kNotFound, kChanged, kDenied, kCorrupt, kUnavailable, kTimeout, as the far store said
  Buffer bytes;        // the whole object; empty when `local`
  bool local = false;  // it is in the own node's memory now: read it there
  Source source = Source::kPeer;
};

struct OrderedReaderOptions {
  uint64_t look_ahead_bytes = 64 * kMiB;
  uint32_t look_ahead_objects = 1'024;
  uint32_t batch_objects = 64;
  Duration wait = 30s;  // for a promised load, before going another way
  Duration far_deadline = 300s;
  // This process can read the own node's disk. It may have what nobody has promised, or what was lost.
  bool own_disk = false;
  bool last_pass =
      false;  // what was read is not needed again by this job: another call need not ask for it
};

// Of what was fetched: objects and bytes by their source.
struct ReadCounters {
  uint64_t objects[kSources] = {};
  uint64_t bytes[kSources] = {};
  uint64_t failed = 0;
  uint64_t detours = 0;  // steps that did not do, but for looks at the own disk
};

class OrderedReader {
 public:
  // `order` holds positions of the job's list; the job outlives the reader. `ready(ordinal,
  // result)` runs once for every ordinal of `order` that the reader fetched, in any order, never
  // more than the look-ahead ahead of Consumed(). `expect_local(index)` says whether the own node
  // is expected to serve an object from mapped memory: the bytes of such ordinals are not fetched
  // unless Missed() asks for them. `ready` must not destroy the reader.
  OrderedReader(const Env& env, Job* job, const ObjectList* list, std::vector<uint32_t> order,
                OrderedReaderOptions options, std::function<bool(uint32_t index)> expect_local,
                std::function<void(uint64_t ordinal, ReadResult result)> ready);
  ~OrderedReader();
  OrderedReader(const OrderedReader&) = delete;

  void Start();
  // Everything below `ordinal` was taken by the user: the window moves on.
  void Consumed(uint64_t ordinal);
  // The own node did not have this one after all: fetch it now, ahead of the look-ahead. What the
  // own node has promised is waited for without room for its bytes, and ends with `local`; if it
  // was not there even then, Missed() once more fetches the bytes. An ordinal that is being fetched
  // already is not fetched twice.
  void Missed(uint64_t ordinal);

  ReadCounters Counters() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::jobclient
