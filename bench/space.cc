// SPDX-License-Identifier: Apache-2.0
// bench space: how much of a disk tier is live under steady churn of objects from 1 KB to 10 MB, how
// much more is written than comes, and how long a start takes that finds 10^6 objects. On real files,
// past the page cache. And what is written of packed tiny objects.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "bench/disk_world.h"
#include "bench/space_tiny.h"

namespace holdfast::bench {
namespace {

constexpr double kReadShare = 0.2;  // of what came, one of so many is read again, the hot ones
constexpr uint64_t kBatchBytes = 16 * kMiB;
constexpr store::TinyOptions kRecordsOnly{.most_bytes = 0};

struct Object {
  Oid oid;
  uint64_t size = 0;
};

// Objects with sizes spread evenly over the logarithm from `least` to `most`; the bytes of one are
// those of all, from some place on.
class Stream {
 public:
  Stream(uint64_t least, uint64_t most) : least_(least), most_(most), random_(7), bytes_(most) {
    for (std::byte& b : bytes_) b = static_cast<std::byte>(random_.Next());
  }
  // About `bytes` of new ones.
  std::vector<DiskWriter::Item> Next(uint64_t bytes, int64_t loaded_us) {
    std::vector<DiskWriter::Item> items;
    for (uint64_t sum = 0; sum < bytes;) {
      const double log =
          std::log(static_cast<double>(least_)) +
          random_.Unit() * std::log(static_cast<double>(most_) / static_cast<double>(least_));
      const auto size = std::clamp(static_cast<uint64_t>(std::exp(log)), least_, most_);
      const std::string name = "file:///data/" + std::to_string(++number_);
      items.push_back(DiskItem(name, {bytes_.data(), size}, loaded_us));
      objects.push_back({items.back().head.entry.oid, size});
      sum += size;
    }
    return items;
  }

  std::vector<Object> objects;

