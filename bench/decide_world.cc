// SPDX-License-Identifier: Apache-2.0
#include "bench/decide_world.h"

#include <algorithm>
#include <cmath>

#include "base/hash.h"
#include "base/status.h"

namespace holdfast::bench {
namespace {

using snapshot::AgeCells;
using snapshot::Ring;
using snapshot::Stamp;

// Some objects are read more often than others, and stay for longer.
constexpr double kHotLoads = 0.3;       // of what is loaded
constexpr double kColdAsked = 1.0 / 3;  // as often as hot ones
constexpr double kHotLife = 1.6, kColdLife = 0.7;
constexpr double kPlateau = 0.35;  // of a life
constexpr double kWearShape = 0.6;
constexpr double kCopies = 0.1;  // objects at two nodes
// The rings. One unit loads as much as a node holds.
constexpr uint32_t kSegments = 32;
constexpr uint32_t kFreshPart = 10;
constexpr double kHotReads = 0.5, kColdReads = 0.05;  // of an object, in a unit
constexpr double kWarmUp = 8;                         // units; what is kept stays for longer
constexpr double kRingWarmUp = 60;

double Survives(Churn churn, double life, double age) {
  if (age <= 0) return 1;
  if (churn == Churn::kWear) return std::exp(-std::pow(age / life, kWearShape));
  const double late = age / life - kPlateau;
  return late <= 0 ? 1 : std::exp(-late / (1 - kPlateau));
}

double DrawLife(Churn churn, double life, Random* random) {
  const double e = random->Exponential(1);
  if (churn == Churn::kWear) return life * std::pow(e, 1 / kWearShape);
  return life * (kPlateau + (1 - kPlateau) * e);
}

// Two kinds, of which the log does not tell which is which: by Bayes, weighted with how many are
// loaded and how often they are asked for.
class IndependentLaw : public Law {
 public:
  explicit IndependentLaw(Churn churn) : churn_(churn) {}
  double Chance(double x, double y, Ring) const override {
    const double before = Asked(y);
    return before > 1e-300 ? Asked(x) / before : 0;
  }

