// SPDX-License-Identifier: Apache-2.0
// Who moves the bytes of reclaim: a worker elsewhere, if there is one and it does; else this node. What a
// worker says to have moved is sampled: one record of each move is read back.
#pragma once

#include <functional>
#include <memory>

#include "base/env.h"
#include "wire/record_mover.h"

namespace holdfast::store {

class FallbackMover : public SegmentMover {
 public:
  static constexpr Duration kRest = 1s;       // of a worker that did not do it; doubled each time
  static constexpr Duration kMostRest = 60s;  // that it was waited for in vain
  static constexpr Duration kDistrust = 10 * 60s;  // and of one that only said so

  struct Counters {
    uint64_t here = 0;       // moves by this node
    uint64_t elsewhere = 0;  // and by the worker, right as far as they were looked at
    uint64_t failed = 0;     // that the worker did not do, and this node did
    uint64_t wrong = 0;      // that were not there
  };

  // `elsewhere` and `copies` may be null. A move from a copy is this node's, who can read it.
  FallbackMover(const Env& env, Disk* disk, SegmentReader* copies, SegmentMover* elsewhere)
      : env_(env), disk_(disk), elsewhere_(elsewhere), here_(disk, copies) {}

  // As SegmentMover says it of both; the statuses are this node's own.
  void Move(SegmentMove move, std::function<void(Moved)> done) override;
  const Counters& counters() const { return counters_; }

 private:
  struct Work {
    SegmentMove move{};
    std::function<void(Moved)> done{};
    Moved moved{};
    Buffer sample{};
  };
  void MovedElsewhere(const std::shared_ptr<Work>& work);
  void Check(const std::shared_ptr<Work>& work, const disk::Entry& record);
  void MoveHere(const std::shared_ptr<Work>& work);
  void Rest(Duration rest, const Status& why);

  Env env_;
  Disk* disk_;
  SegmentMover* elsewhere_;
  RecordMover here_;
  bool failing_ = false;   // it was said
  Duration rest_ = kRest;  // the next one
  Time rests_until_{INT64_MIN / 2};
  Counters counters_;
};

}  // namespace holdfast::store
