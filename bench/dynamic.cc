// SPDX-License-Identifier: Apache-2.0
// bench dynamic: a job that does not know its next object, over eight real daemons under churn and
// an origin with 30 ms to the first byte; 64 reads in flight. The same reads with
//   perfect   the true place of each object, from the daemons' own memory
//   look      a look wherever the snapshot log names a node, however unlikely
//   far       no look: by way of the home at once
//   ours      the decision of the client
// Rounds of the four are interleaved; before each, objects are placed at random nodes and a
// snapshot is taken; other objects come all the while. Far requests are those of the nodes and the
// client without those for the other objects; an object counts as absent when no node has it at the
// time of its read.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <vector>

#include "bench/dynamic_world.h"
#include "jobclient/client/parts.h"

namespace holdfast::bench {
namespace {

using snapshot::Decision;
using snapshot::Way;

enum Policy { kPerfect, kLook, kFar, kOurs, kPolicies };
constexpr const char* kNames[] = {"perfect", "look", "far", "ours"};
constexpr uint32_t kInFlight = 64;
// What a policy leaves behind is what the next one finds: each comes after each other one once
// (Williams, Experimental designs balanced for the estimation of residual effects, 1949).
constexpr Policy kOrder[kPolicies][kPolicies] = {{kPerfect, kLook, kOurs, kFar},
                                                 {kLook, kFar, kPerfect, kOurs},
                                                 {kFar, kOurs, kLook, kPerfect},
                                                 {kOurs, kPerfect, kFar, kLook}};

struct Outcome {
  double mean_us = 0;
  double far_per_absent = 0;
  uint64_t absent = 0;
  uint64_t looks = 0;  // that found it
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// What the client's decision is replaced by.
std::function<Decision(const Oid&)> DecisionOf(Policy policy, World* world,
                                               const std::map<Oid, uint32_t>* numbers,
                                               client::Whereabouts* whereabouts) {
  switch (policy) {
    case kPerfect:
      return [world, numbers](const Oid& oid) {
        const NodeId node = world->Truth(numbers->at(oid));
        return Decision{.way = node == kNoNode ? Way::kUnknown : Way::kLook, .node = node};
      };
    case kLook:
      return [whereabouts](const Oid& oid) {
        std::array<snapshot::Sighting, snapshot::Known::kMost> seen;
        Decision decision;
        if (whereabouts->log().known().Find(snapshot::PrintOf(oid), seen) > 0) {
          decision = {.way = Way::kLook, .node = seen[0].node};
        }
        return decision;
      };
    case kFar:
      return [](const Oid&) { return Decision{}; };
    default:
      return {};
  }
}

class Job {
 public:
  Job(World* world, uint32_t objects) : world_(world), objects_(objects) {
    for (uint32_t i = 0; i < objects; ++i) numbers_[world->oid(i)] = i;
  }

