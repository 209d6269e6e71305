// SPDX-License-Identifier: Apache-2.0
// Puts of 1 KB values beside RocksDB and LMDB: synced from 64 threads that each wait for their put,
// synced with 32 in flight in each thread, and unsynced with as many in flight. Rounds are
// interleaved, figures are medians, and every put that was acknowledged is read back, at the end
// also after a new start. Then gets of what lies on the disk, beside the device itself, and of tiny
// objects that are packed there.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/status.h"
#include "base/units.h"
#include "bench/disk_world.h"
#include "bench/store_disk.h"
#include "bench/store_packed.h"
#include "bench/store_system.h"

namespace holdfast::bench {
namespace {

constexpr uint64_t kIndexesPerThread = uint64_t{1} << 32;
// A round ends early on a machine that puts more than this.
constexpr double kMostPutsPerS = 1.5e6;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

void InThreads(uint64_t count, const std::function<void(uint64_t)>& run) {
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < count; ++t) threads.emplace_back(run, t);
  for (std::thread& thread : threads) thread.join();
}

// One way to put into one system, with the rates of its rounds.
struct Entry {
  std::string key;   // in the JSON line
  std::string text;  // in the table
  uint64_t threads = 64;
  std::unique_ptr<StoreSystem> system;
  std::vector<double> rates;
  std::vector<uint64_t> put;  // by thread, in the last round

  void RunRound(const Values& values, Duration span, uint64_t most_puts);
  void Verify(const Values& values);
};

void Entry::RunRound(const Values& values, Duration span, uint64_t most_puts) {
  system->Clear();
  put.assign(threads, 0);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> ready{0};
  std::atomic<double> began{0};
  std::thread clock([&] {
    while (ready.load() < threads) std::this_thread::sleep_for(1ms);
    began = Now();
    std::this_thread::sleep_for(span);
    stop = true;
  });
  InThreads(threads, [&](uint64_t t) {
    std::unique_ptr<Putter> putter = system->NewPutter();
    std::byte value[kValueBytes];
    ready.fetch_add(1);
    while (began.load() == 0) std::this_thread::sleep_for(1ms);
    for (; !stop.load(std::memory_order_relaxed) && put[t] < most_puts / threads; ++put[t]) {
      values.Fill(t * kIndexesPerThread + put[t], value);
      putter->Put(t * kIndexesPerThread + put[t], value);
    }
    putter->Finish();
  });
  const double seconds = Now() - began.load();
  clock.join();
  uint64_t total = 0;
  for (uint64_t n : put) total += n;
  rates.push_back(static_cast<double>(total) / seconds);
}

void Entry::Verify(const Values& values) {
  InThreads(threads, [&](uint64_t t) {
    std::byte value[kValueBytes];
    for (uint64_t i = 0; i < put[t]; ++i) {
      const uint64_t index = t * kIndexesPerThread + i;
      HF_CHECK(system->Get(index, value));
      HF_CHECK(values.IsRight(index, value));
    }
  });
}

class StoreBench {
 public:
  StoreBench(std::string directory, bool quick, uint32_t per_pack, int rounds, Duration span)
      : directory_(std::move(directory)),
        quick_(quick),
        per_pack_(per_pack),
        rounds_(rounds),
        span_(span),
        most_puts_(static_cast<uint64_t>(kMostPutsPerS * static_cast<double>(span.count()) / 1e6)) {
  }
  // One of "synced", "pipelined", "unsynced", "disk" and "packed", or all of them for an empty text.
  void Run(const std::string& part);

 private:
  std::string NewDirectory() {
    std::string made = directory_ + "/" + std::to_string(++directories_);
    std::filesystem::create_directories(made);
    return made;
  }
  void Add(std::vector<Entry>* entries, std::string key, std::string text, uint64_t threads,
           std::unique_ptr<StoreSystem> system);
  void Measure(const char* title, int rounds, std::vector<Entry> entries);
  void Synced();
  void Pipelined();
  void Unsynced();
  void Disk();
  void Packed();
  double Rate(const std::string& key) const { return figures_.at(key).get<double>(); }

