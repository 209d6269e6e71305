// SPDX-License-Identifier: Apache-2.0
#include "bench/estimator_worlds.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>

#include "base/hash.h"
#include "bench/zipf.h"
#include "cached/store/ghosts.h"

namespace holdfast::bench {
namespace {

using snapshot::AgeCells;
using snapshot::Ring;

Duration Seconds(double s) { return Duration(static_cast<int64_t>(s * 1e6)); }

class LifetimeWorld final : public World {
 public:
  explicit LifetimeWorld(uint64_t seed) : random_(seed), objects_(kObjects) {}

  void RunTo(double time, const OnLook& look) override {
    for (; next_ < time; next_ += random_.Exponential(1 / kRequestsPerS)) {
      Object& object = objects_[random_.Below(kObjects)];
      if (object.listed >= 0) {
        // A miss loads elsewhere: the node that the snapshot names has that life of it or nothing.
        const bool found = object.written == object.listed && next_ < object.until;
        look({.age = next_ - object.listed, .seen = snapshot_ - object.listed, .found = found});
      }
      if (next_ >= object.until) Load(&object);
    }
  }

  void Probe(const OnProbe& probe) const override {
    for (const Object& object : objects_) {
      if (object.listed < 0) continue;
      const bool found = object.written == object.listed && next_ < object.until;
      probe({.age = next_ - object.listed, .seen = snapshot_ - object.listed, .found = found}, 1);
    }
  }

  void Snapshot(snapshot::RingEvidence* sum) override {
    snapshot_ = next_;
    for (Object& object : objects_) {
      if (object.written < 0) continue;
      if (object.until <= snapshot_) Bury(&object);
      object.listed = object.written;
    }
    *sum = evicted_;
    for (const Object& object : objects_) {
      if (object.written >= 0) {
        (*sum)[Ring::kFresh].StillThere(Duration(0), Seconds(snapshot_ - object.written), 1);
      }
    }
  }

 private:
  static constexpr uint64_t kObjects = 10'000;
  static constexpr double kRequestsPerS = 4;

  struct Object {
    double written = -1;
    double until = -1;
    double listed = -1;  // as written, in the last snapshot
  };

  void Bury(Object* object) {
    evicted_[Ring::kFresh].Evicted(Duration(0), Seconds(object->until - object->written), 1);
    object->written = -1;
  }
  void Load(Object* object) {
    if (object->written >= 0) Bury(object);
    object->written = next_;
    object->until = next_ + LifetimeLaw::kYouth +
                    LifetimeLaw::kScale * std::pow(random_.Exponential(1), 1 / LifetimeLaw::kShape);
  }

  Random random_;
  double next_ = 0;
  double snapshot_ = 0;
  std::vector<Object> objects_;
  snapshot::RingEvidence evicted_;
};

// Nodes of unequal memory have the home of as many objects each, so that they turn over at
// different speeds, and the cluster's survival curves have a slope. The smallest have one ring, as
// tiers of so few segments do.
class RingWorld final : public World {
 public:
  explicit RingWorld(uint64_t seed) : random_(seed), objects_(kObjects) {
    nodes_.reserve(kNodes);
    for (uint32_t node = 0; node < kNodes; ++node) nodes_.emplace_back(24 + 3 * node);
  }

  void RunTo(double time, const OnLook& look) override {
    for (; next_ < time; next_ += random_.Exponential(1 / kRequestsPerS)) {
      const uint32_t id = Requests().Draw(&random_);
      Object& object = objects_[id];
      if (object.listed >= 0) look(LookAt(object));
      if (object.written >= 0) {
        object.reads = std::min<uint8_t>(object.reads + 1, kMostReads);
      } else {
        Load(id);
      }
    }
  }

  void Probe(const OnProbe& probe) const override {
    for (uint32_t id : listed_) probe(LookAt(objects_[id]), Requests().weight(id));
  }

  void Snapshot(snapshot::RingEvidence* sum) override {
    snapshot_ = next_;
    *sum = evicted_;
    for (uint32_t id : listed_) objects_[id].listed = -1;
    listed_.clear();
    for (const Node& node : nodes_) {
      for (const Ring ring : {Ring::kFresh, Ring::kKept}) {
        for (const Segment& segment : node.Of(ring)) {
          for (uint32_t id : segment) List(id, ring, sum);
        }
      }
    }
  }

 private:
  static constexpr uint32_t kObjects = 400'000;
  static constexpr double kExponent = 0.42;
  static constexpr double kRequestsPerS = 10;
  static constexpr uint32_t kNodes = 32;
  static constexpr size_t kRecords = 8;     // of a segment
  static constexpr size_t kMostKept = 7;    // of a victim's
  static constexpr uint8_t kMostReads = 2;  // that count, beyond the one for which it was loaded
  static constexpr size_t kMinForTwoRings = 32;
  static constexpr size_t kFreshPart = 10;

