// SPDX-License-Identifier: Apache-2.0
// bench pack: small objects read once from an origin that answers after 30 ms, by the far store of a
// node, with all bytes checked:
//   each   one request for each object
//   packs  the same objects out of packs; the time begins before the index is loaded
// All are asked for in the order of their OIDs, as a node loads them, so many bytes at a time as a node
// may have under way. In `third` only every third object is wanted, as when three nodes share a list,
// and bytes cost nothing.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/uri.h"
#include "bench/pack_world.h"
#include "io/far/far_store.h"
#include "io/net/event_loop.h"
#include "packs/packed_store.h"

namespace holdfast::bench {
namespace {

constexpr uint64_t kUnderWay = 256 * kMiB;
constexpr uint64_t kPackBytes = 8 * kMiB;

struct Outcome {
  double seconds = 0;
  uint64_t requests = 0;
};

class Quiet : public Log {
 public:
  void Write(LogLevel level, std::string_view line) override {
    if (level > LogLevel::kInfo) std::fprintf(stderr, "%.*s\n", int(line.size()), line.data());
  }
};

// Reads the objects of `wanted`, in that order.
class Reading {
 public:
  Reading(net::EventLoop* loop, FarStore* far, const PackWorld& world,
          const std::vector<size_t>& wanted)
      : loop_(loop), far_(far), world_(world), wanted_(wanted), buffers_(wanted.size()) {}
  void Run() {
    loop_->At(loop_->Now(), [this] { Fill(); });
    loop_->Run();
  }

 private:
  void Fill() {
    while (next_ < wanted_.size() && bytes_ < kUnderWay) {
      const size_t i = next_++;
      const FarEntry& entry = world_.objects()[wanted_[i]];
      buffers_[i] = Buffer(entry.info.size);
      bytes_ += entry.info.size;
      FarGet get;
      get.uri = entry.uri;
      get.etag = entry.info.etag;
      get.length = entry.info.size;
      get.into = buffers_[i].span();
      far_->Get(std::move(get), [this, i](const Status& status, const FarInfo&, uint64_t hash) {
        HF_CHECK(status.ok() && hash == world_.hash(wanted_[i]));
        bytes_ -= buffers_[i].size();
        buffers_[i] = Buffer();
        if (++done_ == wanted_.size()) return loop_->Stop();
        Fill();
      });
    }
  }

  net::EventLoop* loop_;
  FarStore* far_;
  const PackWorld& world_;
  const std::vector<size_t>& wanted_;
  std::vector<Buffer> buffers_;
  size_t next_ = 0;
  size_t done_ = 0;
  uint64_t bytes_ = 0;
};

Outcome Read(const PackWorld& world, const std::vector<size_t>& wanted, bool packed,
             uint32_t connections, MicroUsd per_gb) {
  auto loop = *net::EventLoop::Create();
  far::FarOptions options;
  options.proxy = "";
  options.limits.max_connections = connections;
  options.limits.min_connections = connections;
  auto far = *far::FarClient::Open(options,
                                   [&](std::function<void()> run) { loop->Post(std::move(run)); });
  Quiet log;
  packs::PackedStore::Options packs{
      .sets = {}, .prices = {.per_gb = per_gb}, .max_index_bytes = kGiB};
  if (packed) packs.sets.push_back(world.prefix());
  packs::PackedStore store(loop.get(), far.get(), &log, std::move(packs));
  const uint64_t before = world.requests();
  const Time began = loop->Now();
  store.Start();
  Reading(loop.get(), &store, world, wanted).Run();
  const double seconds = static_cast<double>((loop->Now() - began).count()) / 1e6;
  far.reset();
  return {seconds, world.requests() - before};
}

Outcome Median(std::vector<Outcome> runs) {
  std::sort(runs.begin(), runs.end(),
            [](const Outcome& a, const Outcome& b) { return a.seconds < b.seconds; });
  return runs[runs.size() / 2];
}

int Main(bool quick, uint32_t connections) {
  const int rounds = quick ? 3 : 7;
  const size_t count = quick ? 10'000 : 20'000;
  std::printf("case        system     objects  requests   objects/s     MB/s\n");
  nlohmann::ordered_json figures;
  nlohmann::ordered_json ratios;
  for (const uint64_t size : {2'000, 10'000, 50'000}) {
    const PackWorld world(size == 50'000 ? count / 4 : count, size, kPackBytes, 30ms);
    std::vector<size_t> all;
    for (size_t n = 0; n < world.objects().size(); ++n) all.push_back(n);
    std::sort(all.begin(), all.end(), [&](size_t a, size_t b) {
      return OidOf(world.objects()[a].uri) < OidOf(world.objects()[b].uri);
    });
    std::vector<size_t> third;
    for (size_t i = 0; i < all.size(); i += 3) third.push_back(all[i]);
    for (const auto& [what, wanted, per_gb] :
         {std::tuple("all", &all, MicroUsd{90'000}), std::tuple("third", &third, MicroUsd{0})}) {
      std::vector<Outcome> each, packed;
      for (int round = 0; round < rounds; ++round) {
        each.push_back(Read(world, *wanted, false, connections, per_gb));
        packed.push_back(Read(world, *wanted, true, connections, per_gb));
      }
      const std::string name = std::string(what) + "_" + std::to_string(size / 1'000) + "k";
      const auto row = [&](const char* system, const Outcome& outcome) {
        const double rate = static_cast<double>(wanted->size()) / outcome.seconds;
        std::printf("%-11s %-8s %9zu %9llu %11.0f %8.1f\n", name.c_str(), system, wanted->size(),
                    static_cast<unsigned long long>(outcome.requests), rate,
                    rate * static_cast<double>(size) / 1e6);
        std::fflush(stdout);
        figures[name + "_" + system + "_objects_per_s"] = rate;
        figures[name + "_" + system + "_requests"] = outcome.requests;
        return rate;
      };
      const double rate_each = row("each", Median(each));
      ratios[name + "_packs_vs_each"] = row("packs", Median(packed)) / rate_each;
    }
  }
  const nlohmann::ordered_json line{{"bench", "pack"}, {"figures", figures}, {"ratios", ratios}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Small far objects out of packs, beside one request each; a table and a line of JSON.",
      "bench_pack");
  bool quick = false;
  uint32_t connections = 64;
  app.add_flag("--quick", quick, "fewer objects and rounds: within 50 seconds");
  app.add_option("--connections", connections, "to the origin")
      ->check(CLI::Range(1, 1'024))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return holdfast::bench::Main(quick, connections);
}
