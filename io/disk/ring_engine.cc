// SPDX-License-Identifier: Apache-2.0
#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "io/disk/aligned_buffer.h"
#include "io/disk/disk_engine.h"
#include "io/disk/op_queue.h"
#include "io/shm/fd.h"

namespace holdfast::disk {
namespace {

class RingEngine final : public DiskEngine {
 public:
  explicit RingEngine(uint32_t depth) : slots_(depth) {}
  ~RingEngine() override;
  bool Start();
  void Submit(DiskOp op) override;

 private:
  struct Slot {
    AlignedBuffer buffer = NewAlignedBuffer();
    std::optional<DiskOp> op{};
  };
  static constexpr uint64_t kWake = UINT64_MAX;

  void Run();
  bool TakeQueued();
  void Step(uint64_t slot);
  void Issue(uint64_t slot, const DiskOp::Call& call);
  void Ended(const io_uring_cqe* cqe);
  void ArmWake();
  io_uring_sqe* NewEntry();
  void Wake() {
    const uint64_t one = 1;
    // Full it is awake enough.
    static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  }

  io_uring ring_{};
  bool has_ring_ = false;
  shm::Fd wake_;
  uint64_t woken_ = 0;  // what the read of wake_ fills
  bool armed_ = false;
  std::vector<Slot> slots_;
  std::vector<uint64_t> free_;

  std::mutex mutex_;
  OpQueue queue_;        // its counts are the thread's, under the lock all the same
  bool sleeps_ = false;  // the thread has seen the queue empty, and nobody has woken it since
  bool ending_ = false;
  std::thread thread_;
};

// A ring that the kernel knows but does not let us use shows here.
bool RingEngine::Start() {
  wake_ = shm::Fd(::eventfd(0, EFD_CLOEXEC));
  const auto entries = static_cast<unsigned>(slots_.size() + 1);
  if (!wake_ || ::io_uring_queue_init(entries, &ring_, IORING_SETUP_CLAMP) != 0) return false;
  has_ring_ = true;
  if (ring_.sq.ring_entries < entries) return false;
  for (uint64_t i = slots_.size(); i-- > 0;) free_.push_back(i);
  thread_ = std::thread([this] { Run(); });
  return true;
}

RingEngine::~RingEngine() {
  if (thread_.joinable()) {
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
    }
    Wake();
    thread_.join();
  }
  if (has_ring_) ::io_uring_queue_exit(&ring_);
}

void RingEngine::Submit(DiskOp op) {
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    queue_.Push(std::move(op));
    wake = std::exchange(sleeps_, false);
  }
  if (wake) Wake();
}

void RingEngine::Run() {
  while (TakeQueued()) {
    ArmWake();
    const int submitted = ::io_uring_submit_and_wait(&ring_, 1);
    HF_CHECK(submitted >= 0 || submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY);
    io_uring_cqe* cqe = nullptr;
    while (::io_uring_peek_cqe(&ring_, &cqe) == 0) {
      Ended(cqe);
      ::io_uring_cqe_seen(&ring_, cqe);
    }
  }
}

// False when it is time to end.
bool RingEngine::TakeQueued() {
  while (true) {
    uint64_t slot = 0;
    {
      std::lock_guard lock(mutex_);
      sleeps_ = queue_.empty();
      if (ending_ && queue_.under_way() == 0) return false;
      if (ending_ || free_.empty() || queue_.empty()) return true;
      slot = free_.back();
      free_.pop_back();
      slots_[slot].op = queue_.Pop();
    }
    Step(slot);
  }
}

void RingEngine::Step(uint64_t slot) {
  Slot& s = slots_[slot];
  if (std::optional<DiskOp::Call> call = s.op->Next(s.buffer.get())) return Issue(slot, *call);
  s.op->Finish();
  std::lock_guard lock(mutex_);
  queue_.Ended(*s.op);
  s.op.reset();
  free_.push_back(slot);
}

io_uring_sqe* RingEngine::NewEntry() {
  // Every slot and the wake-up have at most one entry each.
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  HF_CHECK(sqe != nullptr);
  return sqe;
}

void RingEngine::Issue(uint64_t slot, const DiskOp::Call& call) {
  io_uring_sqe* sqe = NewEntry();
  const auto bytes = static_cast<unsigned>(call.bytes);
  switch (call.kind) {
    case DiskOp::Kind::kRead:
      ::io_uring_prep_read(sqe, call.fd, call.data, bytes, call.offset);
      break;
    case DiskOp::Kind::kWrite:
      ::io_uring_prep_write(sqe, call.fd, call.data, bytes, call.offset);
      break;
    case DiskOp::Kind::kSync:
      ::io_uring_prep_fsync(sqe, call.fd, IORING_FSYNC_DATASYNC);
      break;
  }
  ::io_uring_sqe_set_data64(sqe, slot);
}

void RingEngine::ArmWake() {
  if (std::exchange(armed_, true)) return;
  io_uring_sqe* sqe = NewEntry();
  ::io_uring_prep_read(sqe, wake_.get(), &woken_, sizeof woken_, 0);
  ::io_uring_sqe_set_data64(sqe, kWake);
}

void RingEngine::Ended(const io_uring_cqe* cqe) {
  const uint64_t slot = ::io_uring_cqe_get_data64(cqe);
  if (slot == kWake) {
    armed_ = false;
    return;
  }
  slots_[slot].op->Took(cqe->res);
  Step(slot);
}

}  // namespace

std::unique_ptr<DiskEngine> MakeRingEngine(uint32_t depth) {
  auto engine = std::make_unique<RingEngine>(depth);
  return engine->Start() ? std::move(engine) : nullptr;
}

}  // namespace holdfast::disk
