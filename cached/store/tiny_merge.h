// SPDX-License-Identifier: Apache-2.0
// Makes one run of several of a level, so that a look-up has few to go through:
//
//   1. Choose  the oldest runs of a level that has enough; their segments leave the ring
//   2. Slice   their packs in which the next objects are, in order; of one object the youngest that is
//              neither dropped nor expired goes on (tiny_builder.h writes it)
//   3. Give    back what the new run has passed
//
// Until then objects are found where they were.
#pragma once

#include <vector>

#include "cached/store/tiny_builder.h"

namespace holdfast::store {

class TinyMerge {
 public:
  struct Counters {
    uint64_t merges = 0;
    uint64_t read_bytes = 0;
    uint64_t expired_objects = 0;
    uint64_t superseded_objects = 0;
    uint64_t corrupt_packs = 0;
  };

  TinyMerge(const Env& env, Disk* disk, DiskSegments* segments, DiskWriter* writer, TinyRuns* runs,
            TinyBuilder* builder, uint32_t objects_per_pack);

  // Begins with one if there is need.
  void Maintain();
  const Counters& counters() const { return counters_; }
  // There are so many times the runs that are enough for a merge.
  bool Behind(uint32_t times) const;
  // Runs of a level that become one, on a disk of so many segments.
  static uint32_t RunsOf(uint32_t segments);

 private:
  struct Part {  // of an input's segment
    uint32_t segment = 0;
    uint32_t rank = 0;            // of its run, 0 is the youngest
    uint32_t first = 0, end = 0;  // packs
    uint64_t offset = 0;
    Buffer bytes{};
    bool read = false;
    bool late = false;  // a disk elsewhere did not answer
  };
  struct Candidate {
    TinyObject object;
    uint32_t rank = 0;
  };

  bool Choose();
  bool Sealed(const TinyRun& run) const;
  void Start();
  void Slice(uint32_t first, uint32_t end, TinyBuilder::Take take);
  void AddParts(const TinyRun& run, uint32_t rank, uint32_t first, uint32_t end);
  void ReadLate();
  void Merge();
  void Collect(const Part& part, std::vector<Candidate>* candidates);
  void GiveBack(uint32_t packs_done);
  void Release(uint32_t segment);
  void Done(bool whole);

  Env env_;
  Disk* disk_;
  DiskSegments* segments_;
  DiskWriter* writer_;
  TinyRuns* runs_;
  TinyBuilder* builder_;
  uint32_t objects_per_pack_;
  Counters counters_;

  std::vector<uint64_t> inputs_;  // numbers of runs, the youngest first
  uint32_t packs_ = 0;            // of the new run
  std::vector<Part> parts_;
  size_t reads_ = 0;              // under way
  uint32_t first_ = 0, end_ = 0;  // the slice at hand
  TinyBuilder::Take take_;
};

}  // namespace holdfast::store
