// SPDX-License-Identifier: Apache-2.0
// Operations that wait for their turn. Not synchronised.
#pragma once

#include <deque>
#include <utility>

#include "io/disk/disk_op.h"

namespace holdfast::disk {

class OpQueue {
 public:
  bool empty() const { return reads_.empty() && writes_.empty(); }
  void Push(DiskOp op) { (op.reads() ? reads_ : writes_).push_back(std::move(op)); }
  // Of the kind of which fewer are under way, so that neither waits for long behind the other. Not of
  // an empty queue.
  DiskOp Pop() {
    const bool read = writes_.empty() || (!reads_.empty() && reading_ <= writing_);
    std::deque<DiskOp>& from = read ? reads_ : writes_;
    DiskOp op = std::move(from.front());
    from.pop_front();
    ++(read ? reading_ : writing_);
    return op;
  }
  void Ended(const DiskOp& op) { --(op.reads() ? reading_ : writing_); }
  size_t under_way() const { return reading_ + writing_; }

 private:
  std::deque<DiskOp> reads_;
  std::deque<DiskOp> writes_;
  size_t reading_ = 0;
  size_t writing_ = 0;
};

}  // namespace holdfast::disk
