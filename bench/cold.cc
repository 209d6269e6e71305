// SPDX-License-Identifier: Apache-2.0
// bench cold: objects that are nowhere in the cluster yet, through one daemon to one local reader,
// checksums on.
//   holdfast  a job plans its list and reads it in order; the daemon loads, the reader takes it from mapped memory
//   libcurl   a plain program on libcurl's multi interface with as many connections as the daemon may use
//   nginx     proxy_cache on tmpfs, read through by the same program; at the connections and workers that cost least
// The time is that from the job's call until its last object was read. Processor time per object is
// that of the origin and the cache (for libcurl: of the origin) with everything they do; the
// reader's own is a column beside it and in no ratio, because nginx's clients receive over a socket
// what ours only looks at.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/cold_clients.h"
#include "bench/servers.h"

namespace holdfast::bench {
namespace {

struct Arguments {
  bool quick = false;
  int rounds = 0;
  std::string only;  // one case's name
  uint32_t delayed_connections = 64;
  uint32_t undelayed_connections = 16;
};

struct Case {
  const char* name;
  uint64_t size;
  Duration delay;
  size_t objects;
  uint32_t connections;
  bool nginx;
};

// Medians of the rounds, of one system.
struct Figures {
  uint64_t size = 0;
  double objects_per_s = 0;
  double server_cpu_us = 0;  // per object
  double client_cpu_us = 0;
  double plan_s = 0;
  double local_share = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

Figures Describe(const std::vector<Run>& runs, const Case& c) {
  const auto median = [&](auto value) {
    std::vector<double> values;
    for (const Run& run : runs) values.push_back(value(run));
    return Median(std::move(values));
  };
  const auto count = static_cast<double>(c.objects);
  return {.size = c.size,
          .objects_per_s = median([&](const Run& run) { return count / run.seconds; }),
          .server_cpu_us = median([&](const Run& run) { return run.server_cpu_s * 1e6 / count; }),
          .client_cpu_us = median([&](const Run& run) { return run.client_cpu_s * 1e6 / count; }),
          .plan_s = median([](const Run& run) { return run.plan_s; }),
          .local_share = median([](const Run& run) { return run.local_share; })};
}

class Bench {
 public:
  explicit Bench(const Arguments& arguments)
      : rounds_(arguments.rounds),
        directory_("/dev/shm/holdfast-bench-cold-" + std::to_string(::getpid())) {
    std::filesystem::create_directories(directory_);
  }
  ~Bench() { std::filesystem::remove_all(directory_); }

  void Measure(const Case& c);
  void PrintJson() const;

 private:
  struct Tuning {
    uint32_t connections = 16;
    int workers = 1;
  };
  ColdSet NewSet(const Case& c, size_t objects) { return MakeColdSet(c.size, objects, ++sets_); }
  Run ReadThroughNginx(const Case& c, const ServerProcess& origin, Tuning tuning, size_t objects);
  Tuning TuneNginx(const Case& c, const ServerProcess& origin);
  void Row(const Case& c, const char* system, uint32_t connections, const Figures& figures);

