// SPDX-License-Identifier: Apache-2.0
// bench components: a node's journal and segments on this machine against the same on a storage
// server, with the workload of 1 KB values: puts that are synced, without and with reclaim at work, whose
// bytes are moved by the client, by the storage server, or by a worker beside it;
// gets without a cache, with one that has 98 % of them, and by two nodes at once from one storage
// server. The client is pinned to one core in both set-ups; the storage server has the other one, which
// lies idle when the components are local. Rounds are interleaved, figures are medians.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/components_client.h"
#include "io/bulk/descriptors.h"

namespace holdfast::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kClientCore = 0, kStorageCore = 1;

// One line of a table.
struct Row {
  std::string key;
  std::string text;
  std::vector<Outcome> rounds{};
  std::vector<double> cores{};  // of client and storage server together

  void Add(const Outcome& outcome, double storage_cpu_s) {
    rounds.push_back(outcome);
    cores.push_back((outcome.cpu_s + storage_cpu_s) / outcome.seconds);
  }
  template <typename Of>
  double Median(const Of& of) const {
    std::vector<double> values;
    for (const Outcome& round : rounds) values.push_back(of(round));
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }
  double rate() const {
    return Median([](const Outcome& o) { return static_cast<double>(o.operations) / o.seconds; });
  }
  double MedianCores() const {
    std::vector<double> values = cores;
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }
};

class ComponentsBench {
 public:
  ComponentsBench(std::string directory, int rounds, Duration span, uint64_t objects,
                  uint32_t in_flight)
      : directory_(std::move(directory)),
        rounds_(rounds),
        span_(span),
        storage_(Made("storage"), kStorageCore),
        worker_("", kStorageCore),
        local_(Spec("local", "", 1, kClientCore, objects, in_flight)),
        remote_(Spec("", storage_.endpoint(), 11, kClientCore, objects, in_flight)),
        second_(Spec("", storage_.endpoint(), 21, kStorageCore, objects, in_flight)),
        moved_there_(Moved(31, storage_.endpoint(), objects, in_flight)),
        by_worker_(Moved(41, worker_.endpoint(), objects, in_flight)) {}

  void Run(const std::string& part) {
    if (part.empty() || part == "puts") Puts();
    if (part.empty() || part == "gets") Gets();
    std::printf(
        "%s\n",
        Json{{"bench", "components"}, {"figures", figures_}, {"ratios", ratios_}}.dump().c_str());
  }

 private:
  std::string Made(const std::string& name) {
    std::filesystem::create_directories(directory_);
    std::filesystem::permissions(directory_, std::filesystem::perms::owner_all);
    return directory_ + "/" + name;
  }
  ComponentsSpec Spec(const std::string& name, const std::string& storage, uint32_t node, int core,
                      uint64_t objects, uint32_t in_flight) {
    return {.directory = directory_ + "/" + name,
            .storage = storage,
            .node = node,
            .core = core,
            .objects = objects,
            .in_flight = in_flight};
  }
  ComponentsSpec Moved(uint32_t node, const std::string& reclaim, uint64_t objects,
                       uint32_t in_flight) {
    ComponentsSpec spec = Spec("", storage_.endpoint(), node, kClientCore, objects, in_flight);
    spec.reclaim = reclaim;
    return spec;
  }
  void RunRound(ClientProcess* client, Work work, Row* row) {
    const double before = storage_.CpuSeconds() + worker_.CpuSeconds();
    const Outcome outcome = client->Run(work, span_);
    row->Add(outcome, storage_.CpuSeconds() + worker_.CpuSeconds() - before);
  }
  // Set-ups, two or more; each is opened, filled and warmed before the first round.
  std::vector<Row> SideBySide(Work work, const std::vector<ClientProcess*>& clients,
                              std::vector<Row> rows) {
    for (ClientProcess* client : clients) client->Run(work, 50ms);
    for (int round = 0; round < rounds_; ++round) {
      for (size_t i = 0; i < clients.size(); ++i) RunRound(clients[i], work, &rows[i]);
    }
    return rows;
  }
  std::vector<Row> SideBySide(Work work, const std::string& key) {
    return SideBySide(work, {&local_, &remote_},
                      {{key + "_local", "local"}, {key + "_remote", "remote"}});
  }
  void Print(const char* title, const std::vector<Row>& rows);
  void Puts();
  void Gets();

  std::string directory_;
  int rounds_;
  Duration span_;
  StorageProcess storage_, worker_;
  ClientProcess local_, remote_, second_, moved_there_, by_worker_;
  Json figures_, ratios_;
};

