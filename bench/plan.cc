// SPDX-License-Identifier: Apache-2.0
// bench plan: a list of 10^6 objects through real node processes, from the call to the last
// acknowledged confirm.
//   cold   nothing is local and no node knows the manifest; the job needs 90 % of what the cluster can promise
//   warm   everything is local, the manifest is a new one
//   again  everything is local, a second job with the same set in another order
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/uri.h"
#include "bench/plan_node.h"
#include "cached/store/memory_tier.h"
#include "io/net/event_loop.h"
#include "io/net/log_sink.h"
#include "io/net/zmq_network.h"
#include "jobclient/job.h"

namespace holdfast::bench {
namespace {

constexpr uint64_t kObjectBytes = 1000;
constexpr double kShare = 0.90;

struct Sample {
  double seconds = 0;
  double confirmed_share = 0;
  double busiest_vs_mean = 0;
  double bids_per_object = 0;
  uint64_t calls = 0;
  uint64_t manifest_bytes = 0;
};

ObjectList MakeList(size_t count, size_t first, uint64_t shuffle_seed) {
  std::vector<uint32_t> order(count);
  for (size_t i = 0; i < count; ++i) order[i] = static_cast<uint32_t>(first + i);
  Random random(shuffle_seed);
  random.Shuffle(order);
  ObjectList list;
  char name[96], etag[40];
  for (uint32_t number : order) {
    std::snprintf(name, sizeof(name), "s3+http://127.0.0.1:9000/train/part-%03u/%08u.bin",
                  number % 512, number);
    std::snprintf(etag, sizeof(etag), "%016llx", static_cast<unsigned long long>(Mix64(number)));
    Status added = list.Add(name, kObjectBytes, etag);
    HF_CHECK(added.ok());
  }
  return list;
}

class Cluster {
 public:
  Cluster(uint16_t nodes, uint64_t objects)
      : log_({.program = "bench_plan", .level = LogLevel::kWarn}), random_(1) {
    // What one record takes with its name and ETag, over the share that can be promised (three
    // quarters, about).
    uint64_t record = shm::RecordBytes(kObjectBytes, 64, 16);
    uint64_t need = static_cast<uint64_t>(static_cast<double>(record * objects) / kShare);
    uint64_t memory = FindMemory(need / nodes, objects / nodes * 2);
    nodes_ = StartNodes({nodes, memory, objects / nodes * 2});
    loop_ = *net::EventLoop::Create();
    network_ = *net::ZmqNetwork::Open(loop_.get(), {}, {}, &log_);
  }
  ~Cluster() { StopNodes(nodes_); }

  // Plans `list` as a new job and waits until everything that was promised is there.
  Sample Run(const ObjectList& list) {
    jobclient::JobOptions options;
    for (NodeId id = 0; id < nodes_.endpoints.size(); ++id)
      options.members.push_back({id, nodes_.endpoints[id]});
    options.lease = 30s;
    options.hello_timeout = 5s;
    Env env{loop_.get(), network_.get(), nullptr, &random_, &log_};
    jobclient::Job job(env, options);
    Result<jobclient::PlanReport> report = Status::Timeout("no plan");
    job.Plan(&list, [&](Result<jobclient::PlanReport> planned) {
      report = std::move(planned);
      loop_->Stop();
    });
    loop_->Run();
    HF_CHECK(report.ok());
    WaitForLoads(job);
    job.End();
    RunFor(300ms);
    return Describe(*report);
  }

 private:
  static uint64_t FindMemory(uint64_t promisable, uint64_t objects) {
    for (uint64_t memory = promisable;; memory += promisable / 64) {
      store::MemoryTierOptions options{
          .memory_bytes = memory, .index_objects = objects, .node = 0, .incarnation = 1};
      Result<shm::RegionPlan> plan = store::PlanRegion(options);
      if (!plan.ok()) continue;
      Buffer region(plan->region_bytes);
      std::memset(region.data(), 0, plan->segment_offset);
      store::Sessions sessions(plan->segments);
      store::MemoryTier tier(region.span(), *plan, options, &sessions);
      if (tier.PromisableBytes() >= promisable) return memory;
    }
  }

  void RunFor(Duration duration) {
    loop_->At(loop_->Now() + duration, [this] { loop_->Stop(); });
    loop_->Run();
  }

  void WaitForLoads(jobclient::Job& job) {
    uint64_t left = UINT64_MAX;
    for (int tries = 0; left > 0 && tries < 600; ++tries) {
      RunFor(500ms);
      if (job.ClusterProgress().known) left = job.ClusterProgress().loads_left;
    }
  }

