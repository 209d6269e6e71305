// SPDX-License-Identifier: Apache-2.0
// The reads under way of a job's readers, with the buffers that they fill. They belong to the job,
// so that a reader can go at any time: what arrives for it later is dropped, and the memory stays
// until the last byte came.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "base/env.h"

namespace holdfast::jobclient {

class Flights {
 public:
  // What became of one item; `bytes` is the buffer that was given for it.
  using Landed = std::function<void(size_t item, BulkOutcome outcome, Buffer bytes)>;

  // Stored in the job before the read starts. `owner` is whoever may Orphan it.
  uint64_t Add(const void* owner, std::vector<Buffer> buffers, Landed landed);
  ByteSpan Room(uint64_t flight, size_t item);
  // One item is through; each item lands once, and after the last one the flight is gone.
  void Land(uint64_t flight, size_t item, BulkOutcome outcome);
  // Nobody is told any more of this owner's flights.
  void Orphan(const void* owner);

  size_t size() const { return flights_.size(); }

 private:
  struct Flight {
    const void* owner;
    std::vector<Buffer> buffers;
    std::vector<bool> landed_items;
    size_t left;
    Landed landed;
  };
  uint64_t next_ = 1;
  std::map<uint64_t, Flight> flights_;
};

}  // namespace holdfast::jobclient
