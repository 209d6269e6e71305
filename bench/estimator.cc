// SPDX-License-Identifier: Apache-2.0
// bench estimator: is the chance right that an object which is asked for is where it was seen?
//
// Many small clusters, each with its own seed, under stationary churn, in two worlds:
//   lifetimes  independent, from a known law: the truth is S(age) / S(age when seen)
//   ring       the store's own reclaim: no law is known. The truth is the ensemble probability of
//              the same situation: over all seeds, the share of the listed objects that are there,
//              each weighted by the rate at which it is asked for, at random times, by ring, age
//              (half a cell, 2.2 %) and time since the snapshot (20 s).
// Each cluster has its own evidence, curve and beliefs, from snapshots and from looks as jobs make
// them; none knows another's. The oracle says the truth: it knows the law and the log.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "bench/estimator_report.h"
#include "bench/estimator_worlds.h"
#include "snapshot/belief.h"

namespace holdfast::bench {
namespace {

using snapshot::AgeCells;

Duration Seconds(double s) { return Duration(static_cast<int64_t>(s * 1e6)); }

struct Plan {
  bool ring = false;
  double period = 0;   // of snapshots, seconds
  double warm_up = 0;  // nothing is scored before
  double end = 0;
  uint64_t each = 1;  // one look in so many is scored
  uint64_t seeds = 200;
  uint64_t seed_offset = 0;
};

// The ensemble probability, by situation.
class Ensemble {
 public:
  void Add(const Look& look, double rate) {
    Bin& bin = bins_[BinOf(look)];
    bin.asked += rate;
    if (look.found) bin.found += rate;
    ++bin.count;
  }
  void Add(const Ensemble& other) {
    for (size_t i = 0; i < bins_.size(); ++i) {
      bins_[i].asked += other.bins_[i].asked;
      bins_[i].found += other.bins_[i].found;
      bins_[i].count += other.bins_[i].count;
    }
  }
  // False when too little is known of the situation.
  bool Knows(uint32_t bin) const { return bins_[bin].count >= 4'000; }
  double At(uint32_t bin) const { return bins_[bin].found / bins_[bin].asked; }

  static uint32_t BinOf(const Look& look) {
    const auto age = static_cast<uint32_t>(2 * AgeCells::PositionOf(Seconds(look.age)));
    const auto since = static_cast<uint32_t>((look.age - look.seen) / 20);
    const uint32_t situation = age * kSince + std::min(since, kSince - 1);
    return 2 * situation + static_cast<uint32_t>(look.ring);
  }

 private:
  static constexpr uint32_t kSince = 100;
  struct Bin {
    double asked = 0;
    double found = 0;
    uint64_t count = 0;
  };
  std::vector<Bin> bins_ = std::vector<Bin>(2 * AgeCells::kCells * kSince * snapshot::kRings);
};

struct Scored {
  Prediction prediction;
  uint32_t bin = 0;
};

struct Results {
  Ensemble ensemble;
  std::vector<Scored> scored;
};

class Cluster {
 public:
  Cluster(const Plan& plan, uint64_t seed, Results* results)
      : plan_(plan),
        results_(results),
        random_(seed + 1'000'000),
        world_(plan.ring ? MakeRingWorld(seed) : MakeLifetimeWorld(seed)) {}

  void Run() {
    for (double start = 0; start < plan_.end; start += plan_.period) {
      RunPeriod(start);
      Learn();
    }
  }

 private:
  static constexpr int kProbes = 3;  // between two snapshots

  void RunPeriod(double start) {
    scoring_ = start >= plan_.warm_up;
    std::vector<double> stops;
    for (int i = 0; i < kProbes; ++i) stops.push_back(start + random_.Unit() * plan_.period);
    std::sort(stops.begin(), stops.end());
    for (double stop : stops) {
      world_->RunTo(stop, [this](const Look& look) { OnLook(look); });
      if (!scoring_ || !plan_.ring) continue;
      world_->Probe([this](const Look& l, double rate) { results_->ensemble.Add(l, rate); });
    }
    world_->RunTo(start + plan_.period, [this](const Look& look) { OnLook(look); });
  }

  void OnLook(const Look& look) {
    const snapshot::Situation object{Seconds(look.age), Seconds(look.seen), look.ring};
    if (scoring_ && random_.Below(plan_.each) == 0) Score(look, beliefs_.At(object));
    beliefs_.Looked(object, look.found);
  }

  void Score(const Look& look, const snapshot::Chance& chance) {
    const snapshot::Chance::Range range = chance.Credible(0.95);
    Scored scored{.prediction = {.mean = static_cast<float>(chance.mean),
                                 .low = static_cast<float>(range.low),
                                 .high = static_cast<float>(range.high),
                                 .found = look.found}};
    if (plan_.ring) {
      scored.bin = Ensemble::BinOf(look);
    } else {
      scored.prediction.truth =
          static_cast<float>(LifetimeLaw::Survival(look.age) / LifetimeLaw::Survival(look.seen));
    }
    results_->scored.push_back(scored);
  }

