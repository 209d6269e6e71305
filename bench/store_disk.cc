// SPDX-License-Identifier: Apache-2.0
#include "bench/store_disk.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bench/disk_world.h"

namespace holdfast::bench {
namespace {

using store::DiskTier;

constexpr uint64_t kSizes[] = {4 * kKiB, 16 * kKiB, 64 * kKiB, 256 * kKiB};
constexpr uint32_t kDepth = 32;
constexpr uint64_t kFileBytes = 2 * kGiB;
constexpr uint64_t kSegmentBytes = 16 * kMiB;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// Objects of one size on a disk tier, and gets of random ones, kDepth in flight.
class Gets {
 public:
  Gets(const std::string& directory, uint64_t bytes)
      : world_({.directory = directory,
                .segments = static_cast<uint32_t>(kFileBytes / kSegmentBytes) + 16,
                .segment_bytes = kSegmentBytes,
                .index_objects = kFileBytes / bytes + 1'000,
                .depth = kDepth,
                .tiny = {.most_bytes = 0}}),  // records, at 4 KiB too: packs have a part of their own
        payload_(bytes),
        into_(kDepth, std::vector<std::byte>(bytes)),
        random_(bytes) {
    for (std::byte& b : payload_) b = static_cast<std::byte>(random_.Next());
    for (uint64_t written = 0; written < kFileBytes * 9 / 10;) {
      std::vector<store::DiskWriter::Item> items;
      for (uint64_t batch = 0; batch < 4 * kMiB; batch += bytes) {
        items.push_back(DiskItem("file:///data/" + std::to_string(oids_.size()), payload_,
                                 world_.tier().Stamp({})));
        oids_.push_back(items.back().head.entry.oid);
        const disk::Entry& entry = items.back().head.entry;
        record_bytes_ = disk::RecordBytes(bytes, entry.name_bytes, entry.etag_bytes);
        written += bytes;
      }
      world_.Take(std::move(items));
    }
    for (int i = 0; i < 50; ++i) world_.Maintain();  // seals
  }

  // Of one, with its head.
  uint64_t record_bytes() const { return record_bytes_; }

  double PerSecond(Duration span) {
    const double start = Now();
    const uint64_t before = got_;
    world_.Wait([&](std::function<void()> done) {
      until_ = world_.loop().Now() + span;
      done_ = std::move(done);
      for (size_t slot = 0; slot < kDepth; ++slot) Get(slot);
    });
    return static_cast<double>(got_ - before) / (Now() - start);
  }

 private:
  void Get(size_t slot) {
    ++under_way_;
    const Oid& oid = oids_[random_.Below(oids_.size())];
    world_.tier().Look(oid, 0, record_bytes_, [this, slot](const Result<DiskTier::Found>& found) {
      if (!found.ok()) Fail(found.status());
      world_.tier().Read(*found, into_[slot], [this, slot](const Status& read) {
        if (!read.ok()) Fail(read);  // its checksum was verified
        Got(slot);
      });
    });
  }
  void Got(size_t slot) {
    ++got_;
    --under_way_;
    if (world_.loop().Now() < until_) return Get(slot);
    if (under_way_ == 0) std::exchange(done_, nullptr)();
  }

  DiskWorld world_;
  std::vector<std::byte> payload_;
  std::vector<std::vector<std::byte>> into_;
  Random random_;
  std::vector<Oid> oids_;
  uint64_t record_bytes_ = 0;  // a reader knows the size of what it looks for
  Time until_{};
  std::function<void()> done_;
  size_t under_way_ = 0;
  uint64_t got_ = 0;
};

// What fio says of its first job, whose file it lays when it is not there.
nlohmann::json Fio(const std::string& file, Duration span, const std::string& jobs) {
  const std::string command =
      "fio --filename=" + file + " --size=" + std::to_string(kFileBytes) +
      " --runtime=" + std::to_string(std::max<int64_t>(span / 1s, 1)) +
      " --direct=1 --ioengine=io_uring --randrepeat=0 --time_based --output-format=json " + jobs +
      " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) Fail(Status::Unavailable("fio cannot be started"));
  std::string text;
  char part[4096];
  for (size_t n = 0; (n = std::fread(part, 1, sizeof part, pipe)) > 0;) text.append(part, n);
  if (::pclose(pipe) != 0)
    Fail(Status::Unavailable("fio fails; scripts/setup --with-bench installs it: " + text));
  return nlohmann::json::parse(text.substr(text.find('{')))["jobs"][0]["read"];
}

// Random reads a second; `options` say what it does otherwise than usual.
double FioPerSecond(const std::string& file, uint64_t bytes, Duration span,
                    const std::string& options = {}) {
  return Fio(file, span,
             "--name=reads --rw=randread --bs=" + std::to_string(bytes) +
                 " --iodepth=" + std::to_string(kDepth) + options)["iops"]
      .get<double>();
}

}  // namespace

std::vector<DiskGets> MeasureDiskGets(const std::string& directory, int rounds, Duration span) {
  std::vector<DiskGets> all;
  const std::string file = directory + "/fio";
  for (uint64_t bytes : kSizes) {
    Gets gets(directory + "/" + std::to_string(bytes), bytes);
    FioPerSecond(file, bytes, 1s);  // which lays the file
    const uint64_t record_bytes = shm::AlignUp(gets.record_bytes(), 512);
    std::vector<double> ours, fio, ratios, fio_records;
    for (int round = 0; round < rounds; ++round) {
      ours.push_back(gets.PerSecond(span));
      fio.push_back(FioPerSecond(file, bytes, span));
      ratios.push_back(ours.back() / fio.back());
      fio_records.push_back(FioPerSecond(file, record_bytes, span, " --blockalign=512"));
    }
    all.push_back({bytes, Median(ours), Median(fio), Median(ratios), Median(fio_records)});
    std::filesystem::remove_all(directory + "/" + std::to_string(bytes));
  }
  return all;
}

DeviceTail MeasureDeviceTail(const std::string& directory, Duration span) {
  const std::string file = directory + "/fio";
  FioPerSecond(file, 4 * kKiB, 1s);  // which lays the file
  const nlohmann::json read =
      Fio(file, span,
          "--name=reads --rw=randread --bs=8k --rate_iops=20000 "
          "--iodepth=" +
              std::to_string(kDepth) + " --name=writes --rw=randwrite --bs=128k --rate_iops=100");
  std::filesystem::remove(file);
  const auto part = [&](const char* of) {
    return read["clat_ns"]["percentile"][of].get<double>() / 1e6;
  };
  return {part("99.000000"), part("99.900000")};
}

}  // namespace holdfast::bench