  struct Object {
    float written = -1;
    float listed = -1;
    Ring listed_in = Ring::kFresh;
    uint8_t reads = 0;
  };
  using Segment = std::vector<uint32_t>;
  struct Node {
    explicit Node(size_t of_segments)
        : segments(of_segments),
          ghosts(2 * of_segments * kRecords, of_segments * kRecords / 10 * 9) {}
    std::deque<Segment>& Of(Ring ring) { return rings[static_cast<size_t>(ring)]; }
    const std::deque<Segment>& Of(Ring ring) const { return rings[static_cast<size_t>(ring)]; }
    Ring kept() const { return segments < kMinForTwoRings ? Ring::kFresh : Ring::kKept; }
    bool full() const { return rings[0].size() + rings[1].size() > segments; }

    size_t segments;
    std::array<std::deque<Segment>, snapshot::kRings> rings;
    store::Ghosts ghosts;
  };

  static const Zipf& Requests() {
    static const Zipf zipf(kObjects, kExponent);
    return zipf;
  }
  static Oid OidOf(uint32_t id) { return {Mix64(id), id}; }

  Look LookAt(const Object& object) const {
    return {.age = next_ - object.listed,
            .seen = snapshot_ - object.listed,
            .ring = object.listed_in,
            .found = object.written >= 0};
  }

  void List(uint32_t id, Ring ring, snapshot::RingEvidence* sum) {
    Object& object = objects_[id];
    object.listed = object.written;
    object.listed_in = ring;
    listed_.push_back(id);
    (*sum)[ring].StillThere(Duration(0), Seconds(snapshot_ - object.written), 1);
  }

  void Load(uint32_t id) {
    Node& node = nodes_[id % kNodes];
    objects_[id].written = static_cast<float>(next_);
    objects_[id].reads = 0;
    Append(&node, node.ghosts.Has(OidOf(id)) ? node.kept() : Ring::kFresh, id);
    while (node.full()) Reclaim(&node);
  }

  static void Append(Node* node, Ring ring, uint32_t id) {
    std::deque<Segment>& segments = node->Of(ring);
    if (segments.empty() || segments.back().size() == kRecords) segments.emplace_back();
    segments.back().push_back(id);
  }

  // Of the sealed segments.
  static Ring Victims(const Node& node) {
    const size_t fresh = node.Of(Ring::kFresh).size(), kept = node.Of(Ring::kKept).size();
    const size_t sealed = (fresh > 0 ? fresh - 1 : 0) + (kept > 0 ? kept - 1 : 0);
    return fresh > 1 && fresh - 1 >= sealed / kFreshPart ? Ring::kFresh : Ring::kKept;
  }

  void Reclaim(Node* node) {
    const Ring ring = Victims(*node);
    const Segment victim = std::move(node->Of(ring).front());
    node->Of(ring).pop_front();
    std::vector<std::pair<uint32_t, uint64_t>> evicted;  // by cell of age
    size_t again = 0;
    for (uint32_t id : victim) {
      Object& object = objects_[id];
      const Duration age = Seconds(next_ - object.written);
      if (object.reads > 0 && again < kMostKept) {
        ++again;
        --object.reads;
        if (ring != node->kept()) evicted_.Moved(age, 1);
        Append(node, node->kept(), id);
        continue;
      }
      object.written = -1;
      node->ghosts.Dropped(OidOf(id), 1);
      const uint32_t cell = AgeCells::CellOf(age);
      if (evicted.empty() || evicted.back().first != cell) evicted.push_back({cell, 0});
      ++evicted.back().second;
    }
    for (const auto& [cell, count] : evicted) {
      evicted_[ring].Evicted(Duration(0), AgeCells::StartOf(cell), count);
    }
  }

  Random random_;
  double next_ = 0;
  double snapshot_ = 0;
  std::vector<Object> objects_;
  std::vector<Node> nodes_;
  std::vector<uint32_t> listed_;  // in the last snapshot
  snapshot::RingEvidence evicted_;
};

}  // namespace

double LifetimeLaw::Survival(double age) {
  return age <= kYouth ? 1 : std::exp(-std::pow((age - kYouth) / kScale, kShape));
}

std::unique_ptr<World> MakeLifetimeWorld(uint64_t seed) {
  return std::make_unique<LifetimeWorld>(seed);
}
std::unique_ptr<World> MakeRingWorld(uint64_t seed) { return std::make_unique<RingWorld>(seed); }

}  // namespace holdfast::bench