 private:
  double Asked(double age) const {
    return kHotLoads * Survives(churn_, kHotLife, age) +
           (1 - kHotLoads) * kColdAsked * Survives(churn_, kColdLife, age);
  }
  Churn churn_;
};

// Counted, by ring, age at the snapshot and time since.
class RingLaw : public Law {
 public:
  explicit RingLaw(bool renew_ages)
      : cells_(snapshot::kRings * kAges * kTimes), by_time_(snapshot::kRings * kTimes) {
    constexpr int kSnapshots = 60, kSteps = 40, kReads = 500;
    Random random(5);
    // What is kept and read stays for tens of units.
    for (double period : {0.1, 1.0, 4.8, 24.0}) {
      World world({.churn = Churn::kRing,
                   .nodes = 16,
                   .objects = 8'192,
                   .renew_ages = renew_ages,
                   .seed = 77});
      for (int i = 0; i < kSnapshots; ++i) {
        world.TakeSnapshot();
        const Stamp start = world.now();
        for (int step = 0; step < kSteps; ++step) {
          const double part = period * (step + random.Unit()) / kSteps;
          world.AdvanceTo({start.us + std::llround(3'600e6 * part)});
          for (int k = 0; k < kReads; ++k) Count(world, world.Ask(false));
        }
      }
    }
  }
  double Chance(double x, double y, Ring ring) const override {
    if (x <= y) return 1;
    constexpr double kEnough = 50;
    const Cell& cell = cells_[IndexOf(ring, y, x - y)];
    const Cell& counted = cell.asked >= kEnough ? cell : by_time_[TimeIndexOf(ring, x - y)];
    return counted.there / std::max(counted.asked, 1.0);
  }

 private:
  // Each of half a doubling and of a quarter, from a 256th of a unit on.
  static constexpr size_t kAges = 32, kTimes = 64;
  struct Cell {
    double asked = 0;
    double there = 0;
  };
  static size_t Doublings(double units, double per_doubling, size_t most) {
    const double at = per_doubling * std::log2(std::max(units * 256, 1.0));
    return std::min(static_cast<size_t>(at), most - 1);
  }
  static size_t TimeIndexOf(Ring ring, double time) {
    return static_cast<size_t>(ring) * kTimes + Doublings(time, 4, kTimes);
  }
  static size_t IndexOf(Ring ring, double age, double time) {
    return (static_cast<size_t>(ring) * kAges + Doublings(age, 2, kAges)) * kTimes +
           Doublings(time, 4, kTimes);
  }
  void Count(const World& world, World::Asked asked) {
    const Ring ring = world.RingWhenSeen(asked);
    const double time = world.SinceSnapshot();
    for (Cell* cell : {&cells_[IndexOf(ring, world.AgeWhenSeen(asked), time)],
                       &by_time_[TimeIndexOf(ring, time)]}) {
      cell->asked += 1;
      cell->there += world.IsAlive(asked) ? 1 : 0;
    }
  }
  std::vector<Cell> cells_;
  std::vector<Cell> by_time_;
};

}  // namespace

const char* NameOf(Churn churn) {
  switch (churn) {
    case Churn::kPlateau:
      return "plateau";
    case Churn::kWear:
      return "wear";
    case Churn::kRing:
      return "ring";
  }
  return "";
}

std::unique_ptr<Law> MakeLaw(Churn churn, bool renew_ages) {
  if (churn == Churn::kRing) return std::make_unique<RingLaw>(renew_ages);
  return std::make_unique<IndependentLaw>(churn);
}

World::World(const WorldOptions& options)
    : options_(options), random_(options.seed), curve_(snapshot::SurvivalEvidence(), {}) {
  // Stamps are times since 1970.
  now_ = {1'700'000'000'000'000};
  SetChurn(1);
  if (options_.churn == Churn::kRing) {
    segment_objects_ = std::max(options_.objects / options_.nodes / kSegments, 1u);
    ring_.resize(options_.nodes);
  } else {
    for (uint32_t i = 0; i < options_.objects; ++i) {
      alive_.push_back(NewPlace(static_cast<NodeId>(random_.Below(options_.nodes)), churn_));
    }
  }
  const double units = options_.churn == Churn::kRing ? kRingWarmUp : kWarmUp;
  for (int i = 0; i < units * 4; ++i) AdvanceTo({now_.us + options_.unit.count() / 4});
}

void World::SetChurn(double factor) {
  units_per_us_ = factor / static_cast<double>(options_.unit.count());
}

double World::loads_per_s() const {
  double lives_per_unit = 1.1;
  if (options_.churn == Churn::kWear) lives_per_unit = 1 / (0.97 * std::tgamma(1 + 1 / kWearShape));
  if (options_.churn == Churn::kPlateau) lives_per_unit = 1 / 0.97;
  return options_.objects * lives_per_unit * units_per_us_ * 1e6;
}

// When the churn's clock showed this, counted back from now.
int64_t World::UsAt(double churn) const {
  return now_.us - std::llround((churn_ - churn) / units_per_us_);
}

void World::AdvanceTo(Stamp now) {
  HF_CHECK(now >= now_);
  churn_ += static_cast<double>(now.us - now_.us) * units_per_us_;
  now_ = now;
  if (options_.churn != Churn::kRing) return AdvanceLives();
  for (NodeId node = 0; node < options_.nodes; ++node) AdvanceRing(node);
}

uint32_t World::NewPlace(NodeId node, double churn) {
  uint32_t id = 0;
  if (free_.empty()) {
    id = static_cast<uint32_t>(places_.size());
    places_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  Place& place = places_[id];
  place = {.print = Mix64(next_print_++) >> 24,
           .node = node,
           .alive = true,
           .hot = random_.Chance(kHotLoads),
           .written_us = UsAt(churn),
           .written_churn = churn};
  new_.push_back(id);
  if (options_.churn == Churn::kRing) return id;
  // Another's copy, now and then.
  if (!alive_.empty() && random_.Chance(kCopies)) {
    const uint32_t other = alive_[random_.Below(alive_.size())];
    Place& first = places_[other];
    if (first.alive && first.other == kNone && first.node != node) {
      place.print = first.print;
      place.hot = first.hot;
      place.other = other;
      first.other = id;
    }
  }
  place.dies_churn = churn + DrawLife(options_.churn, place.hot ? kHotLife : kColdLife, &random_);
  return id;
}

void World::Evict(uint32_t id) {
  Place& place = places_[id];
  place.alive = false;
  if (place.listed) return;  // the log still knows it
  if (place.other != kNone) places_[place.other].other = kNone;
  place.other = kNone;
}

void World::AdvanceLives() {
  for (uint32_t& id : alive_) {
    while (places_[id].dies_churn <= churn_) {
      const double dies = places_[id].dies_churn;
      const Duration age(std::max<int64_t>(UsAt(dies) - places_[id].written_us, 0));
      evicted_[Ring::kFresh].Evicted(Duration(0), age, 1);
      Evict(id);
      id = NewPlace(static_cast<NodeId>(random_.Below(options_.nodes)), dies);
    }
  }
}

void World::AdvanceRing(NodeId node) {
  RingNode& ring = ring_[node];
  const double per_unit = segment_objects_ * kSegments;
  while (ring.next_churn <= churn_) {
    if (ring.next_churn >= ring.rate_until) {
      ring.rate = std::exp(random_.Unit() * 1.6 - 0.8);
      ring.rate_until = ring.next_churn + 0.5;
    }
    evict_churn_ = ring.next_churn;
    const uint32_t place = NewPlace(node, ring.next_churn);
    // One that was read in the turn after it was dropped comes back to be kept.
    Append(node, WasRead(place, 1) ? Ring::kKept : Ring::kFresh, place);
    ring.next_churn += random_.Exponential(1 / (per_unit * ring.rate));
  }
}

bool World::WasRead(uint32_t place, double units) {
  return random_.Chance(1 - std::exp(-units * (places_[place].hot ? kHotReads : kColdReads)));
}

void World::Append(NodeId node, Ring ring, uint32_t place) {
  RingNode& at = ring_[node];
  std::deque<Segment>& segments = ring == Ring::kKept ? at.kept : at.fresh;
  if (segments.empty() || segments.back().places.size() >= segment_objects_) {
    segments.emplace_back();
    if (at.fresh.size() + at.kept.size() > kSegments) Reclaim(node);
  }
  segments.back().places.push_back(place);
  places_[place].ring = ring;
  places_[place].appended_churn = evict_churn_;
}

// The oldest segment of the ring that has its share, whole; what was read since it was written or kept
// is kept on.
void World::Reclaim(NodeId node) {
  RingNode& at = ring_[node];
  const bool fresh = at.fresh.size() > kSegments / kFreshPart || at.kept.size() < 2;
  std::deque<Segment>& segments = fresh ? at.fresh : at.kept;
  const Ring ring = fresh ? Ring::kFresh : Ring::kKept;
  Segment oldest = std::move(segments.front());
  segments.pop_front();
  const int64_t now_us = UsAt(evict_churn_);
  uint64_t together = 0;
  Duration age{};
  auto tell = [&] {
    if (together > 0) evicted_[ring].Evicted(Duration(0), age, together);
    together = 0;
  };
  for (uint32_t id : oldest.places) {
    Place& place = places_[id];
    if (WasRead(id, evict_churn_ - place.appended_churn)) {
      if (fresh) evicted_.Moved(Duration(std::max<int64_t>(now_us - place.written_us, 0)), 1);
      if (options_.renew_ages) {
        place.written_us = now_us;
        place.written_churn = evict_churn_;
      }
      Append(node, Ring::kKept, id);
      continue;
    }
    const Duration this_age(std::max<int64_t>(now_us - place.written_us, 0));
    if (AgeCells::CellOf(this_age) != AgeCells::CellOf(age)) tell();
    age = this_age;
    ++together;
    Evict(id);
  }
  tell();
}

void World::TakeSnapshot() {
  // What the log knew and is gone can be another object now.
  auto release = [this](std::vector<uint32_t>* ids) {
    for (uint32_t id : *ids) {
      Place& place = places_[id];
      if (place.print == 0 || place.alive) continue;
      place.listed = false;
      Evict(id);
      place.print = 0;
      free_.push_back(id);
    }
    ids->clear();
  };
  release(&listed_);
  release(&new_);
  known_.Clear();
  snapshot::RingEvidence sums = evicted_;
  for (uint32_t id = 0; id < places_.size(); ++id) {
    Place& place = places_[id];
    if (!place.alive) continue;
    place.listed = true;
    place.logged_churn = place.written_churn;
    place.logged_ring = place.ring;
    listed_.push_back(id);
    const Duration age(std::max<int64_t>(now_.us - place.written_us, 0));
    sums[place.ring].StillThere(Duration(0), age, 1);
    known_.Add(place.print,
               {.node = place.node, .ring = place.ring, .written = {place.written_us}});
  }
  for (NodeId node = 0; node < options_.nodes; ++node) known_.SetSeen(node, now_);
  snapshot::RingEvidence recent = sums;
  recent -= before_;
  evidence_.Follow(std::move(recent), Duration(seen_.us > 0 ? now_.us - seen_.us : 0));
  before_ = std::move(sums);
  curve_ = snapshot::SurvivalCurve(evidence_.Together(), {});
  seen_ = now_;
  seen_churn_ = churn_;
}

World::Asked World::Ask(bool also_new) {
  for (;;) {
    const size_t n = listed_.size() + (also_new ? new_.size() : 0);
    const size_t i = random_.Below(n);
    const uint32_t id = i < listed_.size() ? listed_[i] : new_[i - listed_.size()];
    const Place& place = places_[id];
    // What came and went since the snapshot nobody knows of.
    if (!place.listed && !place.alive) continue;
    if (place.hot || random_.Chance(kColdAsked)) return id;
  }
}

bool World::IsAt(Asked asked, NodeId node) const {
  const Place& place = places_[asked];
  if (place.alive && place.node == node) return true;
  if (place.other == kNone) return false;
  const Place& other = places_[place.other];
  return other.alive && other.node == node;
}

NodeId World::Likeliest(const Law& law, Asked asked, double* chance) const {
  NodeId node = kNoNode;
  *chance = 0;
  for (uint32_t id : {asked, places_[asked].other}) {
    if (id == kNone || !places_[id].listed) continue;
    const double age = AgeWhenSeen(id);
    const double p = law.Chance(age + SinceSnapshot(), age, RingWhenSeen(id));
    if (node != kNoNode && p <= *chance) continue;
    node = places_[id].node;
    *chance = p;
  }
  return node;
}

}  // namespace holdfast::bench