void ComponentsBench::Print(const char* title, const std::vector<Row>& rows) {
  std::printf("%s\n  %-16s %12s   %28s %10s\n", title, "", "per second", "P95/P99/P99.9 ms",
              "cores");
  for (const Row& row : rows) {
    const double p95 = row.Median([](const Outcome& o) { return o.p95_us; });
    const double p99 = row.Median([](const Outcome& o) { return o.p99_us; });
    const double p999 = row.Median([](const Outcome& o) { return o.p999_us; });
    std::printf("  %-16s %12s   %10.3f/%8.3f/%8.3f %10.2f\n", row.text.c_str(),
                FormatCount(static_cast<uint64_t>(row.rate())).c_str(), p95 / 1e3, p99 / 1e3,
                p999 / 1e3, row.MedianCores());
    figures_[row.key] = {{"per_s", row.rate()},
                         {"p95_us", p95},
                         {"p99_us", p99},
                         {"p999_us", p999},
                         {"cores", row.MedianCores()}};
  }
}

void ComponentsBench::Puts() {
  std::vector<Row> puts = SideBySide(Work::kPuts, "puts");
  Print("1. puts, synced", puts);
  ratios_["remote_puts_vs_local"] = puts[1].rate() / puts[0].rate();
  const std::string key = "puts_with_reclaim_";
  std::vector<Row> reclaim =
      SideBySide(Work::kPutsAndReclaim, {&local_, &remote_, &moved_there_, &by_worker_},
                 {{key + "local", "local"},
                  {key + "remote", "remote"},
                  {key + "moved_there", "moved there"},
                  {key + "by_worker", "by a worker"}});
  Print("2. puts, synced, with reclaim at work", reclaim);
  ratios_["remote_puts_with_reclaim_vs_local"] = reclaim[1].rate() / reclaim[0].rate();
  ratios_["puts_with_reclaim_moved_there_vs_local"] = reclaim[2].rate() / reclaim[0].rate();
  ratios_["puts_with_reclaim_by_worker_vs_local"] = reclaim[3].rate() / reclaim[0].rate();
  for (size_t i : {2, 3}) {
    figures_[reclaim[i].key]["moves_here"] =
        reclaim[i].Median([](const Outcome& o) { return static_cast<double>(o.moves_here); });
    figures_[reclaim[i].key]["moves_elsewhere"] =
        reclaim[i].Median([](const Outcome& o) { return static_cast<double>(o.moves_elsewhere); });
  }
}

void ComponentsBench::Gets() {
  std::vector<Row> gets = SideBySide(Work::kGets, "gets");
  Print("3. gets, without a cache", gets);
  ratios_["remote_gets_vs_local"] = gets[1].rate() / gets[0].rate();
  std::vector<Row> cached = SideBySide(Work::kCachedGets, "cached_gets");
  Row two{"cached_gets_two_nodes", "remote, 2 nodes"};
  second_.Run(Work::kCachedGets, 50ms);
  for (int round = 0; round < rounds_; ++round) {
    const double before = storage_.CpuSeconds();
    remote_.Begin(Work::kCachedGets, span_);
    second_.Begin(Work::kCachedGets, span_);
    Outcome both = remote_.Await();
    const Outcome second = second_.Await();
    both.operations += second.operations;
    both.cpu_s += second.cpu_s;
    both.p95_us = std::max(both.p95_us, second.p95_us);
    both.p99_us = std::max(both.p99_us, second.p99_us);
    both.p999_us = std::max(both.p999_us, second.p999_us);
    two.Add(both, storage_.CpuSeconds() - before);
  }
  cached.push_back(two);
  char title[64];
  std::snprintf(title, sizeof(title), "4. gets, with a cache that has %.1f %%",
                100 * cached[1].Median([](const Outcome& o) { return o.hits; }));
  Print(title, cached);
  ratios_["cached_remote_gets_vs_local"] = cached[1].rate() / cached[0].rate();
  ratios_["two_nodes_vs_local"] = cached[2].rate() / cached[0].rate();
}

int Main(int argc, char** argv) {
  bool quick = false;
  std::string part;
  std::string parent = std::filesystem::temp_directory_path().string();
  uint32_t in_flight = 2048;
  CLI::App app("a node's components on its own machine and on another one");
  app.add_flag("--quick", quick, "fewer and shorter rounds");
  app.add_option("--directory", parent, "on the disk that is measured");
  app.add_option("--in-flight", in_flight, "puts");
  app.add_option("--part", part, "only this part")->check(CLI::IsMember({"puts", "gets"}));
  CLI11_PARSE(app, argc, argv);
  bulk::RaiseDescriptorLimit();
  const std::string directory = parent + "/holdfast-bench-components-" + std::to_string(::getpid());
  ComponentsBench(directory, quick ? 5 : 9, quick ? 700ms : 2000ms, 400'000, in_flight).Run(part);
  std::filesystem::remove_all(directory);
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::Main(argc, argv); }
