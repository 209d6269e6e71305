// SPDX-License-Identifier: Apache-2.0
// Values by OID in a commit log: a put is one record, and an index in memory says where the newest
// record of each OID is. For what stays a short while: the index costs about 50 bytes of memory for
// each OID and is made anew from the log at the start. docs/formats.md has the records ("The
// journal").
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "io/disk/commit_log.h"
#include "io/disk/place_table.h"

namespace holdfast::disk {

// Any thread may call anything but the destructor.
class KeyValueLog {
 public:
  static Result<std::unique_ptr<KeyValueLog>> Open(const CommitLogOptions& options);

  // Returns when the value is durable, with the errors of CommitLog::AppendAndWait.
  Status Put(const Oid& oid, ByteView value);
  // For writers that keep several in flight: a put is durable when Wait has returned for its
  // sequence number.
  Result<uint64_t> Begin(const Oid& oid, ByteView value);
  Status Wait(uint64_t sequence) { return log_->Wait(sequence); }

  // The newest value; waits until that one is durable. nullopt when there is none, kCorrupt when
  // what is on the disk is not what was put.
  Result<std::optional<Buffer>> Get(const Oid& oid);

  // Forgets what was put before `before`, so that its space can be used.
  Status Truncate(uint64_t before);
  // Above every sequence number that is durable.
  uint64_t end() const { return log_->end(); }
  size_t size() const;

 private:
  struct alignas(64) Shard {
    mutable std::mutex mutex;
    PlaceTable places;
  };

  Shard& ShardOf(const Oid& oid) { return shards_[oid.lo % shards_.size()]; }
  void Note(const PlaceTable::Place& place);
  std::optional<PlaceTable::Place> Find(const Oid& oid);
  Status Load();

  std::array<Shard, 64> shards_;
  std::unique_ptr<CommitLog> log_;
};

}  // namespace holdfast::disk
