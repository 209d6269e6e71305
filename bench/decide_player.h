// SPDX-License-Identifier: Apache-2.0
// Reads of one simulated cluster, decided by several policies at once, each paying for what it
// chose: Holdfast's decider, which learns as it goes, the oracle, and simpler ones.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/random.h"
#include "bench/decide_world.h"
#include "snapshot/belief.h"
#include "snapshot/decision.h"

namespace holdfast::bench {

// What things truly cost, in nanodollars.
struct Prices {
  double wait = 0;  // for a look
  double work = 0;  // of a look, which nobody waits for
  double hit = 0;   // of a find, beyond the look
  double far_wait = 0;
  double far_money = 0;

  double look() const { return wait + work; }
  double far() const { return far_wait + far_money; }
  double Cost(snapshot::Way way, bool there) const;
  // On average, when it is there with the chance p.
  double Expected(snapshot::Way way, double p) const;
  // Going far costs 30 ms of waiting at 1 USD an hour, and money for `money_share` of it all; a
  // look `look_share` of that, a fiftieth of it work.
  static Prices Of(double look_share, double money_share);
};

// One bench's fixed thresholds of p.
constexpr std::array<double, 9> kFixed = {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9};

struct Score {
  double reads = 0;
  double ours = 0;  // sums of nanodollars
  double oracle = 0;
  double always_look = 0;
  double always_fetch = 0;
  double always_race = 0;
  double plain_rule = 0;  // all overhead by all finds against going far: on, or off
  std::array<double, kFixed.size()> fixed{};
  double there = 0;  // how many were, where the log says
  double looks = 0;  // ours
  double races = 0;
  double explored = 0;

  Score& operator+=(const Score& o);
};

struct PlayerOptions {
  Prices prices{};
  bool race = false;  // for ours and the oracle
  uint64_t seed = 1;
};

class Player {
 public:
  // `world` and `law` outlive it.
  Player(const World* world, const Law* law, const PlayerOptions& options);

  // The world's log is a newer one.
  void Learn() { beliefs_.Learn(world_->evidence()); }
  // One read. `ours` and `oracle` are what those paid.
  struct Paid {
    double ours = 0;
    double oracle = 0;
  };
  Paid Read(World::Asked asked);
  // An object that the log does not know: by way of its home, which has it with the chance
  // `at_home` if it is anywhere.
  double ReadUnknown(World::Asked asked, double at_home);

  const Score& score() const { return score_; }
  const snapshot::Costs& costs() const { return costs_; }

 private:
  snapshot::Way OraclesWay(double p) const;
  void Measure(snapshot::Way way, bool there);
  void PlayPlainRule(bool there);

  const World* world_;
  const Law* law_;
  PlayerOptions options_;
  Random random_;
  snapshot::Beliefs beliefs_;
  snapshot::Costs costs_;
  snapshot::Decider decider_;
  Score score_;
  // Of the plain rule: overhead and finds until now, with one find of the prior.
  double plain_overhead_ = 0;
  double plain_finds_ = 1;
};

}  // namespace holdfast::bench
