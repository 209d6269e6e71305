// SPDX-License-Identifier: Apache-2.0
// Which node has promised which object to one job.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>

#include "base/bitmap.h"
#include "jobclient/job.h"
#include "planner/manifest.h"

namespace holdfast::jobclient {

class Promises {
 public:
  // `manifest` outlives this.
  explicit Promises(const planner::Manifest* manifest);

  // From any thread; everything else is for the deciding one.
  NodeId NodeOf(uint32_t index) const { return owners_[index].load(std::memory_order_relaxed); }

  // What a node acknowledged of the chunk that begins at `first`; the later promise for an object
  // replaces the earlier.
  struct Given {
    const Bitmap* keep;
    const Bitmap* load;
    const Bitmap* near;  // of load: from the node's disk
  };
  void Give(NodeId node, uint32_t first, const Given& given);
  // False when it was not this node's.
  bool TakeAway(NodeId node, uint32_t index);
  // A node is away: what it had promised is nobody's, but remembered.
  void Suspend(NodeId node);
  // It came back and still holds it: what nobody else promised meanwhile is its again. Returns the
  // number.
  uint64_t Resume(NodeId node);
  // It forgot.
  void Forget(NodeId node) { suspended_.erase(node); }

  // What nobody has promised, over the manifest.
  Bitmap Missing() const;
  bool HasAny(NodeId node) const;
  // Fills everything of `report` that follows from who promised what: counts and bytes, in all and
  // per node (by id, in report->nodes). `reader` as in JobOptions, `far`, if there is one, says what
  // comes together.
  void CountInto(NodeId reader, const FarStore* far, PlanReport* report) const;

 private:
  const planner::Manifest* manifest_;
  std::unique_ptr<std::atomic<NodeId>[]> owners_;
  Bitmap kept_;  // the promise was a keep, not a load; meaningful where there is one
  Bitmap near_;  // a load from a disk
  std::map<NodeId, Bitmap> suspended_;
};

}  // namespace holdfast::jobclient
