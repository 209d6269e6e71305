// SPDX-License-Identifier: Apache-2.0
#include "bench/space_tiny.h"

#include <cstdio>

#include "bench/tiny_objects.h"

namespace holdfast::bench {
namespace {

constexpr uint32_t kSegments = 128;
constexpr uint64_t kBatch = 4096;
constexpr double kReadShare = 0.2;  // of what came, one of so many is read again, the hot ones

struct Sum {
  uint64_t payload = 0, came = 0, written = 0;
};

// A batch of new ones, and reads of some of the last tenth to come.
void Churn(DiskWorld& disk, const TinyObjects& objects, uint64_t* next, Sum* sum, Random* random) {
  std::vector<DiskWriter::Item> items;
  for (uint64_t i = 0; i < kBatch; ++i) {
    items.push_back(objects.ItemOf(*next + i, 0, disk.tier().Stamp({})));
    const DiskWriter::Item& item = items.back();
    sum->payload += item.payload.size();
    sum->came += item.payload.size() + item.head.name.size() + item.head.etag.size();
  }
  *next += kBatch;
  disk.WaitAndMaintain([&](std::function<void()> done) {
    auto left = std::make_shared<uint64_t>(1 + static_cast<uint64_t>(kBatch * kReadShare));
    auto one = [left, done] {
      if (--*left == 0) done();
    };
    disk.tier().Take(std::move(items), one);
    for (uint64_t reads = *left - 1; reads > 0; --reads) {
      const uint64_t back = random->Below(std::max<uint64_t>(*next / 10, 1));
      disk.tier().Look(TinyObjects::OidOf(*next - 1 - back), 0, 0,
                       [one](const Result<DiskTier::Found>&) { one(); });
    }
  });
  disk.Maintain();
}

}  // namespace

TinySpace MeasureTinySpace(const std::string& directory, bool quick) {
  const uint64_t segment = quick ? 2 * kMiB : 8 * kMiB;
  const uint64_t capacity = kSegments * segment;
  DiskWorld disk({.directory = directory,
                  .segments = kSegments,
                  .segment_bytes = segment,
                  .index_objects = 16'384,
                  .tiny = {.most_objects = 100'000'000}});
  const TinyObjects objects;
  Random random(3);
  uint64_t next = 0;
  Sum sum, base;
  while (sum.came < capacity * 4) {
    Churn(disk, objects, &next, &sum, &random);
    sum.written = disk.tier().Stats().tiny.writes.written_bytes;
    if (base.came == 0 && sum.came > capacity) base = sum;  // full: from here on it is steady
  }
  const store::DiskStats stats = disk.tier().Stats();
  const double written = static_cast<double>(sum.written - base.written);
  uint64_t live = 0;
  for (uint64_t n = next - std::min(next, stats.objects * 3); n < next; ++n) {
    if (disk.tier().Has(TinyObjects::OidOf(n), 0)) live += TinyObjects::SizeOf(n);
  }
  std::printf(
      "tiny objects: %llu merges, %llu evicted, %llu kept, %llu refused, %u runs in %u segments, "
      "%llu stray "
      "reads of %llu\n",
      static_cast<unsigned long long>(stats.tiny.merge.merges),
      static_cast<unsigned long long>(stats.tiny.reclaim.evicted_objects),
      static_cast<unsigned long long>(stats.tiny.reclaim.kept_objects),
      static_cast<unsigned long long>(stats.tiny.refused_objects), stats.tiny.runs,
      stats.tiny.segments, static_cast<unsigned long long>(stats.tiny.stray_reads),
      static_cast<unsigned long long>(stats.tiny.reads));
  return {.write_amplification = written / static_cast<double>(sum.came - base.came),
          .written_per_payload_byte = written / static_cast<double>(sum.payload - base.payload),
          .utilization = static_cast<double>(live) / static_cast<double>(capacity)};
}

}  // namespace holdfast::bench
