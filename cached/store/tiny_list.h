// SPDX-License-Identifier: Apache-2.0
// Lists the tiny objects of a disk, some thousand at a time: those of a segment, by its table, or the
// young ones.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/env.h"
#include "cached/store/disk_writer.h"
#include "cached/store/tiny_runs.h"
#include "cached/store/tiny_young.h"

namespace holdfast::store {

class TinyList {
 public:
  // The version is 0 where only the object is known.
  using Visit = std::function<void(const Oid& oid, VersionHash version, Duration age)>;
  static constexpr uint32_t kAtOnce = 4096;

  TinyList(const Env& env, Disk* disk, DiskSegments* segments, DiskWriter* writer,
           const TinyRuns* runs)
      : env_(env), disk_(disk), segments_(segments), writer_(writer), runs_(runs) {}

  // Nothing, if the segment has none.
  void Segment(uint32_t segment, Visit visit, std::function<void()> done);
  // `young` gives those that are young at the time of each call; null: none.
  void Young(std::function<const TinyYoung*()> young, Visit visit, std::function<void()> done);

 private:
  struct Listing {
    uint32_t segment = 0;
    Buffer bytes{};
    disk::TinyTable table{};
    uint32_t next = 0;  // object of the table
    Visit visit{};
    std::function<void()> done{};
  };
  void OnTable(uint64_t id, bool right);
  void Step(uint64_t id);
  void StepYoung(uint32_t slice, std::function<const TinyYoung*()> young, Visit visit,
                 std::function<void()> done);
  Duration Age(uint32_t loaded_s) const;

  Env env_;
  Disk* disk_;
  DiskSegments* segments_;
  DiskWriter* writer_;
  const TinyRuns* runs_;
  std::map<uint64_t, Listing> listings_;
  uint64_t next_ = 1;
};

}  // namespace holdfast::store
