// SPDX-License-Identifier: Apache-2.0
// A simulated cluster whose objects come and go, and the log
// that visits it: what bench decide plays its policies on. Nodes tell what the real ones tell: what
// they hold with ages, and the sums of ages at eviction.
//
// Churn has a clock of its own: objects live for so many units of it. When the churn grows
// ten-fold, it runs ten times as fast.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/random.h"
#include "snapshot/known.h"
#include "snapshot/rings.h"

namespace holdfast::bench {

enum class Churn : uint8_t {
  kPlateau = 0,  // independent lives: nothing is evicted at first, then an exponential tail
  kWear = 1,     // independent lives: who has lived long, lives longer (Weibull, shape 0.6)
  kRing = 2,     // the store's own: a fresh and a kept ring, segments that leave whole
};
const char* NameOf(Churn churn);

// The true law of survival, for an object that somebody asks for; ages in units of churn.
class Law {
 public:
  virtual ~Law() = default;
  // P(there at x | seen there at y, in this ring), x >= y.
  virtual double Chance(double x, double y, snapshot::Ring ring) const = 0;
};
// The ring's is counted in a long run of such a ring.
std::unique_ptr<Law> MakeLaw(Churn churn, bool renew_ages = false);

struct WorldOptions {
  Churn churn = Churn::kPlateau;
  uint32_t nodes = 8;
  uint32_t objects = 4'000;               // in the cluster
  Duration unit = std::chrono::hours(1);  // of churn, at first
  // In the ring: what is written again counts as new, else its age counts from when it was loaded.
  bool renew_ages = false;
  uint64_t seed = 1;
};

class World {
 public:
  // It has run for a while.
  explicit World(const WorldOptions& options);

  void AdvanceTo(snapshot::Stamp now);
  // From now on it runs so many times as fast as at first.
  void SetChurn(double factor);
  snapshot::Stamp now() const { return now_; }

  // Visits all nodes: `known` and `evidence` are what the log says then.
  void TakeSnapshot();
  const snapshot::Known& known() const { return known_; }
  const snapshot::RingEvidence& evidence() const { return evidence_; }
  const snapshot::SurvivalCurve& curve() const { return curve_; }

  // Somebody asks for an object that is in the log, or, where `also_new`, came since; each as often
  // as its popularity is, whether it is there still or not.
  using Asked = uint32_t;
  Asked Ask(bool also_new);
  bool IsKnown(Asked asked) const { return places_[asked].listed; }
  snapshot::Print PrintOf(Asked asked) const { return places_[asked].print; }
  bool IsAt(Asked asked, NodeId node) const;
  bool IsAlive(Asked asked) const { return places_[asked].alive; }  // at the node of this sighting
  // The node where it is likeliest by law and log.
  NodeId Likeliest(const Law& law, Asked asked, double* chance) const;

  double loads_per_s() const;  // about, now
  uint64_t known_objects() const { return listed_.size(); }
  const WorldOptions& options() const { return options_; }
  // Units of churn since the snapshot, and the age that the object had then.
  double SinceSnapshot() const { return churn_ - seen_churn_; }
  double AgeWhenSeen(Asked asked) const { return seen_churn_ - places_[asked].logged_churn; }
  snapshot::Ring RingWhenSeen(Asked asked) const { return places_[asked].logged_ring; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  // One object at one node.
  struct Place {
    snapshot::Print print = 0;
    NodeId node = kNoNode;
    bool alive = false;
    bool hot = false;
    bool listed = false;  // in the log
    snapshot::Ring ring = snapshot::Ring::kFresh;
    snapshot::Ring logged_ring = snapshot::Ring::kFresh;  // as it was at the snapshot
    uint32_t other = kNone;                               // a copy at another node
    int64_t written_us = 0;
    double written_churn = 0;
    double logged_churn = 0;    // written, as it was at the snapshot
    double appended_churn = 0;  // written or kept on
    double dies_churn = 0;      // of independent lives
  };
  struct Segment {
    std::vector<uint32_t> places{};
  };
  struct RingNode {
    std::deque<Segment> fresh{};
    std::deque<Segment> kept{};
    double next_churn = 0;  // when the next object is loaded
    double rate = 1;        // of its loads: busy nodes and idle ones
    double rate_until = 0;
  };

  uint32_t NewPlace(NodeId node, double churn);
  void Evict(uint32_t place);
  bool WasRead(uint32_t place, double units);
  void AdvanceLives();
  void AdvanceRing(NodeId node);
  void Append(NodeId node, snapshot::Ring ring, uint32_t place);
  void Reclaim(NodeId node);
  int64_t UsAt(double churn) const;

  WorldOptions options_;
  Random random_;
  snapshot::Stamp now_{};
  double churn_ = 0;  // the clock
  double units_per_us_ = 0;
  std::vector<Place> places_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> alive_;  // of independent lives: as many as there are objects
  std::vector<RingNode> ring_;
  uint32_t segment_objects_ = 0;
  snapshot::Print next_print_ = 1;
  double evict_churn_ = 0;  // the instant of what is being evicted

  snapshot::RingEvidence evicted_;  // since the nodes' start
  snapshot::RingEvidence before_;   // sums as of the last snapshot
  snapshot::RingEvidence evidence_;
  snapshot::SurvivalCurve curve_;  // of both rings
  snapshot::Known known_;
  snapshot::Stamp seen_{};
  double seen_churn_ = 0;
  std::vector<uint32_t> listed_;
  std::vector<uint32_t> new_;  // loaded since, alive or not
};

}  // namespace holdfast::bench
