// SPDX-License-Identifier: Apache-2.0
// Threads that make the system calls of a disk's operations, each through a buffer of its own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "io/disk/aligned_buffers.h"
#include "io/disk/disk_op.h"

namespace holdfast::disk {

class DiskThreads {
 public:
  explicit DiskThreads(uint32_t threads);
  // Operations under way end, those that wait are dropped without being finished.
  ~DiskThreads();
  // Any thread. The operation ends on one of these.
  void Submit(DiskOp op);

 private:
  void Work(uint32_t thread);

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<DiskOp> reads_;
  std::deque<DiskOp> writes_;  // and syncs
  bool ending_ = false;
  AlignedBuffers buffers_;  // one for each thread
  std::vector<std::thread> threads_;
};

}  // namespace holdfast::disk
