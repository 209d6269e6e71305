// SPDX-License-Identifier: Apache-2.0
// The objects of one snapshot, followed through the later ones of the log: which share of them is
// listed still. That share would only fall, if objects that had left did not come back: it rises
// where they are loaded again, which is work that a larger or a better used cluster would not have
// had.
//
// An object counts as
//   back     it is listed, and was not in some snapshot before: it was evicted and loaded again
//   renewed  it is listed, was in every snapshot, and yet is younger than the first one: it was
//            loaded again between two snapshots, or by another node, or promises for it have ended
// Of more than kMostFollowed objects a sample is followed, by their prints.
#pragma once

#include <cstdint>
#include <vector>

#include "snapshot/log.h"

namespace holdfast::cli {

class Cohort {
 public:
  static constexpr uint64_t kMostFollowed = 65'536;

  // The objects of the first snapshot from number `from` on that has any.
  explicit Cohort(uint64_t from) : from_(from) {}

  // Every frame of the log, one after the other.
  void Saw(const snapshot::SnapshotLog& log);

  struct Point {
    uint64_t snapshot = 0;
    Duration later{};  // than the first one
    uint64_t listed = 0;
    uint64_t back = 0;  // of those that are listed
    uint64_t renewed = 0;
    uint64_t same() const { return listed - back - renewed; }
  };
  // The snapshot itself first. Empty when none has any objects.
  const std::vector<Point>& points() const { return points_; }
  uint64_t objects() const { return objects_; }  // different ones in the first snapshot
  uint64_t followed() const { return members_.size(); }
  snapshot::Stamp start() const { return start_; }

  // The share that the curve expects to be there still `later`, by how old they were. What was held
  // counts as new then.
  double Expected(const snapshot::SurvivalCurve& curve, Duration later) const;

 private:
  struct Member {
    snapshot::Print print = 0;
    bool left = false;
  };
  void Begin(const snapshot::SnapshotLog& log);

  uint64_t from_;
  snapshot::Stamp start_{};
  uint64_t objects_ = 0;
  std::vector<Member> members_;
  std::vector<uint64_t> ages_;  // members by cell of age
  std::vector<Point> points_;
};

}  // namespace holdfast::cli
