// SPDX-License-Identifier: Apache-2.0
#include "bench/store_packed.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "bench/tiny_objects.h"

namespace holdfast::bench {
namespace {

constexpr double kGetsPerS = 20'000, kWritesPerS = 2'000;
constexpr uint64_t kBatch = 1024;
constexpr uint32_t kSegments = 256;

// Filled, and then asked at a rate that does not wait for the answers.
class Packed {
 public:
  Packed(const std::string& directory, bool quick, uint32_t objects_per_pack)
      : count_(quick ? 1'000'000 : 10'000'000),
        span_(quick ? 8s : 60s),
        versions_(count_),
        taken_(count_),
        disk_({.directory = directory,
               .segments = kSegments,
               .segment_bytes = (quick ? 4 : 32) * kMiB,
               .index_objects = 16'384,
               .tiny = {.objects_per_pack = objects_per_pack, .most_objects = 4 * count_}}),
        random_(5) {}

  PackedFigures Run();

 private:
  void Take(uint64_t first, bool new_ones);
  void Fill();
  void BeforeAMerge();
  void Step();
  void Get();
  void Write();
  store::TinyStats Tiny() { return disk_.tier().Stats().tiny; }
  Duration UntilNext(double rate) {
    return Duration(static_cast<int64_t>(-std::log(1 - random_.Unit()) / rate * 1e6 + 0.5));
  }

