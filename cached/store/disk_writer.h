// SPDX-License-Identifier: Apache-2.0
// Writes records to a disk tier, many at a time, one segment after the other. Their bytes come from memory,
// or are moved from another segment:
//
//   1. Plan    each record gets its place behind the last one; a segment without room is closed
//   2. Write   a batch for each segment; its records can be found once it is on the disk. The first of
//              a segment begins with a mark, by which a start finds the one that was open
//   3. Seal    a closed segment whose batches have come: table, sync, seal
//   4. Clean   a reclaimed segment that nobody reads any more: its seal is taken away, synced; free
//
// Of packs neither seal nor removal is synced: they have hashes of their own, and nobody was promised
// them. An old seal leads to bytes without their hashes, or to objects that are as right as ever.
//
// A batch that cannot be written is lost, and so is what a machine had not synced when it crashed: what
// lies here is in the far store, too. Three failures in a row turn the disk off for a while.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/env.h"
#include "cached/store/disk_records.h"
#include "wire/segment_move.h"

namespace holdfast::store {

struct DiskIdentity {
  NodeId node = 0;
  std::string cluster{};
};

class DiskWriter {
 public:
  // A record. The memory is the caller's until `done`.
  struct Item {
    disk::Head head{};  // without its offset
    ByteView payload{};
  };
  // Of a record that lies elsewhere; the texts are copied, the payload is not.
  static Item ItemOf(const Oid& oid, VersionHash version, std::string_view name,
                     std::string_view etag, ByteView payload, uint64_t payload_hash,
                     int64_t loaded_us, uint32_t expires_s);
  struct Counters {
    uint64_t written_objects = 0;
    uint64_t written_bytes = 0;
    uint64_t failed_writes = 0;
  };
  static constexpr uint32_t kFailuresUntilOff = 3;
  static constexpr Duration kOffFor = 60s;

  DiskWriter(const Env& env, Disk* disk, SegmentMover* mover, DiskIdentity identity,
             DiskSegments* segments, DiskRecords* records)
      : env_(env),
        disk_(disk),
        mover_(mover),
        identity_(std::move(identity)),
        segments_(segments),
        records_(records) {}

  // What has no room, or cannot be written, is left out. Where records are held the last free segment is
  // for those that reclaim moves.
  void Write(std::vector<Item> items, std::function<void()> done);
  // Records of another segment are written again; what is not right there is left out.
  struct MoveOutcome {
    bool unanswered = false;           // some of it, by a disk elsewhere
    bool copy_failed = false;          // it was read in the segment
    std::vector<disk::Entry> wrong{};  // without their checksums
    uint64_t moved_bytes = 0;
  };
  // With `sync` they can be found there once they are synced, and until then where they were.
  void Move(uint32_t from, bool from_copy, bool sync, const std::vector<disk::Entry>& records,
            std::function<void(const MoveOutcome&)> done);
  // A segment that was found open, with its records in its table.
  void SealFound(uint32_t segment) { SealIfDone(segment); }
  // Nothing leads to the segment, and it is not to be read any more. It is free once its readers have
  // gone: whoever takes one from it calls Clean again.
  void Clean(uint32_t segment);
  // A segment of packs that was written up to its end: table, seal. The table is written in slices,
  // `pace` apart, between which others read. It is in the ring if `done` says that it is sealed.
  static constexpr uint64_t kTableSlice = 128 * kKiB;
  void SealPacks(uint32_t segment, Buffer table, Duration pace,
                 std::function<void(bool sealed)> done);
  // Counts a failure; says whether it is one.
  bool Failed(const Status& status, const char* what);

  bool off() const { return env_.clock->Now() < off_until_; }
  const Counters& counters() const { return counters_; }

 private:
  struct Batch {
    uint64_t group = 0;
    uint32_t segment = 0;
    uint64_t offset = 0;
    Buffer mark{};  // of the segment's first batch: it is open
    Buffer heads{};
    uint64_t head_bytes = 0;  // used
    std::vector<ByteView> parts{};
    SegmentMove move{};  // instead of both
    bool sync = false;
    std::vector<disk::Entry> entries{};
  };
  struct Group {
    std::vector<Item> items{};
    size_t batches = 0;
    MoveOutcome outcome{};
    std::function<void(const MoveOutcome&)> done{};
  };
  enum class Who : uint8_t { kAnyone, kReclaim };

  bool RoomFor(uint64_t bytes, Who who);
  Batch& BatchFor(std::vector<Batch>* batches, uint64_t group);
  Batch Begin(uint64_t group);
  void Add(Batch& batch, const Item& item);
  void Issue(Batch batch);
  void IssueMove(Batch batch);
  void StartMove(uint64_t id);
  void MoveEnded(uint64_t id, const Moved& moved);
  void TakeMoved(uint64_t id, const Moved& moved);
  void Written(uint64_t id, const Status& status);
  void Done(uint64_t id);
  void Ended(uint64_t group);
  void EndEmpty(uint64_t group);
  void CloseOpen();
  void SealIfDone(uint32_t segment);
  void WriteTable(uint32_t segment, Buffer table);
  void WriteSlices(uint32_t segment, uint64_t at, Duration pace);
  void WriteSeal(uint32_t segment);
  disk::Seal SealOf(uint32_t segment) const;
  void Finish(uint32_t segment, bool sealed);
  void SealLater(uint32_t segment);
  void Cleaned(uint32_t segment);
  void CleanLater(uint32_t segment);

  Env env_;
  Disk* disk_;
  SegmentMover* mover_;
  DiskIdentity identity_;
  DiskSegments* segments_;
  DiskRecords* records_;
  std::map<uint64_t, Batch> batches_;
  std::map<uint64_t, Group> groups_;
  std::map<uint32_t, Buffer> blocks_;  // of seals and tables on their way, by segment
  std::map<uint32_t, std::function<void(bool)>> packs_;  // that are sealed, by segment
  uint64_t next_id_ = 1;
  uint32_t failures_ = 0;  // in a row
  Time off_until_{INT64_MIN / 2};
  Counters counters_;
};

}  // namespace holdfast::store
