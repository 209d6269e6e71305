// SPDX-License-Identifier: Apache-2.0
// bench snapshot: virtual snapshots of eight real daemons. How long one takes, how many bytes it is,
// what reading loses meanwhile, and how fast the log is loaded and decided by.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "bench/dynamic_world.h"
#include "snapshot/decision.h"

namespace holdfast::bench {
namespace {

constexpr uint32_t kObjectBytes = 128;
constexpr uint64_t kBytesPerObject = 640;  // of a node's memory: record, index, room to reclaim
constexpr int kCollects = 7;
constexpr int kLogFrames = 30;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// A job that reads objects by way of their homes, all the while.
class Reading {
 public:
  Reading(World* world, uint32_t objects)
      : thread_([this, world, objects] { Run(world, objects); }) {}
  ~Reading() {
    stop_ = true;
    thread_.join();
  }
  // Objects a second over the next `seconds`.
  double RateOver(double seconds) const {
    const uint64_t before = count_;
    const double since = Now();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    return static_cast<double>(count_ - before) / (Now() - since);
  }
  uint64_t count() const { return count_; }

 private:
  void Run(World* world, uint32_t objects) {
    Random random(3);
    while (!stop_) {
      std::vector<ObjectList::Item> items;
      for (int i = 0; i < 512; ++i) {
        items.push_back(
            {.uri = world->name(static_cast<uint32_t>(random.Below(objects))), .etag = {}});
      }
      world->client().GetMany(items, [this](size_t, Result<Object> object) {
        if (object.ok()) ++count_;
      });
    }
  }
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> count_{0};
  std::thread thread_;
};

struct Figures {
  double full_bytes = 0;
  double diff_bytes = 0;
  std::vector<double> collect_s;
  double disturbed = 0;  // rate of reading while snapshots are taken, of the rate without
};

// Reads only what is there already, so that reading changes nothing.
Figures Collect(World* world, uint32_t objects, uint32_t changes) {
  Figures figures;
  const Collected first = world->Snapshot(true);
  figures.full_bytes = static_cast<double>(first.frame.size()) / static_cast<double>(first.objects);
  world->PlaceEach(objects, objects + changes);
  const Collected next = world->Snapshot();
  figures.diff_bytes =
      static_cast<double>(next.frame.size()) / static_cast<double>(next.added + next.removed);
  std::printf("%llu objects: full snapshot %zu bytes; difference of %llu: %zu bytes\n",
              static_cast<unsigned long long>(first.objects), first.frame.size(),
              static_cast<unsigned long long>(next.added + next.removed), next.frame.size());
  Reading reading(world, objects / 16);
  reading.RateOver(3);  // once: these objects come to their homes
  std::vector<double> shares;
  for (int i = 0; i < kCollects; ++i) {
    const double quiet = reading.RateOver(2);
    const uint64_t before = reading.count();
    const double since = Now();
    figures.collect_s.push_back(static_cast<double>(world->Snapshot(true).took.count()) / 1e6);
    const double rest = 2 - (Now() - since);  // a snapshot every two seconds: 30 times the most
    if (rest > 0) std::this_thread::sleep_for(std::chrono::duration<double>(rest));
    shares.push_back(static_cast<double>(reading.count() - before) / (Now() - since) / quiet);
  }
  figures.disturbed = Median(shares);
  return figures;
}

// A log of that many frames, one full and then differences of a thirtieth, out of made-up listings.
std::vector<std::vector<std::byte>> MakeLog(uint32_t objects, uint64_t* bytes) {
  Random random(5);
  snapshot::SnapshotLog log(1);
  std::vector<snapshot::NodeListing> nodes;
  for (NodeId id = 0; id < kNodes; ++id) {
    nodes.push_back({.node = id, .incarnation = 1, .answered = true});
    for (uint32_t i = 0; i < objects / kNodes; ++i) {
      nodes[id].objects.push_back(
          {snapshot::PrintOf(random.Next()), Duration(random.Below(1ull << 34))});
    }
  }
  std::vector<std::vector<std::byte>> frames;
  for (int frame = 0; frame < kLogFrames; ++frame) {
    for (snapshot::NodeListing& node : nodes) {
      for (snapshot::HeldObject& object : node.objects) {
        object.age += 60s;
        if (frame > 0 && random.Below(kLogFrames) == 0) {
          object = {snapshot::PrintOf(random.Next()), Duration(random.Below(60'000'000))};
        }
      }
      std::sort(node.objects.begin(), node.objects.end(),
                [](const auto& a, const auto& b) { return a.print < b.print; });
    }
    frames.push_back(log.Append({(1'000'000 + frame * 60) * int64_t{1'000'000}}, nodes, {}, false));
    *bytes += frames.back().size();
  }
  return frames;
}

double DecisionsPerS(const snapshot::SnapshotLog& log) {
  snapshot::Beliefs beliefs({});
  snapshot::Costs costs({});
  Random random(9);
  snapshot::Decider decider(&log.known(), &beliefs, &costs, &random, {});
  std::vector<snapshot::Print> prints;
  log.known().ForEach(
      [&](snapshot::Print print, const snapshot::Sighting&) { prints.push_back(print); });
  random.Shuffle(prints);
  std::vector<snapshot::Decision> decisions(prints.size());
  std::vector<double> rates;
  for (int round = 0; round < 5; ++round) {
    const double since = Now();
    decider.DecideMany(prints, {log.stamp().us + 30'000'000}, decisions);
    rates.push_back(static_cast<double>(prints.size()) / (Now() - since));
  }
  return Median(rates);
}

int Main(int argc, char** argv) {
  bool quick = false;
  uint32_t objects = 1'000'000;
  CLI::App app("snapshots of real daemons");
  app.add_flag("--quick", quick, "fewer objects in the cluster");
  app.add_option("--objects", objects, "in the cluster");
  CLI11_PARSE(app, argc, argv);
  if (quick) objects = 150'000;
  const uint32_t changes = objects / 100;
  uint64_t log_bytes = 0;
  const std::vector<std::vector<std::byte>> frames = MakeLog(1'000'000, &log_bytes);
  std::vector<double> loads;
  snapshot::SnapshotLog log(1);
  for (int round = 0; round < 3; ++round) {
    log = snapshot::SnapshotLog(1);
    const double since = Now();
    for (const auto& frame : frames) {
      if (!log.Apply(frame).ok()) return 1;
    }
    loads.push_back(Now() - since);
  }
  const double decisions = DecisionsPerS(log);
  const double memory =
      static_cast<double>(log.known().memory_bytes()) / static_cast<double>(log.known().size());
  std::printf(
      "a log of %d snapshots of 10^6 objects: %.1f MB, loaded in %.3f s; %.1f bytes of memory an "
      "object; "
      "%.1f M decisions/s\n",
      kLogFrames, static_cast<double>(log_bytes) / 1e6, Median(loads), memory, decisions / 1e6);
  WorldOptions options;
  options.objects = objects + changes;
  options.object_bytes = kObjectBytes;
  options.node_bytes = 64 * kMiB + objects * kBytesPerObject / kNodes;
  options.index_objects = objects / kNodes * 2;
  options.delay = Duration(0);
  World world(options);
  world.PlaceEach(0, objects);
  const Figures figures = Collect(&world, objects, changes);
  std::printf("a snapshot of eight daemons takes %.3f s; reading goes on at %.2f of its rate\n",
              Median(figures.collect_s), figures.disturbed);
  nlohmann::ordered_json line{{"bench", "snapshot"},
                              {"figures",
                               {{"objects", objects},
                                {"full_bytes_per_object", figures.full_bytes},
                                {"diff_bytes_per_object", figures.diff_bytes},
                                {"collect_s", Median(figures.collect_s)},
                                {"log_load_s", Median(loads)},
                                {"log_bytes_per_object", static_cast<double>(log_bytes) / 1e6},
                                {"memory_bytes_per_object", memory},
                                {"decisions_per_s", decisions}}},
                              {"ratios", {{"reads_while_collecting", figures.disturbed}}}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::Main(argc, argv); }
