// SPDX-License-Identifier: Apache-2.0
// bench index: what the index of a node takes and gives at 10^7 objects, beside std::unordered_map
// and open addressing: memory per object, look-ups per second on one core, and whether every object
// is found after as many were replaced. And what packed tiny objects take.
#include <sys/mman.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/bitmap.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/status.h"
#include "bench/index_table.h"
#include "bench/index_tiny.h"
#include "cached/store/ghosts.h"
#include "cached/store/index.h"
#include "cached/store/memory_tier.h"

namespace holdfast::bench {
namespace {

constexpr size_t kBatch = 4096;

// Of the processor, so that what else runs on the machine counts less.
double Now() {
  struct timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

Oid OidOf(uint64_t object) { return {Mix64(object), Mix64(object + (uint64_t{1} << 60))}; }

}  // namespace

RecordMemory::RecordMemory(uint32_t records) {
  const uint64_t bytes = (records + 1'000'000ull) * kRecordBytes;
  plan_ = *store::PlanRegion({.memory_bytes = bytes + records * 10ull + 64 * kMiB,
                              .segment_bytes = 16 * kMiB,
                              .index_objects = records});
  void* memory = ::mmap(nullptr, plan_.region_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  HF_CHECK(memory != MAP_FAILED);
  ::madvise(memory, plan_.region_bytes, MADV_HUGEPAGE);  // as a node's tmpfs has, where it can
  region_ = static_cast<std::byte*>(memory);
}

RecordMemory::~RecordMemory() { ::munmap(region_, plan_.region_bytes); }

shm::Entry RecordMemory::EntryOf(uint32_t place, const Oid& oid) const {
  const uint64_t per_segment = plan_.segment_bytes / kRecordBytes - 1;
  return shm::MakeEntry(shm::TagFor(oid), static_cast<uint32_t>(place / per_segment),
                        (place % per_segment + 1) * kRecordBytes);
}

shm::RecordHeader* RecordMemory::at(uint32_t place) const {
  const shm::Entry entry = EntryOf(place, {});
  return store::Region({region_, plan_.region_bytes}, plan_)
      .record(store::Place{shm::SegmentOf(entry), shm::OffsetOf(entry)});
}

namespace {

class HoldfastIndex final : public Table {
 public:
  explicit HoldfastIndex(const RecordMemory& records)
      : records_(records),
        index_(store::Region({records.region(), records.plan().region_bytes}, records.plan())) {}
  const char* name() const override { return "holdfast"; }
  bool Insert(const Oid& oid, uint32_t place) override {
    const std::optional<uint32_t> slot = index_.Reserve(oid);
    if (slot) index_.Link(*slot, records_.EntryOf(place, oid));
    return slot.has_value();
  }
  void Erase(const Oid& oid) {
    if (const uint32_t slot = index_.Find(oid, 0); slot != store::Index::kNone) index_.Unlink(slot);
  }
  uint64_t CountMany(std::span<const Oid> oids) const override {
    Bitmap here(oids.size());
    index_.FindMany(oids, {}, {}, &here, nullptr);
    return here.Count();
  }
  uint64_t memory_bytes() const override {  // entries, side array, and the ghosts of its objects
    return uint64_t{index_.slot_count()} * (sizeof(shm::Entry) + sizeof(uint16_t)) +
           store::Ghosts(index_.capacity(), 1).memory_bytes();
  }

 private:
  const RecordMemory& records_;
  store::Index index_;
};

uint64_t CountAll(const Table& table, std::span<const Oid> oids) {
  uint64_t found = 0;
  for (size_t at = 0; at < oids.size(); at += kBatch) {
    found += table.CountMany(oids.subspan(at, std::min(kBatch, oids.size() - at)));
  }
  return found;
}

// The objects that lie in the records now, by place.
Oid OidAt(const RecordMemory& records, uint32_t place) { return records.at(place)->oid; }

void Put(HoldfastIndex* index, const RecordMemory& records, uint32_t place, const Oid& oid) {
  *records.at(place) = {.magic = shm::kRecordMagic,
                        .name_bytes = 0,
                        .etag_bytes = 0,
                        .oid = oid,
                        .version = 1,
                        .size = 1,
                        .expires_s = 0,
                        .payload_hash = 0,
                        .written_us = 0,
                        .header_hash = 0};
  index->Insert(oid, place);
}

std::vector<uint32_t> Shuffled(uint32_t n, uint64_t seed) {
  Random random(seed);
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  random.Shuffle(order);
  return order;
}

// Fills the index, and then replaces all objects, in another order than they came.
void FillAndReplace(HoldfastIndex* index, const RecordMemory& records, uint32_t objects) {
  for (uint32_t i = 0; i < objects; ++i) Put(index, records, i, OidOf(i));
  for (const uint32_t i : Shuffled(objects, 1)) {
    index->Erase(OidOf(i));
    Put(index, records, i, OidOf(uint64_t{objects} + i));
  }
}

struct Figures {
  double bytes_per_object = 0;
  double lookups_per_s = 0;
  uint64_t lost = 0;
};

Figures Measure(const Table& table, std::span<const Oid> oids, int rounds) {
  Figures figures;
  const auto objects = static_cast<double>(oids.size());
  figures.bytes_per_object = static_cast<double>(table.memory_bytes()) / objects;
  figures.lost = oids.size() - CountAll(table, oids);
  std::vector<double> rates;
  for (int round = 0; round < rounds; ++round) {
    const double since = Now();
    HF_CHECK(CountAll(table, oids) == oids.size() - figures.lost);
    rates.push_back(objects / (Now() - since));
  }
  figures.lookups_per_s = Median(rates);
  std::printf("  %-20s %8.2f bytes an object, %6.2f M look-ups/s, %llu lost\n", table.name(),
              figures.bytes_per_object, figures.lookups_per_s / 1e6,
              static_cast<unsigned long long>(figures.lost));
  return figures;
}

Figures MeasurePeer(std::unique_ptr<Table> table, const RecordMemory& records,
                    std::span<const Oid> oids, int rounds) {
  for (uint32_t i = 0; i < oids.size(); ++i) table->Insert(OidAt(records, i), i);
  return Measure(*table, oids, rounds);
}

int Main(int argc, char** argv) {
  bool quick = false;
  uint32_t objects = 10'000'000;
  CLI::App app("the index of a node");
  app.add_flag("--quick", quick, "fewer rounds");
  app.add_option("--objects", objects, "in the index")->check(CLI::Range(1'000u, 100'000'000u));
  CLI11_PARSE(app, argc, argv);
  const int rounds = quick ? 3 : 11;
  const RecordMemory records(objects);
  std::printf("%u objects, all of them replaced once, looked up in random order\n", objects);
  HoldfastIndex index(records);
  FillAndReplace(&index, records, objects);
  std::vector<Oid> oids;
  for (const uint32_t i : Shuffled(objects, 2)) oids.push_back(OidAt(records, i));
  const Figures ours = Measure(index, oids, rounds);
  const Figures open = MeasurePeer(MakeOpenAddressing(records, objects), records, oids, rounds);
  const Figures map = MeasurePeer(MakeUnorderedMap(records), records, oids, rounds);
  const TinyFigures tiny = MeasureTiny(objects, Now);
  nlohmann::ordered_json line{
      {"bench", "index"},
      {"figures",
       {{"objects", objects},
        {"bytes_per_object", ours.bytes_per_object},
        {"lookups_per_s", ours.lookups_per_s},
        {"lost", ours.lost},
        {"open_addressing_bytes_per_object", open.bytes_per_object},
        {"open_addressing_lookups_per_s", open.lookups_per_s},
        {"unordered_map_bytes_per_object", map.bytes_per_object},
        {"unordered_map_lookups_per_s", map.lookups_per_s},
        {"packed_bytes_per_object", tiny.bytes_per_object},
        {"packed_lookups_per_s", tiny.lookups_per_s},
        {"packed_stray_share", tiny.stray},
        {"packed_lost", tiny.lost}}},
      {"ratios",
       {{"lookups_vs_open_addressing", ours.lookups_per_s / open.lookups_per_s},
        {"lookups_vs_unordered_map", ours.lookups_per_s / map.lookups_per_s},
        {"bytes_vs_open_addressing", ours.bytes_per_object / open.bytes_per_object},
        {"bytes_vs_unordered_map", ours.bytes_per_object / map.bytes_per_object}}}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::Main(argc, argv); }