  uint64_t count_;
  Duration span_;
  std::vector<uint8_t> versions_;  // of each object, the last
  std::vector<uint8_t> taken_;     // and that which can be read from now on, or a later one
  TinyObjects objects_;
  DiskWorld disk_;
  Random random_;
  PackedFigures figures_;
  Time end_, next_get_, next_write_, next_maintain_;
  uint64_t under_way_ = 0;
  std::function<void()> done_;
  std::vector<uint32_t> took_us_;
};

void Packed::Take(uint64_t first, bool new_ones) {
  std::vector<uint64_t> numbers;
  for (uint64_t i = first; i < std::min(first + kBatch, count_); ++i) {
    const uint64_t n = new_ones ? i : random_.Below(count_);
    if (!new_ones) ++versions_[n];
    taken_[n] = versions_[n];
    numbers.push_back(n);
  }
  std::vector<DiskWriter::Item> items;
  for (const uint64_t n : numbers)
    items.push_back(objects_.ItemOf(n, versions_[n], disk_.tier().Stamp({})));
  disk_.Take(items);
}

void Packed::Fill() {
  for (uint64_t first = 0; first < count_; first += kBatch) {
    Take(first, true);
  }
  for (int i = 0; i < 200; ++i) disk_.Maintain();
}

// Goes on until the next run that is written will be merged with others, soon after the gets begin.
void Packed::BeforeAMerge() {
  uint64_t merges = Tiny().merge.merges, young = 0, most = 0;
  for (uint32_t runs = 0; runs < 7 || young < most * 97 / 100;) {
    Take(0, false);
    disk_.Maintain();
    const store::TinyStats now = Tiny();
    most = std::max(most, now.young_objects);
    runs = now.merge.merges != merges ? 0 : now.young_objects < young / 2 ? runs + 1 : runs;
    merges = now.merge.merges;
    young = now.young_objects;
  }
  for (int i = 0; i < 200; ++i) disk_.Maintain();
}

void Packed::Step() {
  const Time now = disk_.loop().Now();
  if (now >= end_) {
    if (under_way_ == 0) return done_();
    return disk_.loop().At(now + 1ms, [this] { Step(); });
  }
  for (; next_get_ <= now; next_get_ = next_get_ + UntilNext(kGetsPerS)) Get();
  for (; next_write_ <= now; next_write_ = next_write_ + UntilNext(kWritesPerS)) Write();
  for (; next_maintain_ <= now; next_maintain_ = now + 2ms) disk_.tier().Maintain();
  disk_.loop().At(std::min({next_get_, next_write_, next_maintain_}), [this] { Step(); });
}

void Packed::Get() {
  const uint64_t n = random_.Below(count_);
  const Oid oid = TinyObjects::OidOf(n);
  ++under_way_;
  disk_.tier().Look(
      oid, 0, 0, [this, n, due = next_get_, least = taken_[n]](Result<DiskTier::Found> found) {
        if (!found.ok()) {
          ++figures_.missing;
          --under_way_;
          return;
        }
        auto into = std::make_shared<Buffer>(found->head.entry.size);
        const auto version = static_cast<uint32_t>(std::stoul(found->head.etag));
        disk_.tier().Read(
            *found, into->span(), [this, n, due, least, version, into](const Status& read) {
              --under_way_;
              took_us_.push_back(static_cast<uint32_t>((disk_.loop().Now() - due).count()));
              const bool new_enough = version >= least && version <= versions_[n];
              const bool right = std::ranges::equal(into->view(), objects_.PayloadOf(n, version));
              figures_.wrong += read.ok() && new_enough && right ? 0 : 1;
            });
      });
}

void Packed::Write() {
  const uint64_t n = random_.Below(count_);
  std::vector<DiskWriter::Item> items;
  items.push_back(objects_.ItemOf(n, ++versions_[n], disk_.tier().Stamp({})));
  ++under_way_;
  const uint64_t refused = Tiny().refused_objects;
  disk_.tier().Take(std::move(items), [this, n, refused, version = versions_[n]] {
    --under_way_;
    if (Tiny().refused_objects == refused) taken_[n] = std::max(taken_[n], version);
  });
  figures_.writes_per_s += 1e6 / static_cast<double>(span_.count());
}

PackedFigures Packed::Run() {
  Fill();
  BeforeAMerge();
  const store::TinyStats before = Tiny();
  std::printf("  filled; %llu refused and %llu lost on the way\n",
              static_cast<unsigned long long>(before.refused_objects),
              static_cast<unsigned long long>(before.lost_objects));
  disk_.Wait([this](std::function<void()> done) {
    done_ = std::move(done);
    const Time now = disk_.loop().Now();
    next_get_ = next_write_ = next_maintain_ = now;
    end_ = now + span_;
    Step();
  });
  const store::TinyStats after = Tiny();
  std::sort(took_us_.begin(), took_us_.end());
  const auto part = [this](double share) {
    return took_us_.empty()
               ? 0
               : took_us_[static_cast<size_t>(share * static_cast<double>(took_us_.size() - 1))] /
                     1e3;
  };
  figures_.objects = after.objects;
  figures_.gets_per_s =
      static_cast<double>(took_us_.size()) / (static_cast<double>(span_.count()) / 1e6);
  figures_.p50_ms = part(0.5);
  figures_.p99_ms = part(0.99);
  figures_.p999_ms = part(0.999);
  std::printf(
      "gets of packed tiny objects (100 to 400 bytes, %llu copies of %llu objects, %u runs in %u "
      "segments):\n"
      "  %.0f gets/s and %.0f writes/s for %s; p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms; %llu "
      "wrong, %llu missing\n"
      "  meanwhile %llu merges and %.0f MiB were written; %.2f reads a get from the disk\n",
      static_cast<unsigned long long>(after.objects), static_cast<unsigned long long>(count_),
      after.runs, after.segments, figures_.gets_per_s, figures_.writes_per_s,
      FormatDuration(span_).c_str(), figures_.p50_ms, figures_.p99_ms, figures_.p999_ms,
      static_cast<unsigned long long>(figures_.wrong),
      static_cast<unsigned long long>(figures_.missing),
      static_cast<unsigned long long>(after.merge.merges - before.merge.merges),
      static_cast<double>(after.writes.written_bytes - before.writes.written_bytes) / kMiB,
      1 + static_cast<double>(after.stray_reads - before.stray_reads) /
              std::max(1.0, static_cast<double>(after.reads - before.reads)));
  return figures_;
}

}  // namespace

PackedFigures MeasurePacked(const std::string& directory, bool quick, uint32_t objects_per_pack) {
  return Packed(directory, quick, objects_per_pack).Run();
}

}  // namespace holdfast::bench
