// SPDX-License-Identifier: Apache-2.0
// bench evict: the hit ratio of a node's memory tier on request traces, beside FIFO, LRU, SIEVE,
// S3-FIFO and Belady over the same requests and bytes; with known next uses; and once more through
// real mapped readers.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/units.h"
#include "bench/evict_holdfast.h"

namespace holdfast::bench {
namespace {

// A cache that would be larger is replayed with smaller objects.
constexpr uint64_t kMostBytes = 256 * kMiB;

struct NamedPolicy {
  const char* name;
  MakePolicy make;
};
constexpr NamedPolicy kPolicies[] = {{"fifo", MakeFifo},
                                     {"lru", MakeLru},
                                     {"sieve", MakeSieve},
                                     {"s3fifo", MakeS3Fifo},
                                     {"holdfast", MakeHoldfast},
                                     {"belady", MakeBelady},
                                     {"holdfast_known", MakeHoldfastKnown}};
constexpr const char* kMapped = "holdfast_mapped";

struct HitRatio {
  double requests = 0;
  double bytes = 0;
};
using HitRatios = std::map<std::string, HitRatio>;  // by policy

HitRatio Replay(const Trace& trace, Policy* policy) {
  uint64_t hits = 0, hit_bytes = 0, bytes = 0;
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    const uint64_t size = trace.sizes[trace.requests[i]];
    const bool hit = policy->Request(trace.requests[i], trace.next[i]);
    hits += hit ? 1 : 0;
    hit_bytes += hit ? size : 0;
    bytes += size;
  }
  return {static_cast<double>(hits) / static_cast<double>(trace.requests.size()),
          static_cast<double>(hit_bytes) / static_cast<double>(bytes)};
}

HitRatios ReplayAll(Trace* trace, double share) {
  auto bytes = [&] {
    return static_cast<uint64_t>(static_cast<double>(trace->FootprintBytes()) * share);
  };
  if (bytes() > kMostBytes) ScaleDown(trace, static_cast<uint32_t>(bytes() / kMostBytes) + 1);
  const uint64_t capacity = TierCapacity(bytes());
  std::printf("%-20s", trace->name.c_str());
  HitRatios ratios;
  for (const NamedPolicy& policy : kPolicies) {
    ratios[policy.name] = Replay(*trace, policy.make(trace->sizes, capacity).get());
    std::printf(" %6.2f (%5.2f)", 100 * ratios[policy.name].requests,
                100 * ratios[policy.name].bytes);
    std::fflush(stdout);
  }
  const MappedResult mapped = ReplayMapped(*trace, capacity);
  ratios[kMapped].requests = mapped.hit_ratio;
  std::printf(" %6.2f, %.2f marks a request\n", 100 * mapped.hit_ratio, mapped.marks);
  return ratios;
}

void PrintHead(double share, size_t requests) {
  std::printf(
      "hits in percent of the requests (of the bytes); a cache of %.1f %% of all bytes, %zu "
      "requests\n%-20s",
      100 * share, requests, "");
  for (const NamedPolicy& policy : kPolicies) std::printf(" %14s", policy.name);
  std::printf(" %s\n", kMapped);
}

// The worst of what one policy loses against another, in points; 0 when there is no such trace.
double WorstLoss(const std::vector<HitRatios>& results, const char* of, const char* against) {
  double worst = -100;
  for (const HitRatios& ratios : results) {
    worst = std::max(worst, 100 * (ratios.at(against).requests - ratios.at(of).requests));
  }
  return results.empty() ? 0 : worst;
}

nlohmann::ordered_json Means(const std::vector<HitRatios>& results, double HitRatio::*of) {
  nlohmann::ordered_json means;
  for (const auto& [name, first] : results[0]) {
    double sum = 0;
    for (const HitRatios& ratios : results) sum += ratios.at(name).*of;
    if (sum > 0) means[name] = sum / static_cast<double>(results.size());
  }
  return means;
}

int Main(int argc, char** argv) {
  bool quick = false;
  std::string path;
  double percent = 5;
  CLI::App app("hit ratios of eviction policies on request traces");
  app.add_flag("--quick", quick, "three of the made-up traces, half as long");
  app.add_option("--trace", path, "CSV of time, object, size, instead of made-up traces");
  app.add_option("--cache", percent, "percent of the bytes of all objects")
      ->check(CLI::Range(0.1, 100.0));
  CLI11_PARSE(app, argc, argv);
  std::vector<Trace> traces;
  if (path.empty()) {
    traces = quick ? MakeTraces(500'000) : MakeTraces(1'000'000);
    if (quick) std::erase_if(traces, [](const Trace& trace) { return !trace.quick; });
  } else {
    Result<Trace> trace = ReadTrace(path);
    if (!trace.ok()) {
      std::fprintf(stderr, "bench evict: %s\n", trace.status().ToString().c_str());
      return 1;
    }
    traces.push_back(std::move(*trace));
  }
  PrintHead(percent / 100, traces[0].requests.size());
  std::vector<HitRatios> results, skewed;
  nlohmann::ordered_json by_trace;
  for (Trace& trace : traces) {
    results.push_back(ReplayAll(&trace, percent / 100));
    if (trace.skewed) skewed.push_back(results.back());
    for (const auto& [name, ratio] : results.back()) by_trace[trace.name][name] = ratio.requests;
  }
  const double against_s3fifo = WorstLoss(skewed, "holdfast", "s3fifo");
  const double against_belady = WorstLoss(results, "holdfast_known", "belady");
  const double mapped = WorstLoss(results, kMapped, "holdfast");
  std::printf(
      "at worst %.2f points below S3-FIFO on skewed traces (goal 0.5), with known next uses %.2f "
      "below Belady (goal 1), through mapped readers %.2f below (goal 0.5)\n",
      against_s3fifo, against_belady, mapped);
  nlohmann::ordered_json line{{"bench", "evict"},
                              {"figures",
                               {{"hit_ratio", Means(results, &HitRatio::requests)},
                                {"byte_hit_ratio", Means(results, &HitRatio::bytes)},
                                {"worst_points_below_s3fifo", against_s3fifo},
                                {"worst_points_known_below_belady", against_belady},
                                {"worst_points_mapped_below_offline", mapped},
                                {"hit_ratio_by_trace", by_trace}}}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::Main(argc, argv); }
