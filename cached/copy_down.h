// SPDX-License-Identifier: Apache-2.0
// Copies to the disk what is in memory and was promised there:
//
//   1. Add    a copy of the record is made, which reclaim of memory cannot take away
//   2. Write  what has come within kTogether, or kAtOnce of it, is given to the disk tier together
//   3. Wrote  it is on the disk now, and is held; or the disk had no room, and it is tried again
//
// The deciding thread's.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "cached/commitments.h"
#include "cached/context.h"

namespace holdfast::cached {

class CopyDown {
 public:
  static constexpr Duration kTogether = 2ms;
  static constexpr uint64_t kAtOnce = 1 * kMiB;
  static constexpr Duration kRetry = 50ms;
  static constexpr uint32_t kRetries = 200;

  // `moved` runs when copies have left: there is room for others.
  CopyDown(const Context* context, Commitments* commitments, std::function<void()> moved)
      : context_(context), commitments_(commitments), moved_(std::move(moved)) {}

  // It is in memory, and somebody waits for it on the disk.
  void Add(const ObjectKey& key);
  // Of copies under way.
  uint64_t bytes() const { return bytes_; }

 private:
  struct Copy {
    ObjectKey key;
    disk::Head head{};
    Buffer payload{};
    uint32_t tries = 0;
  };
  using Copies = std::vector<Copy>;

  void WriteSoon(Duration wait);
  void Write();
  void Wrote(Copies copies);
  void Leave(const Copy& copy);

  const Context* context_;
  Commitments* commitments_;
  std::function<void()> moved_;
  std::set<ObjectKey> under_way_;
  Copies next_;  // to be written
  uint64_t next_bytes_ = 0;
  uint64_t bytes_ = 0;
  bool scheduled_ = false;
};

}  // namespace holdfast::cached
