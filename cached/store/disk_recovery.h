// SPDX-License-Identifier: Apache-2.0
// Finds what a disk has when a node starts, by its seals and tables:
//
//   1. Seal    every segment's first block; one without a valid seal is free
//   2. Table   of one that was sealed; its records are linked, of those of one object the youngest
//   3. Open    the one that was being written is walked through, record by record, to be sealed; where a
//              batch was not written yet there is a hole. What the segment had before may be found there,
//              too: as right as ever, if its checksums are
//
// Some segments at a time, in any order.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "base/env.h"
#include "cached/store/disk_records.h"
#include "cached/store/disk_writer.h"
#include "cached/store/tiny_tier.h"

namespace holdfast::store {

class DiskRecovery {
 public:
  static constexpr uint32_t kAtOnce = 16;

  DiskRecovery(const Env& env, Disk* disk, DiskIdentity identity, DiskSegments* segments,
               DiskRecords* records, TinyTier* tiny)
      : env_(env),
        disk_(disk),
        identity_(std::move(identity)),
        segments_(segments),
        records_(records),
        tiny_(tiny) {}

  // kInvalid when a segment belongs to another node or cluster, or is of another version: then the
  // disk is to be left alone.
  void Start(std::function<void(Status)> done);
  // Segments that were found open and are to be sealed (DiskWriter::SealFound).
  const std::vector<uint32_t>& found_open() const { return found_open_; }
  // Records and tiny objects that were found.
  uint64_t objects() const { return objects_; }

 private:
  static constexpr uint32_t kMostWaits = 600;
  static constexpr Duration kWait = 500ms;
  static constexpr uint64_t kWalk = 1 * kMiB;  // a read of an open segment, at most

  struct Walk {
    disk::Seal seal{};
    uint64_t at = disk::kFirstRecord;   // where the next record begins
    uint64_t end = disk::kFirstRecord;  // of the last one
    std::vector<disk::Entry> entries{};
  };

  void Step();
  void ReadSeal(uint32_t segment);
  void ReadTable(uint32_t segment, const disk::Seal& seal);
  bool Waits(uint32_t segment, const Status& read, std::function<void()> again);
  void OnSeal(uint32_t segment, const Status& read);
  void OnTable(uint32_t segment, const disk::Seal& seal, const Status& read, uint64_t hash);
  Status Link(uint32_t segment, const disk::Seal& seal, ByteView table);
  void ReadOpen(uint32_t segment);
  void OnOpen(uint32_t segment, const Status& read);
  bool TakeRecord(ByteView bytes, uint64_t begin, Walk* walk) const;
  void EndWalk(uint32_t segment);
  void Next(uint32_t segment);

  Env env_;
  Disk* disk_;
  DiskIdentity identity_;
  DiskSegments* segments_;
  DiskRecords* records_;
  TinyTier* tiny_;
  std::function<void(Status)> done_;
  std::map<uint32_t, Buffer> bytes_;  // under way, by segment
  std::map<uint32_t, Walk> walks_;
  std::vector<uint32_t> found_open_;
  std::set<uint64_t> sequences_;
  uint32_t next_ = 0;
  uint64_t objects_ = 0;
  uint32_t waits_ = 0;  // for who was not there, all together
  Status refused_;
};

}  // namespace holdfast::store
