// SPDX-License-Identifier: Apache-2.0
// A job's choice among the bids: pure. Works chunk by chunk, word by word, as the bids come in.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bitmap.h"
#include "base/rate_model.h"
#include "planner/manifest.h"
#include "planner/placement.h"
#include "planner/record_cost.h"

namespace holdfast::planner {

// One node's bids for a chunk, as received; all bitmaps over the chunk.
struct NodeBids {
  NodeId node = kNoNode;
  Bitmap keep, load, spare;
  RateModel rate;
  Bitmap near{};          // of load and spare: on the node's disk. Empty: nothing
  RateModel near_rate{};  // of those
};

// What goes back to one node: the bids that are confirmed. Everything else is cancelled.
struct NodeChoice {
  NodeId node = kNoNode;
  Bitmap keep, load;
  Bitmap near{};  // of load
};

// What is already assigned to a node by this job, over all chunks so far.
struct NodeLoad {
  NodeId node = kNoNode;
  uint64_t objects = 0;  // to load from far away
  uint64_t bytes = 0;
  uint64_t spare_room_bytes = 0;  // what the node may still take beyond its reserved offers
  uint64_t near_objects = 0;      // to load from its disk
  uint64_t near_bytes = 0;
};

// Assigns every object of a chunk to at most one node, in this order of preference:
//  1. a keep at `reader` (the job's own node; kNoNode: none);
//  2. a keep elsewhere: at the home, else at the lower node id;
//  3. a load from a node's disk, which costs no far request: as 4;
//  4. a load: at the home, unless another bidder's effective finish (RateModel::Finish of what would then be assigned to
//     it) is earlier by more than kMarginPercent and 100 ms; a spare counts only within the node's spare room;
//     of what comes with others from far away it stays at the home that reserved it;
//  5. nobody: the caller calls again or reads it far away.
// Two jobs that see the same bids choose alike.
class Settler {
 public:
  static constexpr uint32_t kMarginPercent = 20;

  // `nodes` with their ids distinct; spare room as AfterOffers (planner/offers.h) leaves it; `cost`
  // is what an object takes of it.
  Settler(const Manifest* manifest, const Placement* placement, NodeId reader,
          std::vector<NodeLoad> nodes, RecordCost cost = {});

  struct Outcome {
    std::vector<NodeChoice> choices;  // one per element of `bids`, in that order
    Bitmap unassigned;                // over the chunk, within `asked`
  };
  // `asked` is over the chunk. Bids of unknown nodes are ignored.
  Outcome Settle(uint32_t first, uint32_t count, const Bitmap& asked,
                 const std::vector<NodeBids>& bids);

  const std::vector<NodeLoad>& loads() const { return loads_; }

 private:
  const Manifest* manifest_;
  const Placement* placement_;
  NodeId reader_;
  std::vector<NodeLoad> loads_;
  RecordCost cost_;
};

}  // namespace holdfast::planner
