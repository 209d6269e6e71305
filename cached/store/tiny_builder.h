// SPDX-License-Identifier: Apache-2.0
// Writes a run of packs, a slice of it at a time:
//
//   1. Slice    some packs' objects, from the young ones or out of runs that are merged
//   2. Pack     as many packs as the segment has room for; those that are left come with the next slice
//   3. Write    whole blocks of them, behind what was written
//   4. Seal     a segment without room, or the last one: table, sync, seal (disk_writer.h). Then its
//               objects can be found
//
// Between slices it lets others read. When no segment is free it waits. When the disk fails it ends, and what was not sealed is nowhere.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/env.h"
#include "cached/store/disk_writer.h"
#include "cached/store/tiny_runs.h"
#include "cached/store/tiny_young.h"

namespace holdfast::store {

class TinyBuilder {
 public:
  static constexpr uint64_t kSliceBytes = 128 * kKiB;
  static constexpr Duration kPace = 10ms;  // from slice to slice, unless there is hurry

  struct Plan {
    uint64_t order = 0;  // 0: that of its first segment
    uint32_t level = 0;
    uint32_t packs = 0;
    uint64_t bytes = 0;  // about
  };
  // Calls `take`, at once or later, with the objects of packs [first, end), in order, one of an OID; they
  // are good until it returns.
  using Take = std::function<void(std::span<const TinyObject> objects)>;
  using Source = std::function<void(uint32_t first, uint32_t end, Take take)>;
  // A segment can be read; the run's objects below this pack are in it or those before.
  using Sealed = std::function<void(uint32_t packs_done)>;

  struct Counters {
    uint64_t written_bytes = 0;
    uint64_t written_objects = 0;
    uint64_t left_out_objects = 0;  // of packs that are too large
  };

  TinyBuilder(const Env& env, Disk* disk, DiskSegments* segments, DiskWriter* writer,
              TinyRuns* runs, Counters* counters, std::function<bool()> hurry);

  // One at a time. `done` says whether all of it is on the disk.
  void Start(const Plan& plan, Source source, Sealed sealed, std::function<void(bool)> done);
  bool busy() const { return busy_; }
  // Perhaps there is a free segment now.
  void Maintain();
  // Those that were written, and are not sealed yet.
  void Forget(const Oid& oid);
  // About 25 objects a pack, and not much more than 16 KiB; of large ones 4 KiB.
  static uint32_t PacksFor(uint64_t objects, uint64_t bytes, uint32_t objects_per_pack);

 private:
  Duration Pace() const { return hurry_() ? Duration(0) : kPace; }
  void Next();
  bool OpenSegment();
  void Pack(uint32_t first, uint32_t end, std::span<const TinyObject> objects);
  std::span<const TinyObject> Fitting(std::span<const TinyObject> pack);
  bool AddPack(std::span<const TinyObject> pack);
  void Write(bool all, std::function<void()> then);
  void CloseSegment();
  void OnSealed(bool sealed);
  void End(bool whole);

  Env env_;
  Disk* disk_;
  DiskSegments* segments_;
  DiskWriter* writer_;
  TinyRuns* runs_;
  Counters* counters_;
  std::function<bool()> hurry_;

  bool busy_ = false;
  bool waiting_ = false;  // for a segment
  Plan plan_;
  TinyRun run_;
  Source source_;
  Sealed sealed_;
  std::function<void(bool)> done_;
  uint32_t next_pack_ = 0;
  uint32_t slice_packs_ = 1;
  uint32_t segment_ = DiskSegments::kNone;
  bool full_ = false;
  std::unique_ptr<TinyIndex> index_;
  disk::TinyTable table_;
  std::vector<std::byte> out_;  // not written yet
  uint64_t written_ = 0;        // of the segment
  Buffer writing_;
};

}  // namespace holdfast::store
