// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "io/disk/aligned_buffer.h"
#include "io/disk/disk_engine.h"
#include "io/disk/op_queue.h"

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

class ThreadEngine final : public DiskEngine {
 public:
  explicit ThreadEngine(uint32_t depth) {
    for (uint32_t i = 0; i < depth; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~ThreadEngine() override {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    came_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void Submit(DiskOp op) override {
    std::lock_guard lock(mutex_);
    queue_.Push(std::move(op));
    came_.notify_one();
  }

 private:
  void Work() {
    const AlignedBuffer buffer = NewAlignedBuffer();
    std::unique_lock lock(mutex_);
    while (true) {
      came_.wait(lock, [this] { return ending_ || !queue_.empty(); });
      if (ending_) return;
      DiskOp op = queue_.Pop();
      lock.unlock();
      while (std::optional<DiskOp::Call> call = op.Next(buffer.get())) op.Took(Make(*call));
      op.Finish();
      lock.lock();
      queue_.Ended(op);
    }
  }

  std::mutex mutex_;
  std::condition_variable came_;
  OpQueue queue_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<DiskEngine> MakeThreadEngine(uint32_t depth) {
  return std::make_unique<ThreadEngine>(depth);
}

}  // namespace holdfast::disk
