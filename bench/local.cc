// SPDX-License-Identifier: Apache-2.0
// Reading one's own node's memory, beside memcached and LMDB: the same objects, order and
// destination buffers, rounds interleaved, medians. Also two client processes, and a node that
// loads and reclaims meanwhile.
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <new>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "bench/local_system.h"

namespace holdfast::bench {
namespace {

constexpr Read kReads[] = {Read::kBatch1k, Read::kSingle1k, Read::kCopy100k, Read::kView100k};

const char* NameOf(Read how) {
  switch (how) {
    case Read::kBatch1k:
      return "batch_1k";
    case Read::kSingle1k:
      return "single_1k";
    case Read::kCopy100k:
      return "copy_100k";
    case Read::kView100k:
      return "view_100k";
  }
  return "";
}

Time Now() {
  struct timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000 + now.tv_nsec / 1000};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// A client with its own order over the objects.
class Reader {
 public:
  Reader(LocalSystem* system, const LocalSet& set, uint64_t seed)
      : client_(system->Connect()), into_(set) {
    Random random(seed);
    for (uint32_t i = 0; i < set.small_count; ++i) small_.push_back(i);
    for (uint32_t i = 0; i < set.large_count; ++i) large_.push_back(i);
    random.Shuffle(small_);
    random.Shuffle(large_);
  }

  // Objects per second over about `span`.
  double Rate(Read how, Duration span) {
    const std::vector<uint32_t>& order = IsLarge(how) ? large_ : small_;
    size_t& at = IsLarge(how) ? at_large_ : at_small_;
    uint64_t reads = 0;
    Time start = Now();
    Time now = start;
    while (now - start < span) {
      if (at + kBatch > order.size()) at = 0;
      client_->Run(how, std::span(order).subspan(at, kBatch), &into_);
      at += kBatch;
      reads += kBatch;
      now = Now();
    }
    client_->Drain(&into_);
    return static_cast<double>(reads) * 1e6 / static_cast<double>((Now() - start).count());
  }

  // Every object once, one at a time, checked.
  void Verify(Read how) {
    bool large = IsLarge(how);
    for (uint32_t index : large ? large_ : small_) {
      client_->Run(how, {&index, 1}, &into_);
      client_->Drain(&into_);
      HF_CHECK(IsObject(large, index, into_.At(how, 0)));
    }
  }

