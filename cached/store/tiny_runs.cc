// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_runs.h"

#include <algorithm>
#include <tuple>

namespace holdfast::store {

TinySegment* TinyRun::SegmentOf(uint32_t pack) const {
  auto it = std::upper_bound(segments.begin(), segments.end(), pack,
                             [](uint32_t p, const auto& s) { return p < s->index.first_pack(); });
  if (it == segments.begin()) return nullptr;
  TinySegment* s = std::prev(it)->get();
  return pack - s->index.first_pack() < s->index.packs() ? s : nullptr;
}

void TinyRuns::Add(const TinyRun& of, uint32_t segment, TinyIndex index) {
  TinyRun* run = FindRun(of.number);
  if (run == nullptr) {
    const auto younger = [&](const TinyRun& r) {
      return std::tie(r.order, r.number) > std::tie(of.order, of.number);
    };
    auto it = std::partition_point(runs_.begin(), runs_.end(), younger);
    run = &*runs_.insert(
        it, {.number = of.number, .order = of.order, .level = of.level, .packs = of.packs});
  }
  auto it = std::partition_point(run->segments.begin(), run->segments.end(), [&](const auto& s) {
    return s->index.first_pack() < index.first_pack();
  });
  it = run->segments.insert(it, std::make_unique<TinySegment>(segment, std::move(index)));
  by_segment_[segment] = it->get();
  cells_ += (*it)->index.objects();
}

void TinyRuns::Remove(uint32_t segment) {
  cells_ -= by_segment_.at(segment)->index.objects();
  by_segment_.erase(segment);
  for (auto run = runs_.begin(); run != runs_.end(); ++run) {
    if (std::erase_if(run->segments, [&](const auto& s) { return s->segment == segment; }) == 0) {
      continue;
    }
    if (run->segments.empty()) runs_.erase(run);
    return;
  }
}

TinySegment* TinyRuns::Find(uint32_t segment) const {
  auto it = by_segment_.find(segment);
  return it == by_segment_.end() ? nullptr : it->second;
}

TinyRun* TinyRuns::FindRun(uint64_t number) {
  auto it = std::find_if(runs_.begin(), runs_.end(),
                         [&](const TinyRun& run) { return run.number == number; });
  return it == runs_.end() ? nullptr : &*it;
}

bool TinyRuns::MayHave(const Oid& oid, uint32_t except) const {
  return FindMatch(
      oid, [&](const TinySegment& s, uint32_t, uint32_t, uint32_t) { return s.segment != except; });
}

uint64_t TinyRuns::objects() const {
  uint64_t objects = 0;
  for (const auto& [number, s] : by_segment_) objects += s->index.live();
  return objects;
}

uint64_t TinyRuns::memory_bytes() const {
  uint64_t bytes = runs_.capacity() * sizeof(TinyRun);
  for (const auto& [number, s] : by_segment_) bytes += s->index.memory_bytes();
  return bytes;
}

}  // namespace holdfast::store
