// SPDX-License-Identifier: Apache-2.0
// Takes a segment of packs back that has left the ring (disk_reclaim.h chooses it):
//
//   1. Table   which objects it has
//   2. Settle  some thousand at a time: what is nowhere else and was not read is evicted
//   3. Keep    what was read, up to a fifth of the segment: its packs are read, and it is young again
//
// Until the end it can be found.
#pragma once

#include <functional>
#include <vector>

#include "base/env.h"
#include "cached/store/disk_segments.h"
#include "cached/store/evictions.h"
#include "cached/store/tiny_runs.h"

namespace holdfast::store {

class TinyReclaim {
 public:
  static constexpr uint64_t kKeptPart = 5;
  static constexpr uint64_t kKeepAtOnce = kMiB;
  static constexpr uint32_t kObjectsAtOnce = 4096;

  struct Counters {
    uint64_t evicted_objects = 0;
    uint64_t kept_objects = 0;
    uint64_t bad_tables = 0;
  };

  // `keep` says whether there is room among the young ones.
  TinyReclaim(const Env& env, Disk* disk, DiskSegments* segments, TinyRuns* runs,
              EvictionCounts* evictions, std::function<bool(const disk::Tiny&)> keep)
      : env_(env),
        disk_(disk),
        segments_(segments),
        runs_(runs),
        evictions_(evictions),
        keep_(std::move(keep)) {}

  // One at a time. Then nothing leads to the segment.
  void Start(uint32_t segment, std::function<void()> done);
  const Counters& counters() const { return counters_; }

 private:
  void OnTable(bool right);
  void Settle();
  void Evict(uint32_t object, const disk::TinyEntry& entry);
  void Keep();
  void KeepRead();
  void End();

  Env env_;
  Disk* disk_;
  DiskSegments* segments_;
  TinyRuns* runs_;
  EvictionCounts* evictions_;
  std::function<bool(const disk::Tiny&)> keep_;
  Counters counters_;

  uint32_t victim_ = DiskSegments::kNone;
  std::function<void()> done_;
  Buffer bytes_;
  disk::TinyTable table_;
  uint32_t pack_ = 0;    // of the table: the next one
  uint32_t object_ = 0;  // its first
  uint64_t kept_bytes_ = 0;
  std::vector<uint32_t> keeping_;  // packs with something to keep, the last one first
  struct Reading {
    uint32_t pack = 0;
    Buffer bytes{};
    bool read = false;
  };
  std::vector<Reading> reading_;
  size_t reads_ = 0;
};

}  // namespace holdfast::store
