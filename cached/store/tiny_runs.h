// SPDX-License-Identifier: Apache-2.0
// The runs of packs on a disk: which segments each has, and where an object may be in them.
//
// Pure, and for one thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "cached/store/tiny_index.h"

namespace holdfast::store {

// Some consecutive packs of a run, in a segment of the disk.
struct TinySegment {
  TinySegment(uint32_t number, TinyIndex of) : segment(number), index(std::move(of)) {}

  uint32_t segment;
  TinyIndex index;
};

struct TinyRun {
  uint64_t number = 0;
  uint64_t order = 0;  // younger ones have higher ones, and among equals higher numbers
  uint32_t level = 0;
  uint32_t packs = 0;  // of the whole run
  bool merging = false;
  std::vector<std::unique_ptr<TinySegment>> segments{};  // by their packs; some may be missing

  // What has the pack; null when it is not there.
  TinySegment* SegmentOf(uint32_t pack) const;
};

class TinyRuns {
 public:
  // Of a run that may have others already.
  void Add(const TinyRun& run, uint32_t segment, TinyIndex index);
  void Remove(uint32_t segment);
  TinySegment* Find(uint32_t segment) const;
  // Youngest first.
  const std::vector<TinyRun>& runs() const { return runs_; }
  TinyRun* FindRun(uint64_t number);

  // Calls visit(TinySegment&, pack, object, which of the pack's) for whatever may be this object, the
  // youngest first; ends when it returns true.
  template <typename Visit>
  bool FindMatch(const Oid& oid, const Visit& visit) const {
    constexpr size_t kAtOnce = 16;  // runs whose packs are fetched before the first is looked at
    std::array<TinySegment*, kAtOnce> found;
    for (size_t first = 0; first < runs_.size(); first += kAtOnce) {
      const size_t n = std::min(kAtOnce, runs_.size() - first);
      for (size_t i = 0; i < n; ++i) {
        const TinyRun& run = runs_[first + i];
        found[i] = run.SegmentOf(disk::PackOf(oid, run.packs));
        if (found[i] != nullptr) found[i]->index.PrefetchPack(oid);
      }
      for (size_t i = 0; i < n; ++i) {
        if (found[i] != nullptr) found[i]->index.PrefetchObjects(oid);
      }
      for (size_t i = 0; i < n; ++i) {
        TinySegment* s = found[i];
        if (s != nullptr &&
            s->index.FindMatch(oid, [&](uint32_t pack, uint32_t object, uint32_t at) {
              return visit(*s, pack, object, at);
            })) {
          return true;
        }
      }
    }
    return false;
  }
  // In any segment but this one?
  bool MayHave(const Oid& oid, uint32_t except = UINT32_MAX) const;

  uint64_t objects() const;
  // Those that were forgotten included: what takes memory.
  uint64_t cells() const { return cells_; }
  uint64_t memory_bytes() const;
  uint32_t segments() const { return static_cast<uint32_t>(by_segment_.size()); }

 private:
  std::vector<TinyRun> runs_;
  std::map<uint32_t, TinySegment*> by_segment_;
  uint64_t cells_ = 0;
};

}  // namespace holdfast::store
