// SPDX-License-Identifier: Apache-2.0
#include "io/disk/disk_threads.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace holdfast::disk {
namespace {

int64_t Make(const DiskOp::Call& call) {
  int64_t n = 0;
  const auto offset = static_cast<off_t>(call.offset);
  switch (call.kind) {
    case DiskOp::Kind::kRead:
      n = ::pread(call.fd, call.data, call.bytes, offset);
      break;
    case DiskOp::Kind::kWrite:
      n = ::pwrite(call.fd, call.data, call.bytes, offset);
      break;
    case DiskOp::Kind::kSync:
      n = ::fdatasync(call.fd);
      break;
  }
  return n < 0 ? -errno : n;
}

}  // namespace

DiskThreads::DiskThreads(uint32_t threads) : buffers_(threads, DiskOp::kBufferBytes) {
  for (uint32_t i = 0; i < threads; ++i) threads_.emplace_back([this, i] { Work(i); });
}

DiskThreads::~DiskThreads() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  came_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void DiskThreads::Submit(DiskOp op) {
  std::lock_guard lock(mutex_);
  (op.reads() ? reads_ : writes_).push_back(std::move(op));
  came_.notify_one();
}

// Every other thread prefers writes, so that neither waits for long behind the other.
void DiskThreads::Work(uint32_t thread) {
  const bool writes_first = thread % 2 == 1;
  std::deque<DiskOp>& first = writes_first ? writes_ : reads_;
  std::deque<DiskOp>& second = writes_first ? reads_ : writes_;
  std::unique_lock lock(mutex_);
  while (true) {
    came_.wait(lock, [this] { return ending_ || !reads_.empty() || !writes_.empty(); });
    if (ending_) return;
    std::deque<DiskOp>& from = first.empty() ? second : first;
    DiskOp op = std::move(from.front());
    from.pop_front();
    lock.unlock();
    while (std::optional<DiskOp::Call> call = op.Next(buffers_[thread])) op.Took(Make(*call));
    op.Finish();
    lock.lock();
  }
}

}  // namespace holdfast::disk
