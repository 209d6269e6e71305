// SPDX-License-Identifier: Apache-2.0
// Where records go that leave a tier for good: what leaves memory, and the disk does not take, to peers;
// what leaves the disk up into memory, whence it goes to peers, too.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bitmap.h"
#include "base/ids.h"
#include "base/units.h"
#include "wire/disk_segment.h"
#include "wire/shm_layout.h"

namespace holdfast::store {

// A record that can be read in this node's memory a moment longer.
struct LeavingRecord {
  Oid oid;
  VersionHash version = 0;
  uint64_t size = 0;
  Duration age{};  // since it was loaded
  std::string name{};
  std::string etag{};

  uint64_t record_bytes() const { return shm::RecordBytes(size, name.size(), etag.size()); }
};

// Of a memory tier.
struct Outlet {
  static constexpr size_t kMostRecords = 16'384;  // at a time

  // Bytes of records that it would take now; 0: nothing.
  std::function<uint64_t()> room{};
  // Takes up to kMostRecords of them. `done` runs once, later, when none of them will be read any
  // more; until then it helps when they stay, and it is no harm when they do not.
  std::function<void(std::vector<LeavingRecord>, std::function<void()> done)> take{};
};

// Of a disk tier.
struct DiskOutlet {
  std::function<uint64_t()> room{};  // as above
  // Takes records that can be looked up on the disk until `done`, which runs once, later, and says of each
  // whether it is in memory then.
  std::function<void(std::vector<disk::Entry>, std::function<void(const Bitmap& taken)> done)>
      take{};
};

}  // namespace holdfast::store
