// SPDX-License-Identifier: Apache-2.0
#include "io/disk/read_ring.h"

#include <cerrno>
#include <utility>

#include "base/status.h"

namespace holdfast::disk {
namespace {

// Whoever gets what was read may ask for more, and the device waits for it: all that has ended in one go
// had the device idle for a quarter of the time.
constexpr size_t kAtOnce = 4;
// With so many under way what comes may wait for others, so many of them, or for the next that ends.
constexpr size_t kBusy = 4;
constexpr size_t kTogether = 8;

}  // namespace

std::unique_ptr<ReadRing> ReadRing::Open(uint32_t depth) {
  std::unique_ptr<ReadRing> ring(new ReadRing(depth));
  if (::io_uring_queue_init(depth, &ring->ring_, IORING_SETUP_CLAMP) != 0) return nullptr;
  ring->open_ = true;
  for (uint64_t i = depth; i-- > 0;) ring->free_.push_back(i);
  if (ring->ring_.sq.ring_entries < depth) return nullptr;
  return ring;
}

ReadRing::~ReadRing() {
  if (!open_) return;
  Flush();
  while (under_way_ > 0) {
    io_uring_cqe* cqe = nullptr;
    if (::io_uring_wait_cqe(&ring_, &cqe) != 0) continue;
    for (; ::io_uring_peek_cqe(&ring_, &cqe) == 0; --under_way_) ::io_uring_cqe_seen(&ring_, cqe);
  }
  ::io_uring_queue_exit(&ring_);
}

void ReadRing::Submit(DiskOp read) {
  HF_CHECK(read.reads() && read.bytes_left() <= kMostBytes);
  if (free_.empty()) return waiting_.push_back(std::move(read));
  const uint64_t slot = free_.back();
  free_.pop_back();
  slots_[slot] = std::move(read);
  Begin(slot);
}

// The next call of the slot's operation, or its end.
void ReadRing::Begin(uint64_t slot) {
  const std::optional<DiskOp::Call> call = slots_[slot]->Next(buffers_[slot]);
  if (call) {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    HF_CHECK(sqe != nullptr);  // every slot has one at most
    ::io_uring_prep_read(sqe, call->fd, call->data, static_cast<unsigned>(call->bytes),
                         call->offset);
    ::io_uring_sqe_set_data64(sqe, slot);
    ++prepared_;
    if (under_way_ < kBusy || prepared_ >= kTogether) Flush();
    return;
  }
  DiskOp op = *std::exchange(slots_[slot], std::nullopt);
  free_.push_back(slot);
  op.Finish();
}

void ReadRing::Flush() {
  while (prepared_ > 0) {
    const int submitted = ::io_uring_submit(&ring_);
    if (submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY) continue;
    HF_CHECK(submitted > 0);
    prepared_ -= static_cast<size_t>(submitted);
    under_way_ += static_cast<size_t>(submitted);
  }
}

void ReadRing::Reap() {
  Flush();  // it has waited for this
  io_uring_cqe* cqe = nullptr;
  for (size_t n = 0; n < kAtOnce && ::io_uring_peek_cqe(&ring_, &cqe) == 0; ++n) {
    const uint64_t slot = ::io_uring_cqe_get_data64(cqe);
    const int result = cqe->res;
    ::io_uring_cqe_seen(&ring_, cqe);
    --under_way_;
    Ended(slot, result);
  }
  if (under_way_ < kBusy) Flush();
}

void ReadRing::Ended(uint64_t slot, int result) {
  slots_[slot]->Took(result);
  Begin(slot);
  while (!waiting_.empty() && !free_.empty()) {
    DiskOp next = std::move(waiting_.front());
    waiting_.pop_front();
    Submit(std::move(next));
  }
}

}  // namespace holdfast::disk
