// SPDX-License-Identifier: Apache-2.0
// What an object takes in a tier. The planner knows no layout: it is told.
#pragma once

#include <cstdint>

namespace holdfast::planner {

struct RecordCost {
  // Of an object of `object_bytes` whose name and ETag take at most `name_bytes`; nullptr: its
  // size.
  uint64_t (*record_bytes)(uint64_t object_bytes, uint32_t name_bytes) = nullptr;
  uint32_t name_bytes = 0;

  uint64_t Of(uint64_t object_bytes) const {
    return record_bytes == nullptr ? object_bytes : record_bytes(object_bytes, name_bytes);
  }
};

}  // namespace holdfast::planner
