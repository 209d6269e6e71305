// SPDX-License-Identifier: Apache-2.0
// Reads of what is on the disk of the reader's own node: by the reader itself, which has attached and is
// only told the place, and through the daemon, by one that has not. Single objects at random, 32 in
// flight, out of a set several times as large as the node's memory; rounds in turn, medians.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/random.h"
#include "bench/servers.h"
#include "holdfast/client.h"
#include "tests/origin/content.h"

namespace holdfast::bench {
namespace {

constexpr uint64_t kMemoryBytes = 96 * kMiB;
constexpr uint64_t kPieceBytes = 8 * kMiB;  // the disk has time to take what memory lets go of
constexpr uint32_t kInFlight = 32;

[[noreturn]] void Die(const std::string& text) {
  std::fprintf(stderr, "bench_own_disk: %s\n", text.c_str());
  std::_Exit(3);
}

template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) Die(result.status().ToString());
  return *std::move(result);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

struct Round {
  double bytes_per_s = 0;
  double cpu_s_per_gb = 0;  // of the daemon
  double own_disk = 0;      // share of the objects
};

// A daemon with a set of objects of one size on its disk.
class World {
 public:
  World(const std::string& origin, const std::string& directory, uint64_t set_bytes, uint64_t bytes,
        uint64_t least_local)
      : state_("/dev/shm/holdfast-bench-own-disk-" + std::to_string(::getpid())),
        directory_(directory + "/" + std::to_string(bytes)),
        object_bytes_(bytes) {
    const std::string disk_mib = std::to_string(set_bytes * 3 / 2 / kMiB);
    const uint64_t objects = set_bytes / bytes;
    daemon_ = StartDaemon({.state_directory = state_,
                           .memory_bytes = kMemoryBytes,
                           .far_connections = 16,
                           .settings = {"memory.segment=4MiB", "disk.directory=" + directory_,
                                        "disk.limit=" + disk_mib + "MiB", "disk.segment=16MiB",
                                        "disk.index_objects=" + std::to_string(objects * 2 + 1'024),
                                        "disk.least_local=" + std::to_string(least_local)}});
    ClientOptions options{.nodes = {{0, daemon_.address()}}, .attach = {}};
    through_ = Must(Client::Connect(options));
    options.attach = state_ + "/attach.sock";
    itself_ = Must(Client::Connect(options));
    for (uint64_t i = 0; i < objects; ++i) {
      const std::string path = "/o/" + std::to_string(bytes) + "/" + std::to_string(i);
      const Status added = list_.Add(origin + path, bytes, origin::Content(path, 0).ETag());
      if (!added.ok()) Die(added.ToString());
    }
    Fill();
  }
  ~World() {
    itself_.reset();
    through_.reset();
    daemon_.Stop();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
    std::filesystem::remove_all(state_, ignored);
  }
  World(const World&) = delete;

  Round Read(bool itself, uint64_t objects) {
    std::vector<ObjectList::Item> items;
    for (uint64_t i = 0; i < objects; ++i) items.push_back(list_.item(random_.Below(on_disk_)));
    const double cpu = daemon_.CpuSeconds();
    const double began = Now();
    const uint64_t own = Get(itself ? *itself_ : *through_, items);
    const double bytes = static_cast<double>(objects * object_bytes_);
    return {.bytes_per_s = bytes / (Now() - began),
            .cpu_s_per_gb = (daemon_.CpuSeconds() - cpu) / bytes * 1e9,
            .own_disk = static_cast<double>(own) / static_cast<double>(objects)};
  }

 private:
  // How many came out of the own disk.
  static uint64_t Get(Client& client, const std::vector<ObjectList::Item>& items) {
    uint64_t own = 0;
    client.GetMany(items,
                   [&](size_t, const Result<Object>& object) {
                     if (!object.ok()) Die(object.status().ToString());
                     if (object->source() == ObjectSource::kOwnDisk) ++own;
                   },
                   {.in_flight = kInFlight});
    return own;
  }
  uint64_t Written() {
    const std::string status = Must(through_->NodeStatus(0));
    return nlohmann::json::parse(status)["disk"]["written_objects"].get<uint64_t>();
  }
  // Everything comes into memory once, and goes down to the disk.
  void Fill() {
    const size_t piece = kPieceBytes / object_bytes_;
    for (size_t first = 0; first < list_.size(); first += piece) {
      std::vector<ObjectList::Item> items;
      for (size_t i = first; i < std::min(first + piece, list_.size()); ++i)
        items.push_back(list_.item(i));
      Get(*through_, items);
      for (uint64_t before = UINT64_MAX; before != Written();) {
        before = Written();
        std::this_thread::sleep_for(100ms);
      }
    }
    on_disk_ = list_.size() - std::min(list_.size(), kMemoryBytes / object_bytes_);
    if (const uint64_t written = Written(); written < on_disk_ * 6 / 10) {
      Die("the disk has only " + FormatCount(written) + " of " + FormatCount(on_disk_) +
          " objects that memory let go of; it was too slow");
    }
  }

  const std::string state_, directory_;
  const uint64_t object_bytes_;
  ServerProcess daemon_;
  std::unique_ptr<Client> itself_, through_;
  ObjectList list_;
  uint64_t on_disk_ = 0;  // of the list, from its beginning on
  Random random_{11};
};

int Main(int argc, char** argv) {
  bool quick = false;
  uint64_t set_mib = 1'024;
  uint64_t least_local = 1;
  std::string parent = std::filesystem::temp_directory_path().string();
  CLI::App app("reads of the own node's disk, by the reader itself and through the daemon");
  app.add_flag("--quick", quick, "fewer and shorter rounds");
  app.add_option("--directory", parent, "on the disk that is measured");
  app.add_option("--set", set_mib, "MiB of objects of each size");
  app.add_option("--least-local", least_local, "as disk.least_local");
  CLI11_PARSE(app, argc, argv);
  const std::string directory = parent + "/holdfast-bench-own-disk-" + std::to_string(::getpid());
  std::filesystem::create_directories(directory);
  const uint64_t set_bytes = (quick ? std::min<uint64_t>(set_mib, 512) : set_mib) * kMiB;
  const ServerProcess origin = StartOrigin(0ms);
  nlohmann::ordered_json figures, ratios;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::printf("%-10s %14s %14s %7s %26s\n", "object", "itself", "by the daemon", "ratio",
              "daemon's CPU s/GB, both");
  for (uint64_t bytes : {8 * kKiB, 16 * kKiB, 32 * kKiB, 64 * kKiB, 256 * kKiB, 1 * kMiB}) {
    World world(origin.address(), directory, set_bytes, bytes, least_local);
    const uint64_t objects = std::min(set_bytes / 4 / bytes, quick ? uint64_t{4'000} : 16'000);
    std::vector<double> itself, through, vs, itself_cpu, through_cpu, own;
    for (int round = 0; round < (quick ? 3 : 7); ++round) {
      const Round ours = world.Read(true, objects), daemons = world.Read(false, objects);
      itself.push_back(ours.bytes_per_s);
      through.push_back(daemons.bytes_per_s);
      vs.push_back(ours.bytes_per_s / daemons.bytes_per_s);
      itself_cpu.push_back(ours.cpu_s_per_gb);
      through_cpu.push_back(daemons.cpu_s_per_gb);
      own.push_back(ours.own_disk);
    }
    std::printf("%-10s %12s/s %12s/s %7.2f %12.2f %12.2f   %.0f %% read on the disk\n",
                FormatBytes(bytes).c_str(),
                FormatBytes(static_cast<uint64_t>(Median(itself))).c_str(),
                FormatBytes(static_cast<uint64_t>(Median(through))).c_str(), Median(vs),
                Median(itself_cpu), Median(through_cpu), 100 * Median(own));
    const std::string key = std::to_string(bytes);
    figures["itself_bytes_per_s_" + key] = Median(itself);
    figures["by_daemon_bytes_per_s_" + key] = Median(through);
    figures["itself_daemon_cpu_s_per_gb_" + key] = Median(itself_cpu);
    figures["by_daemon_cpu_s_per_gb_" + key] = Median(through_cpu);
    ratios["itself_vs_daemon_" + key] = Median(vs);
  }
  std::filesystem::remove_all(directory);
  const nlohmann::ordered_json line{
      {"bench", "own_disk"}, {"figures", figures}, {"ratios", ratios}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::Main(argc, argv); }
