// SPDX-License-Identifier: Apache-2.0
// The segments of a disk tier: what state each is in, and where the next record goes.
//
//   free → open → closed (for its writers, its table and its seal) → sealed, in the ring → reclaimed
//        → cleaned (for its readers; its seal is taken away) → free
//   free → lent → free
//   sealed → merging (out of the ring: packs that are written anew) → reclaimed, or sealed again
//
// Pure, and for one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "wire/disk_segment.h"

namespace holdfast::store {

enum class DiskUse : uint8_t {
  kFree,
  kOpen,
  kClosed,
  kSealed,
  kReclaimed,
  kCleaned,
  kLent,
  kMerging
};

struct DiskSegment {
  DiskUse use = DiskUse::kFree;
  disk::SegmentKind kind = disk::SegmentKind::kRecords;
  uint32_t writers = 0;     // batches under way
  uint32_t readers = 0;     // reads under way
  uint32_t live = 0;        // records that the index leads to
  uint64_t held_bytes = 0;  // of those that are held, at most
  uint32_t entries = 0;     // records that were written; of packs: bytes of the table
  uint64_t sequence = 0;    // younger segments have higher ones; 0 while free
  uint64_t order = 0;       // in the ring; its sequence, unless what it holds is older
  uint64_t end = 0;         // where the next record goes; once closed, where the table begins
  uint64_t table_hash = 0;
  std::vector<disk::Entry> table{};  // until it is sealed
};

class DiskSegments {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  DiskSegments(uint32_t segments, uint64_t segment_bytes)
      : segments_(segments), segment_bytes_(segment_bytes) {}

  DiskSegment& operator[](uint32_t segment) { return segments_[segment]; }
  const DiskSegment& operator[](uint32_t segment) const { return segments_[segment]; }
  uint32_t size() const { return static_cast<uint32_t>(segments_.size()); }
  uint64_t segment_bytes() const { return segment_bytes_; }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  uint32_t open() const { return open_; }

  // At the start: it is free, or was found with its seal.
  void AddFree(uint32_t segment);
  void AddSealed(uint32_t segment, const disk::Seal& seal, uint64_t order);
  // It was found open, with records up to `end`; it is to be sealed.
  void AddClosed(uint32_t segment, const disk::Seal& seal, uint64_t end);

  // Is there room for a record, and its line in the table, in the open segment?
  bool Fits(uint64_t bytes) const;
  // Opens a free one when none is open; false when there is none.
  bool Open();
  // The open one takes no more. kNone when there is none.
  uint32_t Close();
  // The next batch begins at a block.
  void BeginBatch();
  // Room that Fits has found.
  uint64_t Take(uint64_t bytes);

  // A free one for packs, closed at once; kNone when there is none to spare.
  uint32_t OpenForPacks();

  void Sealed(uint32_t segment);
  // Leaves the ring to be merged; and comes back.
  void SetAside(uint32_t segment);
  void PutBack(uint32_t segment);
  // Of the oldest of the ring, or of what it has of packs, the one with the fewest held bytes leaves it;
  // of all when none of those would give a quarter of itself. kNone when none would give an eighth.
  uint32_t TakeVictim(bool of_packs = false);
  // A victim that cannot be read, or written again, just now: it is in the ring as before.
  void GiveUp(uint32_t victim);

  // A free one for somebody else's bytes, until it is given back; kNone when there is none to spare.
  uint32_t Lend();
  void GiveBack(uint32_t segment);
  uint32_t lent() const { return lent_; }

 private:
  std::vector<DiskSegment> segments_;
  uint64_t segment_bytes_;
  std::vector<uint32_t> free_;                              // the last one is taken next
  std::map<std::pair<uint64_t, uint64_t>, uint32_t> ring_;  // by order and sequence
  uint32_t open_ = kNone;
  uint64_t last_sequence_ = 0;
  uint32_t lent_ = 0;
  uint32_t planned_ = 0;  // records that have room in the open one
};

}  // namespace holdfast::store
