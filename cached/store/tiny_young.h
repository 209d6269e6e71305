// SPDX-License-Identifier: Apache-2.0
// Tiny objects that are to become a run: copies in memory, found by their OIDs, and given out in the
// order of them. It takes what a segment takes, then no more.
//
// Pure, and for one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "wire/tiny_segment.h"

namespace holdfast::store {

// On its way into a run.
struct TinyObject {
  disk::Tiny tiny;
  bool read = false;  // since it was written
};

class TinyYoung {
 public:
  // `most_bytes` of the disk.
  explicit TinyYoung(uint64_t most_bytes);

  // Copies it, in the place of another version. False when it is full.
  bool Add(const disk::Tiny& tiny);
  bool Fits(uint64_t bytes) const { return bytes_ + bytes + kShare <= most_bytes_; }
  // Version 0 finds any. False when it is not there; views are good until the next Add.
  bool Find(const Oid& oid, VersionHash version, disk::Tiny* found = nullptr) const;
  void SetRead(const Oid& oid);
  // How many were there.
  uint32_t Drop(const Oid& oid, VersionHash version);

  // Those of packs [first, end) of a run of so many, in order; views are good until the next Add.
  std::vector<TinyObject> Slice(uint32_t first, uint32_t end, uint32_t run_packs) const;

  // Keeps its memory.
  void Clear();

  uint64_t bytes() const { return bytes_; }  // of the disk
  uint64_t objects() const { return objects_; }

 private:
  static constexpr uint64_t kShare = 4;  // of what a pack takes

  struct Head;
  Head* At(uint32_t place) const;
  std::byte* Room(uint64_t bytes, uint32_t* place);
  static disk::Tiny TinyOf(const Head& head);
  uint64_t BucketOf(const Oid& oid) const { return oid.hi >> shift_; }

  uint64_t most_bytes_;
  uint32_t shift_;                 // of OIDs, to their bucket
  std::vector<uint32_t> buckets_;  // the first place of each, 0: none
  std::vector<Buffer> blocks_;     // places are in units of 8 bytes, through all blocks
  uint64_t used_ = 0;              // of all blocks
  uint64_t bytes_ = 0;
  uint64_t objects_ = 0;
};

}  // namespace holdfast::store
