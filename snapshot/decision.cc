// SPDX-License-Identifier: Apache-2.0
#include "snapshot/decision.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/status.h"

namespace holdfast::snapshot {
namespace {

constexpr double kMostNanoUsd = 0x1p50;
constexpr double kMostTimesTheMean = 1'000;
constexpr double kMemoriesPerHalfLife = 8;
constexpr size_t kGroup = 32;
// One of so many finds that were given up tells what looks cost now.
constexpr double kCostsCheck = 100;

NanoUsd Whole(double nano_usd) { return std::llround(nano_usd); }

// Stamps come from outside, and may be anything.
Duration Between(Stamp from, Stamp to) {
  int64_t us = 0;
  if (__builtin_sub_overflow(to.us, from.us, &us)) us = to > from ? INT64_MAX : 0;
  return Duration(std::max<int64_t>(us, 0));
}

Duration Sum(Duration a, Duration b) {
  int64_t us = 0;
  return Duration(__builtin_add_overflow(a.count(), b.count(), &us) ? INT64_MAX : us);
}

}  // namespace

// --- Costs ---------------------------------------------------------------------------------------

FadingMean::FadingMean(double prior, double prior_weight, double memory)
    : prior_(std::clamp(prior, 0.0, kMostNanoUsd)),
      prior_weight_(std::max(0.0, prior_weight)),
      memory_(std::max(1.0, memory)) {}

double FadingMean::WeightAt(uint64_t event) const {
  if (event <= last_) return weight_;
  const auto idle = static_cast<double>(event - last_);
  // While it is measured now and then, nothing is lost.
  if (idle <= memory_) return weight_;
  return weight_ * std::exp2(-(idle - memory_) / (kMemoriesPerHalfLife * memory_));
}

double FadingMean::At(uint64_t event) const {
  const double weight = WeightAt(event);
  if (weight + prior_weight_ <= 0) return prior_;
  return (prior_ * prior_weight_ + mean_ * weight) / (prior_weight_ + weight);
}

void FadingMean::Add(double value, uint64_t event) {
  const double most = kMostTimesTheMean * std::max(At(event), 1.0);
  value = std::clamp(value, 0.0, std::min(most, kMostNanoUsd));
  weight_ = std::min(WeightAt(event) + 1, memory_);
  mean_ += (value - mean_) / weight_;
  last_ = event;
}

Costs::Costs(const CostOptions& options)
    : nano_usd_per_us_(static_cast<double>(std::max<MicroUsd>(options.micro_usd_per_hour, 0)) /
                       3.6e6),
      look_work_(std::clamp(static_cast<double>(options.look_work), 0.0, kMostNanoUsd)),
      look_(Price(options.look), options.prior_weight, options.memory),
      found_(Price(options.look) + Price(options.hit), options.prior_weight, options.memory),
      far_(Price(options.far), options.prior_weight, options.memory),
      far_money_(static_cast<double>(options.far_money), options.prior_weight, options.memory),
      memory_(std::max(1.0, options.memory)),
      looks_(2 * std::max(0.5, options.prior_weight)),
      finds_(looks_ / 2) {}

double Costs::Price(Duration took) const {
  return std::min(static_cast<double>(std::max<int64_t>(took.count(), 0)) * nano_usd_per_us_,
                  kMostNanoUsd);
}

void Costs::Looked(Duration took) {
  look_.Add(Price(took), ++events_);
  const double keep = 1 - 1 / memory_;
  looks_ = looks_ * keep + 1;
  finds_ *= keep;
}

void Costs::Found(Duration took) {
  found_.Add(Price(took), ++events_);
  const double keep = 1 - 1 / memory_;
  looks_ = looks_ * keep + 1;
  finds_ = finds_ * keep + 1;
}

void Costs::WentFar(Duration took, NanoUsd money) {
  far_.Add(Price(took), ++events_);
  far_money_.Add(static_cast<double>(money), events_);
}

NanoUsd Costs::look() const { return Whole(look_.At(events_) + look_work_); }
NanoUsd Costs::hit() const { return Whole(found_.At(events_) - look_.At(events_)); }
NanoUsd Costs::far() const { return Whole(far_.At(events_) + far_money_.At(events_)); }
NanoUsd Costs::far_money() const { return Whole(far_money_.At(events_)); }

NanoUsd Costs::overhead_per_find() const {
  // Where nothing was found for very long, there is no more than a bound.
  return Whole(std::min(static_cast<double>(look()) * looks_ / std::max(finds_, 1e-9), 0x1p62));
}

double Costs::Threshold() const {
  const NanoUsd saved = far() - hit();
  if (saved <= 0) return 1;
  return std::min(static_cast<double>(look()) / static_cast<double>(saved), 1.0);
}

Costs::Band Costs::Race() const {
  const double wait = look_.At(events_);
  const double money = far_money_.At(events_);
  const double sooner = far_.At(events_) - found_.At(events_);
  if (sooner <= 0 || wait + money <= 0) return {};
  return {look_work_ / sooner, wait / (wait + money)};
}

// --- Decisions -----------------------------------------------------------------------------------

Decider::Decider(const Known* known, const Beliefs* beliefs, const Costs* costs, Random* random,
                 const DecisionOptions& options)
    : known_(known), beliefs_(beliefs), costs_(costs), random_(random), options_(options) {}

Decider::Rule Decider::RuleNow() const {
  Rule rule{.threshold = costs_->Threshold()};
  if (options_.race) rule.race = costs_->Race();
  return rule;
}

Decision Decider::Likeliest(Print print, Stamp now) const {
  std::array<Sighting, Known::kMost> sightings;
  const size_t n = known_->Find(print, sightings);
  Decision best;
  best.chance = -1;
  for (size_t i = 0; i < n; ++i) {
    const Sighting& sighting = sightings[i];
    const Stamp* seen_at = known_->SeenAt(sighting.node);
    if (seen_at == nullptr) continue;
    // What was written after the snapshot was seen then. Load times are what a node says, and may
    // lie in the future: those are not believed.
    const Stamp last = sighting.written <= now ? std::max(*seen_at, sighting.written) : *seen_at;
    const Duration seen = sighting.held ? Duration(0) : Between(sighting.written, last);
    const Duration age = Sum(seen, Between(last, now));
    const Situation situation{.age = age, .seen = seen, .ring = sighting.ring};
    const double chance = beliefs_->Mean(situation);
    if (chance <= best.chance) continue;
    best = {.way = Way::kFar, .node = sighting.node, .chance = chance, .situation = situation};
  }
  return best.way == Way::kUnknown ? Decision{} : best;
}

bool Decider::Explores(const Decision& decision) {
  // The draw comes first: it is what most do not pass, and the integral is slow.
  const double draw = random_->Unit();
  if (draw >= options_.explore) return false;
  const Chance chance = beliefs_->At(decision.situation);
  return draw < std::max(chance.Above(decision.threshold), chance.mean / kCostsCheck);
}

Decision Decider::DecideBy(const Rule& rule, Print print, Stamp now) {
  Decision decision = Likeliest(print, now);
  decision.threshold = rule.threshold;
  if (decision.way == Way::kUnknown) return decision;
  if (decision.chance > rule.race.low && decision.chance < rule.race.high) {
    decision.way = Way::kRace;
  } else if (decision.chance > rule.threshold) {
    decision.way = Way::kLook;
  } else if (Explores(decision)) {
    decision.way = Way::kExplore;
  }
  return decision;
}

Decision Decider::Decide(Print print, Stamp now) { return DecideBy(RuleNow(), print, now); }

void Decider::DecideMany(std::span<const Print> prints, Stamp now, std::span<Decision> into) {
  HF_CHECK(into.size() == prints.size());
  const Rule rule = RuleNow();
  for (size_t i = 0; i < std::min(kGroup, prints.size()); ++i) known_->Prefetch(prints[i]);
  for (size_t i = 0; i < prints.size(); ++i) {
    // The memory of a later one comes while this one is decided.
    if (i + kGroup < prints.size()) known_->Prefetch(prints[i + kGroup]);
    into[i] = DecideBy(rule, prints[i], now);
  }
}

}  // namespace holdfast::snapshot