 private:
  uint64_t least_;
  uint64_t most_;
  Random random_;
  std::vector<std::byte> bytes_;
  uint64_t number_ = 0;
};

struct Space {
  double utilization = 0;
  double write_amplification = 0;
  double written_mb_per_s = 0;
};

// A quarter of a segment is the most that admission takes.
uint64_t MostBytes(bool quick) { return quick ? 4'000'000 : 10'000'000; }

// Some of the last tenth to come are read, which keeps them over the next reclaim.
void ReadSome(DiskWorld& disk, const std::vector<Object>& objects, size_t count, Random* random) {
  for (size_t i = 0; i < count; ++i) {
    const size_t back = random->Below(std::max<size_t>(objects.size() / 10, 1));
    disk.Wait([&](std::function<void()> done) {
      disk.tier().Look(objects[objects.size() - 1 - back].oid, 0, 0,
                       [done](const Result<DiskTier::Found>&) { done(); });
    });
  }
}

Space MeasureSpace(const std::string& directory, bool quick) {
  const uint64_t segment = quick ? 16 * kMiB : 64 * kMiB;
  const uint32_t segments = 128;
  DiskWorld disk({.directory = directory,
                  .segments = segments,
                  .segment_bytes = segment,
                  .index_objects = 1'000'000,
                  .tiny = kRecordsOnly});
  Stream stream(1'000, MostBytes(quick));
  Random random(3);
  const uint64_t capacity = segments * segment;
  uint64_t admitted = 0, read_back = 0;
  uint64_t base_admitted = 0, base_written = 0;
  const double start = Now();
  while (admitted < capacity * 5 / 2) {
    std::vector<DiskWriter::Item> items = stream.Next(kBatchBytes, disk.tier().Stamp({}));
    for (const DiskWriter::Item& item : items) admitted += item.payload.size();
    read_back += items.size();
    disk.Take(std::move(items));
    ReadSome(disk, stream.objects, static_cast<size_t>(static_cast<double>(read_back) * kReadShare),
             &random);
    read_back = 0;
    if (base_admitted == 0 && admitted > capacity) {  // full: from here on it is steady
      base_admitted = admitted;
      base_written = disk.tier().Stats().writes.written_bytes;
    }
  }
  const double took = Now() - start;
  uint64_t live = 0;
  for (const Object& object : stream.objects) {
    if (disk.tier().Has(object.oid, HashVersion("e", object.size))) live += object.size;
  }
  const uint64_t written = disk.tier().Stats().writes.written_bytes;
  return {.utilization = static_cast<double>(live) / static_cast<double>(capacity),
          .write_amplification = static_cast<double>(written - base_written) /
                                 static_cast<double>(admitted - base_admitted),
          .written_mb_per_s = static_cast<double>(written) / took / 1e6};
}

// A start that finds so many objects.
double MeasureStart(const std::string& directory, uint64_t objects, uint64_t* found) {
  const DiskWorld::Options options{.directory = directory,
                                   .segments = 128,
                                   .segment_bytes = 16 * kMiB,
                                   .index_objects = objects * 3 / 2,
                                   .tiny = kRecordsOnly};
  {
    DiskWorld disk(options);
    Stream stream(1'000, 1'200);
    for (uint64_t n = 0; n < objects;) {
      std::vector<DiskWriter::Item> items = stream.Next(8 * kMiB, disk.tier().Stamp({}));
      n += items.size();
      disk.Take(std::move(items));
    }
    for (int i = 0; i < 50; ++i) disk.Maintain();  // seals
  }
  DiskWorld again(options);
  *found = again.tier().Stats().recovered_objects;
  return again.recovered_s();
}

int RunPacked(bool quick, const std::string& directory) {
  const TinySpace tiny = MeasureTinySpace(directory + "/tiny", quick);
  std::filesystem::remove_all(directory);
  std::printf(
      "{\"bench\":\"space\",\"figures\":{\"packed_write_amplification\":%.3f,"
      "\"packed_bytes_per_payload_byte\":%.3f,\"packed_utilization\":%.4f}}\n",
      tiny.write_amplification, tiny.written_per_payload_byte, tiny.utilization);
  return 0;
}

int Run(bool quick, bool packed, const std::string& at) {
  std::string directory = at + "/holdfast-space-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) {
    std::fprintf(stderr, "bench_space: cannot make a directory in %s\n", at.c_str());
    return 1;
  }
  if (packed) return RunPacked(quick, directory);
  const Space space = MeasureSpace(directory + "/space", quick);
  std::filesystem::remove_all(directory + "/space");
  uint64_t found = 0;
  std::vector<double> starts;
  for (int i = 0; i < (quick ? 1 : 3); ++i) {
    starts.push_back(MeasureStart(directory + "/start", 1'000'000, &found));
    std::filesystem::remove_all(directory + "/start");
  }
  std::sort(starts.begin(), starts.end());
  const double start = starts[starts.size() / 2];
  const TinySpace tiny = MeasureTinySpace(directory + "/tiny", quick);
  std::filesystem::remove_all(directory);
  std::printf(
      "Steady churn of objects from 1 KB to %.0f MB, some read again: %.3f of the disk is live, "
      "%.3f "
      "times "
      "what comes is written, at %.0f MB/s\nA start finds %llu objects in %.2f s\n",
      static_cast<double>(MostBytes(quick)) / 1e6, space.utilization, space.write_amplification,
      space.written_mb_per_s, static_cast<unsigned long long>(found), start);
  std::printf(
      "{\"bench\":\"space\",\"figures\":{\"utilization\":%.4f,\"write_amplification\":%.4f,"
      "\"written_mb_per_s\":%.0f,\"recovered_objects\":%llu,\"recovered_s\":%.3f,"
      "\"packed_write_amplification\":%.3f,\"packed_bytes_per_payload_byte\":%.3f,"
      "\"packed_utilization\":%.4f}}\n",
      space.utilization, space.write_amplification, space.written_mb_per_s,
      static_cast<unsigned long long>(found), start, tiny.write_amplification,
      tiny.written_per_payload_byte, tiny.utilization);
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  bool quick = false, packed = false;
  std::string at = "/var/tmp";
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      quick = true;
    } else if (std::strcmp(argv[i], "--packed") == 0) {
      packed = true;
    } else if (std::strcmp(argv[i], "--directory") == 0 && i + 1 < argc) {
      at = argv[++i];
    } else {
      const bool help = std::strcmp(argv[i], "--help") == 0;
      std::fprintf(
          help ? stdout : stderr,
          "usage: bench_space [--quick] [--packed] [--directory DIR]\n\nFills a disk tier in DIR "
          "(/var/tmp), which needs 10 GB, 3 with --quick. --packed: only "
          "tiny objects.\n");
      return help ? 0 : 2;
    }
  }
  return holdfast::bench::Run(quick, packed, at);
}
