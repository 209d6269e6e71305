// SPDX-License-Identifier: Apache-2.0
// Takes up into memory what the disk evicts though it was read there, while peers have room for it: from
// memory it goes to them as all else that leaves it (spill_out.h). Of what the disk's reclaim gives at a
// time:
//
//   1. Begin  kAtOnce of them; what is in memory already is done
//   2. Look   its head on the disk says its name
//   3. Read   its payload comes straight into a ring of memory, where it counts as read once
//   4. End    of all: the disk is told which are in memory now
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "cached/commitments.h"
#include "cached/context.h"

namespace holdfast::cached {

class Lifts {
 public:
  static constexpr size_t kAtOnce = 16;

  struct Counters {
    uint64_t objects = 0;  // taken up, since the start
    uint64_t bytes = 0;
  };

  Lifts(const Context* context, Commitments* commitments)
      : context_(context), commitments_(commitments) {}

  // The outlet of this node's disk (store/outlet.h), which gives one batch after the other.
  void Take(std::vector<disk::Entry> entries, std::function<void(const Bitmap& taken)> done);

  size_t under_way() const { return batch_ ? 1 : 0; }
  const Counters& counters() const { return counters_; }

 private:
  struct Batch {
    std::vector<disk::Entry> entries{};
    std::function<void(const Bitmap& taken)> done{};
    size_t begun = 0;
    size_t under_way = 0;
  };

  void Begin();
  bool IsHere(const disk::Entry& entry) const;
  void Look(size_t i);
  void Read(size_t i, Result<store::DiskTier::Found> found);
  void Keep(size_t i, uint64_t slot, const disk::Head& head, const Status& read);
  void BeginNoMore();
  void Ended();
  void End();

  const Context* context_;
  Commitments* commitments_;
  std::optional<Batch> batch_;
  Counters counters_;
};

}  // namespace holdfast::cached
