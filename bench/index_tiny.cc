// SPDX-License-Identifier: Apache-2.0
// What memory knows of tiny objects that are packed on the disk (cached/store/tiny_runs.h): as many runs as
// a disk has of them, filled as its builder fills them.
#include <algorithm>
#include <cstdio>

#include "base/hash.h"
#include "bench/index_tiny.h"
#include "cached/store/tiny_builder.h"
#include "cached/store/tiny_runs.h"

namespace holdfast::bench {
namespace {

using store::TinyIndex;
using store::TinyRuns;

constexpr uint32_t kObjectsPerPack = 25;
constexpr uint64_t kBytes = 250;            // of an object
constexpr uint64_t kOnDisk = kBytes + 120;  // with its name, its ETag and its lines
constexpr uint64_t kSegmentBytes = 64 * kMiB;
constexpr uint32_t kMerged = 8;  // runs that become one of the next level

Oid OidOf(uint64_t object) { return {Mix64(object), Mix64(object + (uint64_t{1} << 60))}; }

// A run of objects [first, first + count), over as many segments as it takes.
void AddRun(TinyRuns* runs, uint64_t first, uint64_t count, uint32_t level, uint32_t* segment) {
  std::vector<Oid> oids(count);
  for (uint64_t i = 0; i < count; ++i) oids[i] = OidOf(first + i);
  std::sort(oids.begin(), oids.end());
  const uint32_t packs = store::TinyBuilder::PacksFor(count, count * kOnDisk, kObjectsPerPack);
  const store::TinyRun run{
      .number = *segment + 1ull, .order = *segment + 1ull, .level = level, .packs = packs};
  const auto per_segment = static_cast<uint32_t>(kSegmentBytes / kOnDisk * packs / count);
  size_t next = 0;
  for (uint32_t begin = 0; begin < packs; begin += per_segment) {
    TinyIndex index(packs, begin);
    uint64_t offset = disk::kFirstRecord;
    for (uint32_t pack = begin; pack < std::min(packs, begin + per_segment); ++pack) {
      index.AddPack(offset);
      for (; next < count && disk::PackOf(oids[next], packs) == pack; ++next) {
        index.Add(oids[next], false);
      }
      offset += kObjectsPerPack * kBytes / disk::kAlign * disk::kAlign;
    }
    index.End(offset);
    runs->Add(run, (*segment)++, std::move(index));
  }
}

}  // namespace

TinyFigures MeasureTiny(uint64_t objects, double (*now)()) {
  TinyRuns runs;
  uint32_t segment = 0;
  const uint64_t young = kSegmentBytes / kOnDisk;
  uint64_t first = 0;
  while (first < objects) {  // the oldest first: runs of the highest level that fits what is left
    uint64_t count = young;
    uint32_t level = 0;
    for (; count * kMerged <= objects - first; ++level) count *= kMerged;
    count = std::min(count, objects - first);
    AddRun(&runs, first, count, level, &segment);
    first += count;
  }
  TinyFigures figures;
  figures.bytes_per_object =
      static_cast<double>(runs.memory_bytes()) / static_cast<double>(runs.objects());
  figures.runs = runs.runs().size();
  constexpr uint64_t kLookups = 2'000'000;
  double since = now();
  for (uint64_t i = 0; i < kLookups; ++i) {
    figures.lost += runs.MayHave(OidOf(i * (objects / kLookups + 1) % objects)) ? 0 : 1;
  }
  figures.lookups_per_s = kLookups / (now() - since);
  uint64_t strangers = 0;
  for (uint64_t i = 0; i < kLookups; ++i) strangers += runs.MayHave(OidOf(objects + i)) ? 1 : 0;
  figures.stray = static_cast<double>(strangers) / kLookups;
  std::printf(
      "  %-20s %8.2f bytes an object, %6.2f M look-ups/s, %llu lost; %zu runs, %.1f %% of "
      "strangers fit\n",
      "packed tiny objects", figures.bytes_per_object, figures.lookups_per_s / 1e6,
      static_cast<unsigned long long>(figures.lost), static_cast<size_t>(figures.runs),
      figures.stray * 100);
  return figures;
}

}  // namespace holdfast::bench