  // As a collector does: what happened since the last snapshot is the difference of two sums.
  void Learn() {
    snapshot::RingEvidence sum;
    world_->Snapshot(&sum);
    snapshot::RingEvidence recent = sum;
    recent -= sum_;
    sum_ = std::move(sum);
    evidence_.Follow(std::move(recent), Seconds(plan_.period));
    beliefs_.Learn(evidence_);
  }

  const Plan& plan_;
  Results* results_;
  Random random_;
  std::unique_ptr<World> world_;
  snapshot::RingEvidence sum_;  // at the last snapshot
  snapshot::RingEvidence evidence_;
  snapshot::Beliefs beliefs_{{}};
  bool scoring_ = false;
};

std::vector<Prediction> Predict(const Plan& plan) {
  constexpr uint64_t kThreads = 2;
  std::vector<Results> results(kThreads);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&plan, t, mine = &results[t]] {
      for (uint64_t seed = 1 + t; seed <= plan.seeds; seed += kThreads) {
        Cluster(plan, plan.seed_offset + seed, mine).Run();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 1; t < results.size(); ++t) results[0].ensemble.Add(results[t].ensemble);
  std::vector<Prediction> predictions;
  uint64_t unknown = 0;
  for (const Results& part : results) {
    for (Scored scored : part.scored) {
      if (plan.ring) {
        if (!results[0].ensemble.Knows(scored.bin)) {
          ++unknown;
          continue;
        }
        scored.prediction.truth = static_cast<float>(results[0].ensemble.At(scored.bin));
      }
      predictions.push_back(scored.prediction);
    }
  }
  if (unknown > 0) {
    std::printf(
        "ring: left out %.2f %%, of which the ensemble says too little\n\n",
        100 * static_cast<double>(unknown) / static_cast<double>(unknown + predictions.size()));
  }
  return predictions;
}

int Main(bool quick, uint64_t seeds, uint64_t seed_offset, const std::string& svg) {
  std::printf("%llu clusters in each world\n\n", static_cast<unsigned long long>(seeds));
  // Snapshots as far apart as leaves something to guess.
  const Plan lifetimes{.period = 1'500,
                       .warm_up = 9'000,
                       .end = quick ? 21'000.0 : 60'000.0,
                       .each = 5,
                       .seeds = seeds,
                       .seed_offset = seed_offset};
  // What is kept stays for up to some 40,000 s, and is another mixture after each turn: only after
  // several is the churn stationary, and is there one truth for all times.
  const Plan ring{.ring = true,
                  .period = 1'200,
                  .warm_up = 156'000,
                  .end = quick ? 180'000.0 : 204'000.0,
                  .each = 4,
                  .seeds = quick ? std::max(seeds / 4, uint64_t{50}) : seeds,
                  .seed_offset = seed_offset};
  std::vector<Report> reports;
  reports.emplace_back("lifetimes", Predict(lifetimes));
  reports.emplace_back("ring", Predict(ring));
  nlohmann::ordered_json figures, ratios;
  // Of both worlds the worse.
  auto worse = [&](auto figure) {
    const double a = figure(reports[0]), b = figure(reports[1]);
    return std::max(a, b);
  };
  const bool first =
      std::abs(reports[0].coverage_pct() - 95) > std::abs(reports[1].coverage_pct() - 95);
  figures["coverage_pct"] = reports[first ? 0 : 1].coverage_pct();
  figures["worst_decile_points"] = worse([](const Report& r) { return r.worst_decile_points(); });
  figures["error_outside_points"] = worse([](const Report& r) { return r.error_outside_points(); });
  ratios["brier_vs_oracle"] = worse([](const Report& r) { return r.brier_vs_oracle(); });
  for (const Report& report : reports) {
    report.Print();
    const std::string world = "_" + report.name();
    figures["coverage_pct" + world] = report.coverage_pct();
    figures["worst_decile_points" + world] = report.worst_decile_points();
    figures["deciles" + world] = report.counted_deciles();
    figures["error_outside_points" + world] = report.error_outside_points();
    figures["mean_error_outside_points" + world] = report.mean_error_outside_points();
    ratios["brier_vs_oracle" + world] = report.brier_vs_oracle();
  }
  figures["seeds"] = seeds;
  if (!svg.empty() && !DrawReliability(reports, svg)) {
    std::fprintf(stderr, "bench_estimator: cannot write %s\n", svg.c_str());
    return 1;
  }
  const nlohmann::ordered_json line{
      {"bench", "estimator"}, {"figures", figures}, {"ratios", ratios}};
  std::printf("%s\n", line.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  CLI::App app("Predicted chances beside the truth; prints a reliability table and a line of JSON.",
               "bench_estimator");
  bool quick = false;
  uint64_t seeds = 200, seed_offset = 0;
  std::string svg;
  app.add_flag("--quick", quick, "shorter runs: within two minutes");
  app.add_option("--seeds", seeds, "clusters in each world")->check(CLI::Range(50, 10'000));
  app.add_option("--seed-offset", seed_offset, "added to all seeds: other clusters of the kind")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1} << 32));
  app.add_option("--svg", svg, "draws the reliability diagram into this file");
  CLI11_PARSE(app, argc, argv);
  return holdfast::bench::Main(quick, seeds, seed_offset, svg);
}
