// SPDX-License-Identifier: Apache-2.0
// bench peer: another node's objects over loopback TCP, 64 in flight, into the reader's buffers,
// checksums verified, beside memcached. Rounds are interleaved, both under the same congestion
// control; CPU is that of both ends.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>

#include "base/hash.h"
#include "base/random.h"
#include "bench/memcached_client.h"
#include "bench/peer_node.h"
#include "io/bulk/client_loop.h"

namespace holdfast::bench {
namespace {

constexpr uint32_t kWindow = 64;
constexpr const char* kCongestionFile = "/proc/sys/net/ipv4/tcp_congestion_control";

double Clock(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// memcached's sockets can only be given another congestion control through the machine's default.
// It is set back however the program ends, short of SIGKILL.
class Congestion {
 public:
  static void UseCubic() {
    before_ = Get();
    if (before_.empty() || before_ == "cubic" || !Set("cubic")) return;
    std::atexit(Restore);
    for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
      std::signal(signal, [](int) {
        Restore();
        _exit(1);
      });
    }
  }
  static std::string Get() {
    std::string name;
    std::ifstream(kCongestionFile) >> name;
    return name;
  }

 private:
  // With what a signal handler may call.
  static bool Set(const std::string& name) {
    int fd = open(kCongestionFile, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool set = write(fd, name.data(), name.size()) == static_cast<ssize_t>(name.size());
    close(fd);
    return set;
  }
  static void Restore() { Set(before_); }
  static inline std::string before_;
};

// One side in one round.
struct Sample {
  double objects_per_s = 0;
  double cpu_us = 0;  // per object, both ends
};

template <typename T, typename Key>
double Median(std::vector<T> samples, Key key) {
  std::vector<double> values;
  for (const T& sample : samples) values.push_back(key(sample));
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// A set of objects, how it is read, and both servers' answers to it.
struct Workload {
  ObjectSet set;
  uint32_t reads = 0;  // of a round
  const char* name = "";
  std::vector<uint64_t> hashes{};
  MemcachedOptions best{};  // of memcached's client
  std::vector<Sample> ours{};
  std::vector<Sample> theirs{};
};

class Bench {
 public:
  explicit Bench(bool quick) : quick_(quick), rounds_(quick ? 9 : 21) {
    workloads_[0] = {.set = {.size = 100'000, .count = 2000, .first = 0},
                     .reads = quick ? 8'000u : 16'000u,
                     .name = "100k"};
    workloads_[1] = {.set = {.size = 1000, .count = 100'000, .first = 1'000'000},
                     .reads = quick ? 200'000u : 400'000u,
                     .name = "1k"};
  }
  void Run();

 private:
  void Start();
  void ChooseMemcached();
  std::vector<uint32_t> Order(const Workload& w, uint32_t reads) {
    std::vector<uint32_t> order(reads);
    for (uint32_t& i : order) i = static_cast<uint32_t>(random_.Below(w.set.count));
    return order;
  }
  template <typename Read>
  Sample Measure(const Child& server, size_t objects, Read read);
  Sample ReadOurs(const Workload& w, const std::vector<uint32_t>& order);
  Sample ReadTheirs(const Workload& w, MemcachedClient* client, const std::vector<uint32_t>& order);
  void Print() const;

  bool quick_;
  size_t rounds_;
  std::array<Workload, 2> workloads_;
  Random random_{1};
  std::vector<ByteSpan> buffers_;
  Child node_;
  std::string node_endpoint_;
  std::string node_memory_;
  Child memcached_;
  std::string memcached_endpoint_;
  uint32_t memcached_threads_ = 1;
  std::unique_ptr<bulk::ClientLoop> loop_;
};

[[noreturn]] void Die(const Status& status) {
  std::fprintf(stderr, "bench_peer: %s\n", status.ToString().c_str());
  std::exit(1);
}

void Bench::Start() {
  auto node = StartNode({workloads_[0].set, workloads_[1].set}, &node_endpoint_, &node_memory_);
  if (!node.ok()) Die(node.status());
  node_ = *std::move(node);
  loop_ = std::make_unique<bulk::ClientLoop>(bulk::BulkClientOptions{.window_items = kWindow});
  for (Workload& w : workloads_) {
    std::vector<std::byte> bytes(w.set.size);
    for (uint32_t i = 0; i < w.set.count; ++i) {
      w.set.Fill(i, bytes);
      w.hashes.push_back(Hash64(bytes));
    }
  }
  // The reader's buffers, as many as are in flight.
  constexpr size_t kBuffers = kWindow;
  constexpr size_t kBufferBytes = 128 * kKiB;
  void* memory = mmap(nullptr, kBuffers * kBufferBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  HF_CHECK(memory != MAP_FAILED);
  for (size_t i = 0; i < kBuffers; ++i) {
    buffers_.push_back({static_cast<std::byte*>(memory) + i * kBufferBytes, kBufferBytes});
  }
}

template <typename Read>
Sample Bench::Measure(const Child& server, size_t objects, Read read) {
  double cpu = server.CpuSeconds() + Clock(CLOCK_PROCESS_CPUTIME_ID);
  double start = Clock(CLOCK_MONOTONIC);
  read();
  double seconds = Clock(CLOCK_MONOTONIC) - start;
  cpu = server.CpuSeconds() + Clock(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  auto n = static_cast<double>(objects);
  return {.objects_per_s = n / seconds, .cpu_us = cpu / n * 1e6};
}

Sample Bench::ReadOurs(const Workload& w, const std::vector<uint32_t>& order) {
  std::vector<BulkItem> items(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    items[i].oid = w.set.OidOf(order[i]);
    items[i].size = w.set.size;
    items[i].into = buffers_[i % buffers_.size()].first(w.set.size);
  }
  return Measure(node_, order.size(), [&] {
    loop_->Submit(node_endpoint_, BulkMode::kLook, std::move(items), Time::Max(),
                  [&](size_t i, BulkOutcome outcome) {
                    if (!outcome.status.ok()) Die(outcome.status);
                    if (outcome.hash != w.hashes[order[i]]) Die(Status::Corrupt("wrong bytes"));
                  });
    while (loop_->items_left() > 0) loop_->RunOnce(std::chrono::seconds(1));
  });
}

Sample Bench::ReadTheirs(const Workload& w, MemcachedClient* client,
                         const std::vector<uint32_t>& order) {
  return Measure(memcached_, order.size(), [&] { client->Read(w.set, order, buffers_, w.hashes); });
}

// memcached at its best: by threads, connections and keys per command, for each size the fastest of
// short runs.
void Bench::ChooseMemcached() {
  uint64_t bytes = 256 * kMiB;
  for (const Workload& w : workloads_) bytes += 2 * w.set.count * w.set.size;
  double best_product = 0;
  for (uint32_t threads : quick_ ? std::vector{1u, 4u} : std::vector{1u, 2u, 4u}) {
    std::string endpoint;
    auto started = StartMemcached(threads, bytes, &endpoint);
    if (!started.ok()) Die(started.status());
    std::swap(memcached_, *started);
    for (const Workload& w : workloads_) MemcachedClient(endpoint, {}).Store(w.set);
    std::array<double, 2> fastest{};
    std::array<MemcachedOptions, 2> options;
    for (size_t k = 0; k < workloads_.size(); ++k) {
      const Workload& w = workloads_[k];
      for (uint32_t connections : {1u, 2u, 4u}) {
        for (uint32_t keys : quick_ ? std::vector{16u} : std::vector{1u, 16u}) {
          MemcachedOptions tried{
              .connections = connections, .window = kWindow, .keys_per_get = keys};
          MemcachedClient client(endpoint, tried);
          auto order = Order(w, w.reads / 4);
          double rate = 0;
          for (int i = 0; i < 2; ++i) {
            rate = std::max(rate, ReadTheirs(w, &client, order).objects_per_s);
          }
          if (rate > fastest[k]) fastest[k] = rate, options[k] = tried;
        }
      }
    }
    // One memcached serves both sizes: the one whose rates are the best together.
    if (fastest[0] * fastest[1] <= best_product) {
      std::swap(memcached_, *started);
      continue;
    }
    best_product = fastest[0] * fastest[1];
    memcached_threads_ = threads;
    memcached_endpoint_ = endpoint;
    for (size_t k = 0; k < workloads_.size(); ++k) workloads_[k].best = options[k];
  }
}

void Bench::Run() {
  Start();
  ChooseMemcached();
  for (Workload& w : workloads_) {
    MemcachedClient client(memcached_endpoint_, w.best);
    ReadOurs(w, Order(w, w.reads / 4));
    ReadTheirs(w, &client, Order(w, w.reads / 4));
    for (size_t round = 0; round < rounds_; ++round) {
      auto order = Order(w, w.reads);
      bool ours_first = round % 2 == 0;
      if (ours_first) w.ours.push_back(ReadOurs(w, order));
      w.theirs.push_back(ReadTheirs(w, &client, order));
      if (!ours_first) w.ours.push_back(ReadOurs(w, order));
    }
  }
  Print();
}

void Bench::Print() const {
  auto rate = [](const Sample& s) { return s.objects_per_s; };
  auto cpu = [](const Sample& s) { return s.cpu_us; };
  std::printf(
      "Reads from another node over loopback TCP (%s), %u in flight, checksums verified, %zu "
      "rounds\n"
      "holdfast: %s; memcached: %u threads\n\n"
      "%-6s %-24s %14s %10s %16s\n",
      Congestion::Get().c_str(), kWindow, rounds_, node_memory_.c_str(), memcached_threads_, "size",
      "server", "objects/s", "GB/s", "CPU us/object");
  std::string figures, ratios;
  for (const Workload& w : workloads_) {
    std::string peer = "memcached (" + std::to_string(w.best.connections) + " conn, " +
                       std::to_string(w.best.keys_per_get) + " keys)";
    double ours_rate = Median(w.ours, rate), theirs_rate = Median(w.theirs, rate);
    double ours_cpu = Median(w.ours, cpu), theirs_cpu = Median(w.theirs, cpu);
    auto bytes = static_cast<double>(w.set.size) * 1e-9;
    std::printf("%-6s %-24s %14.0f %10.2f %16.2f\n", w.name, "holdfast", ours_rate,
                ours_rate * bytes, ours_cpu);
    std::printf("%-6s %-24s %14.0f %10.2f %16.2f\n", w.name, peer.c_str(), theirs_rate,
                theirs_rate * bytes, theirs_cpu);
    // Neighbouring rounds see the same machine: the median of their ratios.
    std::vector<std::pair<double, double>> both;
    for (size_t i = 0; i < w.ours.size(); ++i) {
      both.push_back({w.ours[i].objects_per_s / w.theirs[i].objects_per_s,
                      w.ours[i].cpu_us / w.theirs[i].cpu_us});
    }
    double get_ratio = Median(both, [](const auto& p) { return p.first; });
    double cpu_ratio = Median(both, [](const auto& p) { return p.second; });
    std::printf("%-6s %-24s %14.2f %10s %16.2f\n\n", w.name, "ratio", get_ratio, "", cpu_ratio);
    char text[256];
    std::snprintf(text, sizeof(text),
                  "%s\"get_%s_per_s\":%.0f,\"get_%s_memcached_per_s\":%.0f,\"cpu_%s_us\":%.3f,"
                  "\"cpu_%s_memcached_us\":%.3f",
                  figures.empty() ? "" : ",", w.name, ours_rate, w.name, theirs_rate, w.name,
                  ours_cpu, w.name, theirs_cpu);
    figures += text;
    std::snprintf(text, sizeof(text), "%s\"get_%s_vs_memcached\":%.3f,\"cpu_%s_vs_memcached\":%.3f",
                  ratios.empty() ? "" : ",", w.name, get_ratio, w.name, cpu_ratio);
    ratios += text;
  }
  std::printf("{\"bench\":\"peer\",\"figures\":{%s},\"ratios\":{%s}}\n", figures.c_str(),
              ratios.c_str());
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  bool quick = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      quick = true;
      continue;
    }
    bool help = std::strcmp(argv[i], "--help") == 0;
    std::fprintf(
        help ? stdout : stderr,
        "usage: bench_peer [--quick]\n\nReads objects from another node and from memcached "
        "(/usr/bin/memcached) over loopback TCP.\n  --quick  fewer and shorter rounds: "
        "within 50 seconds\n");
    return help ? 0 : 2;
  }
  holdfast::bench::Congestion::UseCubic();
  holdfast::bench::Bench(quick).Run();
  return 0;
}