 private:
  std::unique_ptr<LocalClient> client_;
  Destination into_;
  std::vector<uint32_t> small_;
  std::vector<uint32_t> large_;
  size_t at_small_ = 0;
  size_t at_large_ = 0;
};

// Objects per second of two processes at once.
double RateOfTwo(LocalSystem* system, const LocalSet& set, Read how, Duration span) {
  struct Meeting {
    std::atomic<int> here{0};
    double rate[2] = {0, 0};
  };
  void* memory =
      ::mmap(nullptr, sizeof(Meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  HF_CHECK(memory != MAP_FAILED);
  auto* meeting = new (memory) Meeting();
  pid_t children[2];
  for (uint64_t i = 0; i < 2; ++i) {
    children[i] = ::fork();
    if (children[i] != 0) continue;
    {
      Reader reader(system, set, 100 + i);
      meeting->here.fetch_add(1);
      while (meeting->here.load() < 2) ::usleep(100);
      meeting->rate[i] = reader.Rate(how, span);
    }
    ::_exit(0);
  }
  for (pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    HF_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  double rate = meeting->rate[0] + meeting->rate[1];
  ::munmap(memory, sizeof(Meeting));
  return rate;
}

using Rates = std::map<std::string, std::map<Read, std::vector<double>>>;  // by system

class LocalBench {
 public:
  LocalBench(const LocalSet& set, bool quick) : set_(set), quick_(quick) {}
  void Run();

 private:
  void Measure();
  void MeasureTwo();
  void MeasureLoading();
  void Print() const;
  double Of(const Rates& rates, const std::string& system, Read how) const {
    auto found = rates.find(system);
    if (found == rates.end() || !found->second.contains(how)) return 0;
    return Median(found->second.at(how));
  }
  double Best(const Rates& rates, Read how) const {
    return std::max(Of(rates, "memcached, TCP", how), Of(rates, "memcached, unix", how));
  }
  std::string Figure(double rate, Read how) const;
  void PrintTable(const char* title, const Rates& rates) const;

  LocalSet set_;
  bool quick_;
  std::unique_ptr<HoldfastSystem> ours_;
  std::vector<std::unique_ptr<LocalSystem>> peers_;
  Rates one_, two_, loading_;
  Duration node_cpu_{};
  Duration node_wall_{};
  double load_bytes_per_s_ = 0;
};

void LocalBench::Measure() {
  int rounds = quick_ ? 5 : 9;
  Duration span = quick_ ? 250ms : 600ms;
  std::vector<LocalSystem*> systems = {ours_.get()};
  for (auto& peer : peers_) systems.push_back(peer.get());
  std::vector<std::unique_ptr<Reader>> readers;
  for (LocalSystem* system : systems) {
    readers.push_back(std::make_unique<Reader>(system, set_, 7));
    readers.back()->Verify(Read::kBatch1k);
    readers.back()->Verify(Read::kCopy100k);
  }
  for (int round = 0; round < rounds; ++round) {
    for (Read how : kReads) {
      for (size_t i = 0; i < systems.size(); ++i) {
        if (!systems[i]->Can(how)) continue;
        Duration cpu = ours_->NodeCpu();
        Time start = Now();
        one_[systems[i]->name()][how].push_back(readers[i]->Rate(how, span));
        if (i != 0) continue;
        node_cpu_ += ours_->NodeCpu() - cpu;
        node_wall_ += Now() - start;
      }
    }
  }
}

void LocalBench::MeasureTwo() {
  int rounds = quick_ ? 1 : 5;
  Duration span = quick_ ? 250ms : 600ms;
  for (int round = 0; round < rounds; ++round) {
    for (Read how : {Read::kBatch1k, Read::kCopy100k, Read::kView100k}) {
      two_[ours_->name()][how].push_back(RateOfTwo(ours_.get(), set_, how, span));
      for (auto& peer : peers_) {
        if (peer->Can(how))
          two_[peer->name()][how].push_back(RateOfTwo(peer.get(), set_, how, span));
      }
    }
  }
}

void LocalBench::MeasureLoading() {
  Reader reader(ours_.get(), set_, 7);
  reader.Rate(Read::kCopy100k, 100ms);
  ours_->SetLoading(true);
  ::usleep(300'000);
  uint64_t before = ours_->NodeLoadedBytes();
  Time start = Now();
  for (int round = 0; round < (quick_ ? 3 : 7); ++round) {
    for (Read how : kReads) loading_[ours_->name()][how].push_back(reader.Rate(how, 250ms));
  }
  load_bytes_per_s_ = static_cast<double>(ours_->NodeLoadedBytes() - before) * 1e6 /
                      static_cast<double>((Now() - start).count());
  ours_->SetLoading(false);
}

std::string LocalBench::Figure(double rate, Read how) const {
  char text[32];
  if (rate == 0) return "-";
  if (IsLarge(how)) {
    std::snprintf(text, sizeof(text), "%.2f GB/s",
                  rate * static_cast<double>(set_.large_bytes) / 1e9);
  } else {
    std::snprintf(text, sizeof(text), "%.2f M/s", rate / 1e6);
  }
  return text;
}

void LocalBench::PrintTable(const char* title, const Rates& rates) const {
  std::printf("%-30s %14s %14s %14s %14s\n", title, "1 KB, batch 64", "1 KB, single", "100 KB copy",
              "100 KB view");
  for (const char* name : {"holdfast", "LMDB", "memcached, TCP", "memcached, unix"}) {
    if (!rates.contains(name)) continue;
    std::printf("  %-28s", name);
    for (Read how : kReads) std::printf(" %14s", Figure(Of(rates, name, how), how).c_str());
    std::printf("\n");
  }
}

void LocalBench::Print() const {
  std::printf("%s\n\n", ours_->pages().c_str());
  PrintTable("one client process", one_);
  PrintTable("two client processes", two_);
  char title[64];
  std::snprintf(title, sizeof(title), "one, node loads %.2f GB/s", load_bytes_per_s_ / 1e9);
  PrintTable(title, loading_);
  std::printf("\nthe node used %s of processor time during %s of reading\n",
              FormatDuration(node_cpu_).c_str(), FormatDuration(node_wall_).c_str());

  std::printf("{\"bench\":\"local\",\"figures\":{");
  auto figures = [this](const char* prefix, const Rates& rates, const char* system,
                        const char* as) {
    for (Read how : kReads) {
      double rate = Of(rates, system, how);
      if (rate != 0) std::printf("\"%s%s_%s_per_s\":%.0f,", prefix, as, NameOf(how), rate);
    }
  };
  for (const auto& [prefix, rates] :
       {std::pair{"", &one_}, {"two_", &two_}, {"loading_", &loading_}}) {
    figures(prefix, *rates, "holdfast", "holdfast");
    figures(prefix, *rates, "LMDB", "lmdb");
    figures(prefix, *rates, "memcached, TCP", "memcached_tcp");
    figures(prefix, *rates, "memcached, unix", "memcached_unix");
  }
  std::printf("\"loading_bytes_per_s\":%.0f,\"node_cpu_share\":%.4f},\"ratios\":{",
              load_bytes_per_s_,
              static_cast<double>(node_cpu_.count()) / static_cast<double>(node_wall_.count()));
  auto ours = [this](Read how) { return Of(one_, "holdfast", how); };
  auto lmdb = [this](Read how) { return Of(one_, "LMDB", how); };
  if (Best(one_, Read::kBatch1k) != 0) {
    std::printf("\"batch_1k_vs_memcached\":%.3f,\"copy_100k_vs_memcached\":%.3f,",
                ours(Read::kBatch1k) / Best(one_, Read::kBatch1k),
                ours(Read::kCopy100k) / Best(one_, Read::kCopy100k));
  }
  std::printf(
      "\"batch_1k_vs_lmdb\":%.3f,\"single_1k_vs_lmdb\":%.3f,\"copy_100k_vs_lmdb\":%.3f,"
      "\"view_100k_vs_lmdb\":%.3f,\"view_100k_vs_copy\":%.3f}}\n",
      ours(Read::kBatch1k) / lmdb(Read::kBatch1k), ours(Read::kSingle1k) / lmdb(Read::kSingle1k),
      ours(Read::kCopy100k) / lmdb(Read::kCopy100k), ours(Read::kView100k) / lmdb(Read::kView100k),
      ours(Read::kView100k) / ours(Read::kCopy100k));
}

void LocalBench::Run() {
  ours_ = StartHoldfast(set_);
  peers_.push_back(OpenLmdb(set_));
  for (bool unix_socket : {false, true}) {
    auto memcached = StartMemcached(set_, unix_socket);
    if (memcached != nullptr) {
      peers_.push_back(std::move(memcached));
    } else {
      std::fprintf(stderr, "bench local: memcached is not installed; its ratios are left out\n");
    }
  }
  Measure();
  MeasureTwo();
  MeasureLoading();
  Print();
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  bool quick = argc > 1 && std::string(argv[1]) == "--quick";
  if (argc > 1 && !quick) {
    std::fprintf(stderr, "bench_local [--quick]\n");
    return 2;
  }
  holdfast::bench::LocalSet set;
  set.small_count = quick ? 200'000 : 400'000;
  set.large_count = quick ? 3'000 : 5'000;
  holdfast::bench::LocalBench(set, quick).Run();
  return 0;
}