  static Sample Describe(const jobclient::PlanReport& report) {
    Sample sample;
    sample.seconds = static_cast<double>(report.planned_in.count()) / 1e6;
    auto objects = static_cast<double>(report.objects);
    sample.confirmed_share = 1 - static_cast<double>(report.far_objects) / objects;
    sample.bids_per_object = static_cast<double>(report.bids) / objects;
    sample.calls = report.calls;
    sample.manifest_bytes = report.manifest_bytes_sent;
    uint64_t busiest = 0, sum = 0;
    for (const auto& node : report.nodes) {
      busiest = std::max(busiest, node.bytes);
      sum += node.bytes;
    }
    sample.busiest_vs_mean = static_cast<double>(busiest) *
                             static_cast<double>(report.nodes.size()) /
                             static_cast<double>(std::max<uint64_t>(sum, 1));
    return sample;
  }

  net::LogSink log_;
  Random random_;
  PlanNodes nodes_;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<net::ZmqNetwork> network_;
};

Sample Median(std::vector<Sample> samples) {
  std::sort(samples.begin(), samples.end(),
            [](const Sample& a, const Sample& b) { return a.seconds < b.seconds; });
  return samples[samples.size() / 2];
}

struct Row {
  Sample cold, warm, again;
};

Row Measure(uint16_t nodes, size_t objects, int rounds) {
  ObjectList all = MakeList(objects, 0, 1);
  ObjectList fewer = MakeList(objects - 1, 0, 2);  // another set of what is local: another manifest
  ObjectList reordered = MakeList(objects, 0, 3);
  std::vector<Sample> cold, warm, again;
  for (int round = 0; round < rounds; ++round) {
    Cluster cluster(nodes, objects);
    cold.push_back(cluster.Run(all));
    warm.push_back(cluster.Run(fewer));
    again.push_back(cluster.Run(reordered));
  }
  return {Median(cold), Median(warm), Median(again)};
}

void Print(uint16_t nodes, size_t objects, const char* name, const Sample& sample) {
  std::printf("%5u  %8zu  %-6s %8.3f  %9.5f  %8.3f  %8.2f  %5llu  %12llu\n", unsigned{nodes},
              objects, name, sample.seconds, sample.confirmed_share, sample.busiest_vs_mean,
              sample.bids_per_object, static_cast<unsigned long long>(sample.calls),
              static_cast<unsigned long long>(sample.manifest_bytes));
  std::fflush(stdout);
}

int Main(bool quick, size_t objects, int rounds) {
  std::printf("nodes   objects  state   seconds  confirmed  busiest/  bids per  calls  manifest\n");
  std::printf(
      "                         (median)     share      mean    object         bytes sent\n");
  std::vector<uint16_t> counts =
      quick ? std::vector<uint16_t>{8} : std::vector<uint16_t>{8, 1, 2, 4, 16};
  Row main_row;
  nlohmann::ordered_json growth;
  for (uint16_t nodes : counts) {
    Row row = Measure(nodes, objects, nodes == 8 ? rounds : std::min(rounds, 3));
    Print(nodes, objects, "cold", row.cold);
    Print(nodes, objects, "warm", row.warm);
    Print(nodes, objects, "again", row.again);
    if (nodes == 8) main_row = row;
    growth["cold_s_" + std::to_string(nodes) + "_nodes"] = row.cold.seconds;
  }
  nlohmann::ordered_json figures{{"cold_s", main_row.cold.seconds},
                                 {"warm_s", main_row.warm.seconds},
                                 {"again_s", main_row.again.seconds},
                                 {"again_manifest_bytes", main_row.again.manifest_bytes},
                                 {"confirmed_share", main_row.cold.confirmed_share},
                                 {"busiest_vs_mean", main_row.cold.busiest_vs_mean},
                                 {"bids_per_object", main_row.cold.bids_per_object},
                                 {"calls", main_row.cold.calls},
                                 {"objects", objects}};
  figures.update(growth);
  nlohmann::ordered_json line{
      {"bench", "plan"}, {"figures", figures}, {"ratios", nlohmann::ordered_json::object()}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  if (argc == 6 && std::strcmp(argv[1], "node") == 0) holdfast::bench::RunNode(argv);
  CLI::App app("Plans a list through node processes; prints a table and a line of JSON.",
               "bench_plan");
  bool quick = false;
  size_t objects = 1'000'000;
  int rounds = 0;
  app.add_flag("--quick", quick, "8 nodes only, few rounds: within 50 seconds");
  app.add_option("--objects", objects, "in the list")->check(CLI::Range(1'000, 4'000'000));
  app.add_option("--rounds", rounds, "0: 5, or 2 when quick");
  CLI11_PARSE(app, argc, argv);
  return holdfast::bench::Main(quick, objects, rounds > 0 ? rounds : (quick ? 2 : 5));
}