  Outcome Run(Policy policy, uint32_t reads, uint64_t seed) {
    client::Whereabouts* whereabouts = ClientInternals::Of(world_->client()).whereabouts.get();
    ClientInternals::Of(world_->client()).thread->Call([&] {
      whereabouts->DecideBy(DecisionOf(policy, world_, &numbers_, whereabouts));
    });
    absent_.clear();
    Outcome outcome;
    std::atomic<uint32_t> left{reads};
    std::atomic<uint64_t> found{0};
    std::atomic<int64_t> sum_us{0};
    const uint64_t far = world_->FarRequests();
    world_->StartChurn();
    std::vector<std::thread> threads;
    for (uint32_t t = 0; t < kInFlight; ++t) {
      threads.emplace_back([&, random = Random(seed * kInFlight + t)]() mutable {
        while (left.fetch_sub(1, std::memory_order_relaxed) - 1 < reads) {
          ReadOne(static_cast<uint32_t>(random.Below(objects_)), &sum_us, &found);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const uint64_t others = world_->StopChurn();
    outcome.mean_us = static_cast<double>(sum_us) / reads;
    outcome.absent = absent_.size();
    outcome.looks = found;
    outcome.far_per_absent = static_cast<double>(world_->FarRequests() - far - others) /
                             static_cast<double>(std::max<size_t>(absent_.size(), 1));
    return outcome;
  }

 private:
  void ReadOne(uint32_t object, std::atomic<int64_t>* sum_us, std::atomic<uint64_t>* found) {
    if (world_->Truth(object) == kNoNode) {
      std::lock_guard lock(mutex_);
      absent_.insert(object);
    }
    const auto begun = std::chrono::steady_clock::now();
    Result<Object> read = world_->client().Get(world_->name(object));
    const auto took = std::chrono::steady_clock::now() - begun;
    if (!read.ok()) {
      std::fprintf(stderr, "bench_dynamic: %s\n", read.status().ToString().c_str());
      std::_Exit(1);
    }
    *sum_us += std::chrono::duration_cast<Duration>(took).count();
    if (read->source() == ObjectSource::kPeer) ++*found;
  }

  World* world_;
  uint32_t objects_;
  std::map<Oid, uint32_t> numbers_;
  std::mutex mutex_;
  std::set<uint32_t> absent_;
};

void PrintCurve(const snapshot::SurvivalCurve& curve) {
  std::printf("\nthe survival curve of this run: t_alive %s, half are gone at %s, t_dead %s\n",
              FormatDuration(curve.AgeOf(0.99)).c_str(), FormatDuration(curve.AgeOf(0.5)).c_str(),
              FormatDuration(curve.AgeOf(0.01)).c_str());
  for (int s = 1; s <= 64; s *= 2) {
    const snapshot::Chance chance = curve.At(std::chrono::seconds(s), Duration(0));
    const snapshot::Chance::Range range = chance.Credible(0.95);
    std::printf("  %3d s  %5.1f %%  (%.1f to %.1f)\n", s, 100 * chance.mean, 100 * range.low,
                100 * range.high);
  }
}

// What a look costs against going far, here and now: of the client that decides.
double LookShare(Client& client) {
  auto& parts = ClientInternals::Of(client);
  return parts.thread->Call([&] {
    const snapshot::Costs& costs = parts.whereabouts->costs();
    std::printf(
        "\ncosts, in nanodollars: a look %lld, a hit %lld more, going far %lld; a look pays "
        "above %.2f %%\n",
        static_cast<long long>(costs.look()), static_cast<long long>(costs.hit()),
        static_cast<long long>(costs.far()), 100 * costs.Threshold());
    return static_cast<double>(costs.look()) / static_cast<double>(costs.far());
  });
}

int Main(int argc, char** argv) {
  bool quick = false;
  uint32_t reads = 100'000, rounds = 4;
  WorldOptions options;
  CLI::App app("a dynamic job over real daemons");
  app.add_flag("--quick", quick, "fewer reads");
  app.add_option("--reads", reads, "of each policy, all rounds together");
  app.add_option("--rounds", rounds, "of the four policies; multiples of 4 are balanced");
  app.add_option("--log", options.log_directory, "keep the snapshots there, for holdfast snapshot");
  app.add_option("--churn", options.churn_per_s, "other objects a second");
  CLI11_PARSE(app, argc, argv);
  if (quick) reads = 20'000;
  World world(options);
  Job job(&world, options.objects);
  world.Place(2 * options.objects);  // the rings have turned: objects are of all ages
  std::vector<std::vector<Outcome>> outcomes(kPolicies);
  std::vector<double> collect_s;
  world.Snapshot();
  for (uint32_t round = 0; round < rounds; ++round) {
    for (uint32_t p = 0; p < kPolicies; ++p) {
      const Policy policy = kOrder[round % kPolicies][p];
      world.Place(options.objects / 16);
      collect_s.push_back(static_cast<double>(world.Snapshot().took.count()) / 1e6);
      std::this_thread::sleep_for(1100ms);  // the client asks for the log once a second
      outcomes[policy].push_back(job.Run(policy, reads / rounds, round * kPolicies + p));
    }
  }
  std::vector<double> mean(kPolicies), far(kPolicies);
  std::printf("%-8s %12s %14s %10s %10s\n", "policy", "mean ms", "far/absent", "absent",
              "looks hit");
  for (int p = 0; p < kPolicies; ++p) {
    std::vector<double> means, fars;
    uint64_t absent = 0, looks = 0;
    for (const Outcome& outcome : outcomes[p]) {
      means.push_back(outcome.mean_us);
      fars.push_back(outcome.far_per_absent);
      absent += outcome.absent;
      looks += outcome.looks;
    }
    mean[p] = Median(means);
    far[p] = Median(fars);
    std::printf("%-8s %12.3f %14.4f %10llu %10llu\n", kNames[p], mean[p] / 1e3, far[p],
                static_cast<unsigned long long>(absent), static_cast<unsigned long long>(looks));
  }
  const double look_share = LookShare(world.client());
  PrintCurve(snapshot::SurvivalCurve(world.log().evidence().Together(), {}));
  nlohmann::ordered_json line{{"bench", "dynamic"},
                              {"figures",
                               {{"mean_ms", mean[kOurs] / 1e3},
                                {"far_per_absent_object", far[kOurs]},
                                {"look_vs_far", look_share},
                                {"collect_s", Median(collect_s)}}},
                              {"ratios",
                               {{"latency_vs_perfect", mean[kOurs] / mean[kPerfect]},
                                {"latency_vs_always_look", mean[kOurs] / mean[kLook]},
                                {"latency_vs_always_fetch", mean[kOurs] / mean[kFar]}}}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::Main(argc, argv); }
