// SPDX-License-Identifier: Apache-2.0
// Who makes the system calls of a disk's operations, many at a time: io_uring, or threads where the
// kernel has none or does not allow it.
#pragma once

#include <cstdint>
#include <memory>

#include "io/disk/disk_op.h"

namespace holdfast::disk {

// Reads do not wait behind all writes, nor writes behind all reads. Any thread may call Submit;
// operations end on a thread of the engine's, in any order.
class DiskEngine {
 public:
  // Operations under way end, those that wait are dropped without being finished.
  virtual ~DiskEngine() = default;
  virtual void Submit(DiskOp op) = 0;
};

// `depth` operations at a time, each with a buffer of DiskOp::kBufferBytes.
std::unique_ptr<DiskEngine> MakeThreadEngine(uint32_t depth);
// One thread and one ring. Null where there is no io_uring.
std::unique_ptr<DiskEngine> MakeRingEngine(uint32_t depth);

}  // namespace holdfast::disk