  const int rounds_;
  const std::string directory_;
  uint64_t sets_ = 0;
  nlohmann::ordered_json figures_;
  std::map<std::string, Figures> rows_;  // "case system"
};

Run Bench::ReadThroughNginx(const Case& c, const ServerProcess& origin, Tuning tuning,
                            size_t objects) {
  ServerProcess nginx = StartNginx(
      {.directory = directory_ + "/nginx", .origin = origin.address(), .workers = tuning.workers});
  Run run =
      RunCurl(NewSet(c, objects), {.base_url = nginx.address(), .connections = tuning.connections},
              {&nginx, &origin});
  nginx.Stop();
  std::filesystem::remove_all(directory_ + "/nginx");
  return run;
}

// What costs nginx and the origin the least processor time for an object.
Bench::Tuning Bench::TuneNginx(const Case& c, const ServerProcess& origin) {
  Tuning best;
  double least = 1e9;
  for (int workers : {1, 2}) {
    for (uint32_t connections : {4u, 8u, 16u, 64u}) {
      const double cost =
          ReadThroughNginx(c, origin, {connections, workers}, c.objects / 4).server_cpu_s;
      if (cost < least) best = {connections, workers};
      least = std::min(least, cost);
    }
  }
  return best;
}

void Bench::Measure(const Case& c) {
  ServerProcess origin = StartOrigin(c.delay);
  const std::string state = directory_ + "/node";
  const uint64_t set_bytes = c.size * c.objects;
  // Two sets and some: a round's loads reclaim what the round before it left behind.
  ServerProcess daemon = StartDaemon({.state_directory = state,
                                      .memory_bytes = 2 * set_bytes + 512 * kMiB,
                                      .far_connections = c.connections});
  HoldfastSpec holdfast{.origin = origin.address(),
                        .control = daemon.address(),
                        .state_directory = state,
                        .verify_all = true};
  const CurlSpec curl{.base_url = origin.address(), .connections = c.connections};
  RunHoldfast(NewSet(c, c.objects), holdfast,
              {&daemon, &origin});  // warms up, and compares all bytes
  holdfast.verify_all = false;
  const Tuning tuning = c.nginx ? TuneNginx(c, origin) : Tuning{};
  std::vector<Run> ours, plain, cached;
  for (int round = 0; round < rounds_; ++round) {
    ours.push_back(RunHoldfast(NewSet(c, c.objects), holdfast, {&daemon, &origin}));
    plain.push_back(RunCurl(NewSet(c, c.objects), curl, {&origin}));
    if (c.nginx) cached.push_back(ReadThroughNginx(c, origin, tuning, c.objects));
  }
  Row(c, "holdfast", c.connections, Describe(ours, c));
  Row(c, "libcurl", c.connections, Describe(plain, c));
  if (c.nginx) Row(c, "nginx", tuning.connections, Describe(cached, c));
}

void Bench::Row(const Case& c, const char* system, uint32_t connections, const Figures& figures) {
  std::printf("%-15s %-9s %5u %10.0f %8.1f %12.1f %10.1f", c.name, system, connections,
              figures.objects_per_s, figures.objects_per_s * static_cast<double>(c.size) / 1e6,
              figures.server_cpu_us, figures.client_cpu_us);
  if (figures.plan_s > 0) {
    std::printf(" %8.1f %9.4f", figures.plan_s * 1e3, figures.local_share);
  }
  std::printf("\n");
  std::fflush(stdout);
  rows_[std::string(c.name) + " " + system] = figures;
  const std::string key = std::string(c.name) + "_" + system;
  figures_[key + "_objects_per_s"] = figures.objects_per_s;
  figures_[key + "_cpu_us"] = figures.server_cpu_us;
  figures_[key + "_reader_cpu_us"] = figures.client_cpu_us;
}

void Bench::PrintJson() const {
  nlohmann::ordered_json ratios;
  for (const char* name : {"delayed_100k", "undelayed_100k", "delayed_20k", "undelayed_20k"}) {
    const auto row = [&](const char* system) { return rows_.find(std::string(name) + system); };
    if (row(" holdfast") == rows_.end()) continue;
    const Figures& ours = row(" holdfast")->second;
    ratios[std::string(name) + "_vs_libcurl"] =
        ours.objects_per_s / row(" libcurl")->second.objects_per_s;
    if (row(" nginx") == rows_.end()) continue;
    ratios[std::string("cpu_") + (ours.size == 100'000 ? "100k" : "20k") + "_vs_nginx"] =
        ours.server_cpu_us / row(" nginx")->second.server_cpu_us;
  }
  const nlohmann::ordered_json line{{"bench", "cold"}, {"figures", figures_}, {"ratios", ratios}};
  std::printf("%s\n", line.dump().c_str());
}

int Main(Arguments arguments) {
  if (arguments.rounds == 0) arguments.rounds = arguments.quick ? 5 : 9;
  std::printf(
      "                           conn-    objects      MB  cache+origin     reader     plan     "
      "read\n");
  std::printf(
      "case            system   ections   per s   per s     µs CPU     µs CPU       ms  locally\n");
  Bench bench(arguments);
  const uint32_t delayed = arguments.delayed_connections;
  const uint32_t undelayed = arguments.undelayed_connections;
  const size_t unit = arguments.quick ? 1 : 3;
  const Case cases[] = {
      {"delayed_100k", 100'000, 30ms, 1'500 * unit, delayed, false},
      {"delayed_20k", 20'000, 30ms, 1'500 * unit, delayed, false},
      {"undelayed_100k", 100'000, 0ms, 5'000 * unit, undelayed, true},
      {"undelayed_20k", 20'000, 0ms, 8'000 * unit, undelayed, true},
  };
  for (const Case& c : cases) {
    if (arguments.only.empty() || arguments.only == c.name) bench.Measure(c);
  }
  bench.PrintJson();
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Cold objects through one daemon, beside libcurl and nginx; prints a table and a line of "
      "JSON.",
      "bench_cold");
  holdfast::bench::Arguments arguments;
  app.add_flag("--quick", arguments.quick, "fewer objects and rounds: within 50 seconds");
  app.add_option("--only", arguments.only, "one case")
      ->check(CLI::IsMember({"delayed_100k", "delayed_20k", "undelayed_100k", "undelayed_20k"}));
  app.add_option("--rounds", arguments.rounds, "0: 9, or 5 when quick");
  app.add_option("--delayed-connections", arguments.delayed_connections, "with 30 ms of delay")
      ->check(CLI::Range(8, 1'024))
      ->capture_default_str();
  app.add_option("--undelayed-connections", arguments.undelayed_connections, "without")
      ->check(CLI::Range(8, 1'024))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return holdfast::bench::Main(arguments);
  } catch (const holdfast::bench::ReaderFailed&) {
    return 3;
  }
}