  std::string directory_;
  bool quick_;
  uint32_t per_pack_;
  int rounds_;
  Duration span_;
  uint64_t most_puts_;  // of a round
  int directories_ = 0;
  Values values_;
  nlohmann::ordered_json figures_, ratios_;
};

void StoreBench::Add(std::vector<Entry>* entries, std::string key, std::string text,
                     uint64_t threads, std::unique_ptr<StoreSystem> system) {
  entries->push_back({std::move(key), std::move(text), threads, std::move(system), {}, {}});
}

void StoreBench::Measure(const char* title, int rounds, std::vector<Entry> entries) {
  for (int round = 0; round < rounds; ++round) {
    for (Entry& entry : entries) {
      entry.RunRound(values_, span_, most_puts_);
      entry.Verify(values_);
    }
  }
  std::printf("%s\n", title);
  for (Entry& entry : entries) {
    entry.system->Reopen();
    entry.Verify(values_);
    const double rate = Median(entry.rates);
    figures_[entry.key] = rate;
    std::printf("  %-52s %12s/s\n", entry.text.c_str(),
                FormatCount(static_cast<uint64_t>(rate)).c_str());
  }
}

void StoreBench::Synced() {
  std::vector<Entry> entries;
  Add(&entries, "synced_puts_per_s", "holdfast", 64,
      OpenHoldfastStore(NewDirectory(), Puts::kSynced, most_puts_));
  Add(&entries, "rocksdb_synced_puts_per_s", "RocksDB", 64,
      OpenRocksDb(NewDirectory(), Puts::kSynced, false));
  Add(&entries, "lmdb_synced_puts_per_s", "LMDB", 64, OpenLmdbStore(NewDirectory()));
  // The most sleeping and waking, so the most noise, and little to read back.
  Measure("synced, 64 threads that wait for each put", 2 * rounds_ + 1, std::move(entries));
  ratios_["synced_puts_vs_rocksdb"] = Rate("synced_puts_per_s") / Rate("rocksdb_synced_puts_per_s");
}

void StoreBench::Pipelined() {
  std::vector<Entry> entries;
  Add(&entries, "pipelined_puts_per_s", "holdfast, 32 in flight", 64,
      OpenHoldfastStore(NewDirectory(), Puts::kPipelined, most_puts_));
  Add(&entries, "rocksdb_waiting_puts_per_s", "RocksDB, one at a time", 64,
      OpenRocksDb(NewDirectory(), Puts::kPipelined, false));
  Add(&entries, "rocksdb_batched_puts_per_s", "RocksDB, batches of 32", 64,
      OpenRocksDb(NewDirectory(), Puts::kPipelined, true));
  Measure("synced, 64 threads with 32 puts in flight", rounds_, std::move(entries));
  ratios_["pipelined_puts_vs_rocksdb"] =
      Rate("pipelined_puts_per_s") / Rate("rocksdb_waiting_puts_per_s");
  ratios_["pipelined_puts_vs_rocksdb_batches"] =
      Rate("pipelined_puts_per_s") / Rate("rocksdb_batched_puts_per_s");
}

void StoreBench::Unsynced() {
  std::vector<Entry> entries;
  Add(&entries, "unsynced_puts_per_s", "holdfast, 8 threads, 256 in flight", 8,
      OpenHoldfastStore(NewDirectory(), Puts::kUnsynced, most_puts_));
  std::vector<std::string> peers;
  auto rocksdb = [&](uint64_t threads, bool batched) {
    std::string key =
        "rocksdb_unsynced_" + std::to_string(threads) + (batched ? "_batched" : "") + "_puts_per_s";
    peers.push_back(key);
    Add(&entries, key,
        "RocksDB, " + std::to_string(threads) + (threads == 1 ? " thread" : " threads") +
            (batched ? ", batches of 32" : ""),
        threads, OpenRocksDb(NewDirectory(), Puts::kUnsynced, batched));
  };
  for (uint64_t threads : {1, 64}) rocksdb(threads, false);
  for (uint64_t threads : {8, 64}) rocksdb(threads, true);
  Measure("not synced", rounds_, std::move(entries));
  double best = 0;
  for (const std::string& key : peers) best = std::max(best, Rate(key));
  figures_["rocksdb_unsynced_best_puts_per_s"] = best;
  ratios_["unsynced_puts_vs_rocksdb"] = Rate("unsynced_puts_per_s") / best;
}

void StoreBench::Disk() {
  std::printf("gets from the disk tier, beside fio's random reads, 32 in flight\n");
  double least = 1e9;
  for (const DiskGets& gets :
       MeasureDiskGets(NewDirectory(), rounds_, std::max<Duration>(span_, 1s))) {
    const std::string size = FormatBytes(gets.bytes);
    std::printf("  %-10s holdfast %9s/s   fio %9s/s   %.2f   fio of a record's sectors %9s/s\n",
                size.c_str(), FormatCount(static_cast<uint64_t>(gets.gets_per_s)).c_str(),
                FormatCount(static_cast<uint64_t>(gets.fio_reads_per_s)).c_str(), gets.ratio,
                FormatCount(static_cast<uint64_t>(gets.fio_records_per_s)).c_str());
    const std::string key = std::to_string(gets.bytes);
    figures_["disk_gets_per_s_" + key] = gets.gets_per_s;
    figures_["fio_reads_per_s_" + key] = gets.fio_reads_per_s;
    figures_["fio_records_per_s_" + key] = gets.fio_records_per_s;
    ratios_["disk_gets_vs_device_" + key] = gets.ratio;
    least = std::min(least, gets.ratio);
  }
  ratios_["disk_gets_vs_device"] = least;
}

void StoreBench::Packed() {
  const std::string directory = NewDirectory();
  const DeviceTail device = MeasureDeviceTail(directory, quick_ ? 8s : 60s);
  std::printf("fio at the same rates: p99 %.3f ms, p99.9 %.3f ms\n", device.p99_ms, device.p999_ms);
  const PackedFigures figures = MeasurePacked(directory, quick_, per_pack_);
  std::filesystem::remove_all(directory);
  figures_["packed_objects_per_pack"] = per_pack_;
  figures_["packed_objects"] = figures.objects;
  figures_["packed_gets_per_s"] = figures.gets_per_s;
  figures_["packed_writes_per_s"] = figures.writes_per_s;
  figures_["packed_p50_ms"] = figures.p50_ms;
  figures_["packed_p99_ms"] = figures.p99_ms;
  figures_["packed_p999_ms"] = figures.p999_ms;
  figures_["device_p99_ms"] = device.p99_ms;
  figures_["device_p999_ms"] = device.p999_ms;
  figures_["packed_wrong"] = figures.wrong;
  figures_["packed_missing"] = figures.missing;
}

void StoreBench::Run(const std::string& part) {
  if (part.empty() || part == "synced") Synced();
  if (part.empty() || part == "pipelined") Pipelined();
  if (part.empty() || part == "unsynced") Unsynced();
  if (part.empty() || part == "disk") Disk();
  if (part.empty() || part == "packed") Packed();
  nlohmann::ordered_json line{{"bench", "store"}, {"figures", figures_}, {"ratios", ratios_}};
  std::printf("%s\n", line.dump().c_str());
}

int Main(int argc, char** argv) {
  bool quick = false;
  uint32_t per_pack = 25;
  std::string part;
  std::string parent = std::filesystem::temp_directory_path().string();
  CLI::App app("puts beside RocksDB and LMDB, gets beside fio");
  app.add_flag("--quick", quick, "fewer and shorter rounds");
  app.add_option("--directory", parent, "on the disk that is measured");
  app.add_option("--part", part, "only this part")
      ->check(CLI::IsMember({"synced", "pipelined", "unsynced", "disk", "packed"}));
  app.add_option("--per-pack", per_pack, "tiny objects, about; 50: double density")
      ->check(CLI::Range(1u, 100u));
  CLI11_PARSE(app, argc, argv);
  const std::string directory = parent + "/holdfast-bench-store-" + std::to_string(::getpid());
  StoreBench(directory, quick, per_pack, quick ? 3 : 7, quick ? 250ms : 1000ms).Run(part);
  std::filesystem::remove_all(directory);
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::Main(argc, argv); }
