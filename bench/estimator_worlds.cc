// SPDX-License-Identifier: Apache-2.0
#include "bench/estimator_worlds.h"

#include <algorithm>
#include <cmath>
#include <deque>

#include "bench/zipf.h"

namespace holdfast::bench {
namespace {

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

  void Snapshot(snapshot::SurvivalEvidence* sum) override {
    snapshot_ = next_;
    for (Object& object : objects_) {
      if (object.written < 0) continue;
      if (object.until <= snapshot_) Bury(&object);
      object.listed = object.written;
    }
    *sum = evicted_;
    for (const Object& object : objects_) {
      if (object.written >= 0) {
        sum->StillThere(Duration(0), Seconds(snapshot_ - object.written), 1);
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
    evicted_.Evicted(Duration(0), Seconds(object->until - object->written), 1);
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
  snapshot::SurvivalEvidence evicted_;
};

// Nodes of unequal memory have the home of as many objects each, so that they turn over at
// different speeds, and the cluster's survival curve has a slope.
class RingWorld final : public World {
 public:
  explicit RingWorld(uint64_t seed) : random_(seed), objects_(kObjects), nodes_(kNodes) {}

  void RunTo(double time, const OnLook& look) override {
    for (; next_ < time; next_ += random_.Exponential(1 / kRequestsPerS)) {
      const uint32_t id = Requests().Draw(&random_);
      Object& object = objects_[id];
      const bool there = object.written >= 0;
      if (const double written = object.listed; written >= 0) {
        look({.age = next_ - written, .seen = snapshot_ - written, .found = there});
      }
      if (there) {
        object.read = true;
      } else {
        object.written = static_cast<float>(next_);
        Append(id);
      }
    }
  }

  void Probe(const OnProbe& probe) const override {
    for (uint32_t id : listed_) {
      const Object& object = objects_[id];
      const double written = object.listed;
      probe({.age = next_ - written, .seen = snapshot_ - written, .found = object.written >= 0},
            Requests().weight(id));
    }
  }

  void Snapshot(snapshot::SurvivalEvidence* sum) override {
    snapshot_ = next_;
    *sum = evicted_;
    for (uint32_t id : listed_) objects_[id].listed = -1;
    listed_.clear();
    for (const Ring& ring : nodes_) {
      for (const std::vector<uint32_t>& segment : ring) {
        for (uint32_t id : segment) {
          objects_[id].listed = objects_[id].written;
          listed_.push_back(id);
          sum->StillThere(Duration(0), Seconds(snapshot_ - objects_[id].written), 1);
        }
      }
    }
  }

 private:
  static constexpr uint32_t kObjects = 400'000;
  static constexpr double kExponent = 0.42;
  static constexpr double kRequestsPerS = 10;
  static constexpr uint32_t kNodes = 32;
  static constexpr size_t kRecords = 8;  // of a segment

  struct Object {
    float written = -1;
    float listed = -1;
    bool read = false;  // since it was written
  };
  using Ring = std::deque<std::vector<uint32_t>>;

  static const Zipf& Requests() {
    static const Zipf zipf(kObjects, kExponent);
    return zipf;
  }
  static size_t SegmentsOf(uint32_t node) { return 24 + 3 * node; }

  void Append(uint32_t id) {
    const uint32_t node = id % kNodes;
    Ring& ring = nodes_[node];
    objects_[id].read = false;
    if (ring.empty() || ring.back().size() == kRecords) ring.emplace_back();
    ring.back().push_back(id);
    if (ring.size() > SegmentsOf(node)) Reclaim(&ring);
  }

  void Reclaim(Ring* ring) {
    const std::vector<uint32_t> victim = std::move(ring->front());
    ring->pop_front();
    std::vector<std::pair<uint32_t, uint64_t>> evicted;  // by cell of age
    size_t again = 0;
    for (uint32_t id : victim) {
      Object& object = objects_[id];
      const Duration age = Seconds(next_ - object.written);
      if (object.read && again < kRecords / 2) {
        ++again;
        Append(id);
        continue;
      }
      object.written = -1;
      const uint32_t cell = snapshot::AgeCells::CellOf(age);
      if (evicted.empty() || evicted.back().first != cell) evicted.push_back({cell, 0});
      ++evicted.back().second;
    }
    for (const auto& [cell, count] : evicted) {
      evicted_.Evicted(Duration(0), snapshot::AgeCells::StartOf(cell), count);
    }
  }

  Random random_;
  double next_ = 0;
  double snapshot_ = 0;
  std::vector<Object> objects_;
  std::vector<Ring> nodes_;
  std::vector<uint32_t> listed_;  // in the last snapshot
  snapshot::SurvivalEvidence evicted_;
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
