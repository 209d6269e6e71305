// SPDX-License-Identifier: Apache-2.0
// Takes segments of a disk tier back, the oldest or one of the oldest, one at a time:
//
//   1. Table   which records it has
//   2. Settle  what is held is kept, and what was read since it was written, that up to a fifth of the
//              segment, so that at most 1.25 times as much is written as comes; the rest is evicted
//   3. Give    but what was read is given to the outlet first, as far as that has room (outlet.h)
//   4. Keep    what is kept is written again, a few MiB at a time; who moves the bytes is another's to
//              know (fallback_mover.h)
//   5. Clean   (disk_writer.h)
//
// Of one with packs the tiny tier does 1 to 4 (tiny_reclaim.h).
#pragma once

#include <utility>
#include <vector>

#include "base/env.h"
#include "base/segment_reader.h"
#include "cached/store/disk_writer.h"
#include "cached/store/evictions.h"
#include "cached/store/outlet.h"
#include "cached/store/tiny_tier.h"

namespace holdfast::store {

class DiskReclaim {
 public:
  // Below it one is taken back, and when hardly a place of the index is left for what is promised.
  static constexpr uint32_t kLeastFree = 2;  // segments
  static constexpr uint64_t kKeptPart = 5;
  static constexpr uint64_t kGivenPart = 8;  // at most so much of it
  static constexpr uint64_t kKeepAtOnce = 4 * kMiB;
  static constexpr size_t kKeepRecordsAtOnce = 8'192;
  // After a victim that could not be written again; doubled from one to the next, for what was tried
  // takes its place in the open segment.
  static constexpr Duration kRest = 1s;
  static constexpr Duration kMostRest = 16s;

  struct Counters {
    uint64_t evicted_objects = 0;
    uint64_t kept_bytes = 0;
    uint64_t bad_tables = 0;
  };

  // With `copies`, which may be null, victims are read there, and on the disk what is not right.
  DiskReclaim(const Env& env, Disk* disk, SegmentReader* copies, DiskSegments* segments,
              DiskRecords* records, DiskWriter* writer, TinyTier* tiny, EvictionCounts* evictions)
      : env_(env),
        disk_(disk),
        copies_(copies),
        segments_(segments),
        records_(records),
        writer_(writer),
        tiny_(tiny),
        evictions_(evictions) {}

  // Used until another one, or an empty one, is set; what it was given by then it still ends.
  void SetOutlet(DiskOutlet outlet) { outlet_ = std::move(outlet); }
  // Begins with one if there is need. Call it every few milliseconds under load.
  void Maintain();
  const Counters& counters() const { return counters_; }

 private:
  void ReadTable();
  void Settle(ByteView table);
  void Give();
  void Given(const Bitmap& taken);
  void Keep();
  void Kept(const DiskWriter::MoveOutcome& outcome);
  void Evict(const disk::Entry& entry);
  bool KeepsHeld(const disk::Entry& entry) const;
  void GiveUp();
  void End();

  Env env_;
  Disk* disk_;
  SegmentReader* copies_;
  DiskSegments* segments_;
  DiskRecords* records_;
  DiskWriter* writer_;
  TinyTier* tiny_;
  EvictionCounts* evictions_;
  DiskOutlet outlet_{};
  Counters counters_;
  uint32_t victim_ = DiskSegments::kNone;
  bool from_copy_ = false;           // the victim is read there
  Buffer bytes_;                     // its table
  std::vector<disk::Entry> given_;   // to the outlet
  std::vector<disk::Entry> kept_;    // still to be kept, the last one first: what is held
  std::vector<disk::Entry> moving_;  // at hand
  Duration rest_ = kRest;            // the next one
  Time rests_until_{INT64_MIN / 2};
};

}  // namespace holdfast::store
