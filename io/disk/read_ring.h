// SPDX-License-Identifier: Apache-2.0
// Small reads through io_uring, without a thread between: whoever begins a read is who is told of its
// end. On a device with some 50,000 reads a second the two wake-ups that a thread costs are half of
// what a read takes. While the device is busy a few reads are given to it together: in a virtual machine
// to tell it that there is something costs as much as all the rest.
//
// One thread's.
#pragma once

#include <liburing.h>

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "io/disk/aligned_buffers.h"
#include "io/disk/disk_op.h"

namespace holdfast::disk {

class ReadRing {
 public:
  // More than this takes its time in copying and hashing, which is nothing for a thread that decides.
  static constexpr uint64_t kMostBytes = uint64_t{96} << 10;

  // `depth` reads at a time, each with a buffer. Null where there is no io_uring, or it is not allowed.
  static std::unique_ptr<ReadRing> Open(uint32_t depth);
  // Waits for what is under way; nothing is finished any more.
  ~ReadRing();
  ReadRing(const ReadRing&) = delete;

  // Readable while something has ended that Reap would finish.
  int fd() const { return ring_.ring_fd; }
  void Submit(DiskOp read);
  // Finishes some.
  void Reap();

 private:
  explicit ReadRing(uint32_t depth) : buffers_(depth, kMostBytes + 2 * kBlock), slots_(depth) {}
  void Begin(uint64_t slot);
  void Flush();
  void Ended(uint64_t slot, int result);

  io_uring ring_{};
  bool open_ = false;
  AlignedBuffers buffers_;
  std::vector<std::optional<DiskOp>> slots_;  // each with a buffer
  std::vector<uint64_t> free_;
  size_t prepared_ = 0;   // in the ring, and not given to the device; then some are under way
  size_t under_way_ = 0;  // with the device
  std::deque<DiskOp> waiting_;
};

}  // namespace holdfast::disk
