// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "wire/disk_segment.h"

namespace holdfast::store {

// An object that was found on a disk: all but its payload.
struct DiskFound {
  disk::Head head{};
  uint32_t segment = 0;
  uint64_t sequence = 0;
  Buffer bytes{};  // what was read of it, its payload's beginning from `payload` on
  uint64_t payload = 0;
  bool tiny = false;  // all of it was read, and has its hash
};

}  // namespace holdfast::store
