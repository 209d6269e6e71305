// SPDX-License-Identifier: Apache-2.0
#include "bench/decide_player.h"

#include <algorithm>
#include <cmath>

namespace holdfast::bench {
namespace {

using snapshot::Decision;
using snapshot::Way;

constexpr double kNanoUsdPerUs = 1e9 / 3.6e9;  // waiting at 1 USD an hour

Duration WaitOf(double nano_usd) { return Duration(std::llround(nano_usd / kNanoUsdPerUs)); }

}  // namespace

double Prices::Cost(Way way, bool there) const {
  switch (way) {
    case Way::kLook:
    case Way::kExplore:
      return look() + (there ? hit : far());
    case Way::kRace:
      return work + (there ? wait + hit + far_money : far());
    case Way::kUnknown:
    case Way::kFar:
      break;
  }
  return far();
}

double Prices::Expected(Way way, double p) const {
  return p * Cost(way, true) + (1 - p) * Cost(way, false);
}

Prices Prices::Of(double look_share, double money_share) {
  Prices prices;
  prices.far_wait = 30'000 * kNanoUsdPerUs;
  prices.far_money = prices.far_wait * money_share / (1 - money_share);
  const double look = look_share * prices.far();
  prices.work = look / 50;
  prices.wait = look - prices.work;
  prices.hit = 0.25 * look;
  return prices;
}

Score& Score::operator+=(const Score& o) {
  reads += o.reads;
  ours += o.ours;
  oracle += o.oracle;
  always_look += o.always_look;
  always_fetch += o.always_fetch;
  always_race += o.always_race;
  plain_rule += o.plain_rule;
  for (size_t i = 0; i < fixed.size(); ++i) fixed[i] += o.fixed[i];
  there += o.there;
  looks += o.looks;
  races += o.races;
  explored += o.explored;
  return *this;
}

Player::Player(const World* world, const Law* law, const PlayerOptions& options)
    : world_(world),
      law_(law),
      options_(options),
      random_(options.seed),
      beliefs_({}),
      // The priors of the program, which know nothing of these prices.
      costs_({.look_work = std::llround(options.prices.work)}),
      decider_(&world->known(), &beliefs_, &costs_, &random_, {.race = options.race}) {}

Way Player::OraclesWay(double p) const {
  Way best = Way::kFar;
  for (Way way : {Way::kLook, Way::kRace}) {
    if (way == Way::kRace && !options_.race) continue;
    if (options_.prices.Expected(way, p) < options_.prices.Expected(best, p)) best = way;
  }
  return best;
}

// What ours sees of a read: times that vary.
void Player::Measure(Way way, bool there) {
  auto took = [this](double mean) { return WaitOf(mean * (0.5 + random_.Exponential(0.5))); };
  const Prices& prices = options_.prices;
  if (way != Way::kFar) {
    there ? costs_.Found(took(prices.wait + prices.hit)) : costs_.Looked(took(prices.wait));
  }
  if (way == Way::kFar || way == Way::kRace || !there) {
    costs_.WentFar(took(prices.far_wait), std::llround(prices.far_money));
  }
}

// The rule of the idea as it stands: it looks while the overhead of a find is below what one saves.
void Player::PlayPlainRule(bool there) {
  const Prices& prices = options_.prices;
  const bool looks = plain_overhead_ / plain_finds_ < prices.far() - prices.hit;
  score_.plain_rule += prices.Cost(looks ? Way::kLook : Way::kFar, there);
  if (!looks) return;
  plain_overhead_ += prices.look();
  plain_finds_ += there ? 1 : 0;
}

Player::Paid Player::Read(World::Asked asked) {
  const Prices& prices = options_.prices;
  const Decision d = decider_.Decide(world_->PrintOf(asked), world_->now());
  const bool there = world_->IsAt(asked, d.node);
  double p = 0;
  const NodeId likeliest = world_->Likeliest(*law_, asked, &p);
  Paid paid{.ours = prices.Cost(d.way, there),
            .oracle = prices.Cost(OraclesWay(p), world_->IsAt(asked, likeliest))};

  score_.reads += 1;
  score_.ours += paid.ours;
  score_.oracle += paid.oracle;
  score_.always_look += prices.Cost(Way::kLook, there);
  score_.always_fetch += prices.far();
  score_.always_race += prices.Cost(Way::kRace, there);
  for (size_t i = 0; i < kFixed.size(); ++i) {
    score_.fixed[i] += prices.Cost(d.chance >= kFixed[i] ? Way::kLook : Way::kFar, there);
  }
  PlayPlainRule(there);
  score_.there += there ? 1 : 0;
  score_.looks += d.way == Way::kLook ? 1 : 0;
  score_.races += d.way == Way::kRace ? 1 : 0;
  score_.explored += d.way == Way::kExplore ? 1 : 0;

  if (d.way != Way::kFar) beliefs_.Looked(d.situation, there);
  Measure(d.way, there);
  return paid;
}

double Player::ReadUnknown(World::Asked asked, double at_home) {
  const Prices& prices = options_.prices;
  const bool found = world_->IsAlive(asked) && random_.Chance(at_home);
  return found ? prices.look() + prices.hit : prices.far();
}

}  // namespace holdfast::bench
