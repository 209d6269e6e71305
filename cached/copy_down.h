// SPDX-License-Identifier: Apache-2.0
// Copies to the disk what is in memory and was promised there:
//
//   1. Add    a copy of the record is made, which reclaim of memory cannot take away
//   2. Write  what has come within kTogether, or kAtOnce of it, is given to the disk tier together
//   3. Wrote  it is on the disk now; or the disk had no room, and it is tried again for kPatience,
//             unless the disk takes nothing at all
//
// The deciding thread's.
#pragma once

#include <functional>
#include <set>
#include <vector>

#include "cached/context.h"

namespace holdfast::cached {

class CopyDown {
 public:
  static constexpr Duration kTogether = 2ms;
  static constexpr uint64_t kAtOnce = 1 * kMiB;
  static constexpr Duration kRetry = 500ms;
  static constexpr Duration kPatience = 10s;

  // `wanted` says whether somebody still waits for it on the disk. `done` runs once for each, also from
  // inside Add: it is there, or why it is not.
  CopyDown(const Context* context, std::function<bool(const ObjectKey&)> wanted,
           std::function<void(const ObjectKey&, const Status&)> done)
      : context_(context), wanted_(std::move(wanted)), done_(std::move(done)) {}

  // It is in memory, and somebody waits for it on the disk.
  void Add(const ObjectKey& key);
  // Of copies under way.
  uint64_t bytes() const { return bytes_; }

 private:
  struct Copy {
    ObjectKey key;
    store::DiskWriter::Item item{};  // of the payload
    Buffer payload{};
    Time until;
  };
  using Copies = std::vector<Copy>;

  void Write(Copies copies);
  void Wrote(Copies copies);
  void Done(const Copy& copy, const Status& status);

  const Context* context_;
  std::function<bool(const ObjectKey&)> wanted_;
  std::function<void(const ObjectKey&, const Status&)> done_;
  std::set<ObjectKey> under_way_;
  Copies next_;  // to be written
  uint64_t next_bytes_ = 0;
  uint64_t bytes_ = 0;
  bool scheduled_ = false;
};

}  // namespace holdfast::cached
