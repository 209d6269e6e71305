// SPDX-License-Identifier: Apache-2.0
// Copies of a node's segments, beside the Disk (base/env.h) that has them.
#pragma once

#include <functional>

#include "base/bytes.h"
#include "base/status.h"

namespace holdfast {

// As Disk::Read, and on the same thread. kNotFound when there is no copy; one that is there may be of an
// earlier content of the segment: whoever reads checks.
class SegmentReader {
 public:
  virtual ~SegmentReader() = default;
  virtual void Read(uint32_t segment, uint64_t offset, ByteSpan into,
                    std::function<void(Status, uint64_t hash)> done) = 0;
};

}  // namespace holdfast
