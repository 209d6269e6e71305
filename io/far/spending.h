// SPDX-License-Identifier: Apache-2.0
// Exact counts of what was asked of far stores and what that costs. Written and read from any
// thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/env.h"
#include "io/far/far_options.h"
#include "io/far/verdict.h"

namespace holdfast::far {

class Spending {
 public:
  explicit Spending(const Prices& prices) : prices_(prices) {}

  // A request that was sent, also a repeated one. Directories are not billed.
  void CountRequest(Ask::Kind kind, bool billed, bool repeated);
  // Bytes of bodies that arrived, also those that were thrown away.
  void CountBytes(uint64_t bytes, bool billed);
  // A call that ended with an error.
  void CountError() { errors_.fetch_add(1, std::memory_order_relaxed); }

  FarCounters Read() const;

 private:
  using Counter = std::atomic<uint64_t>;

  const Prices prices_;
  Counter gets_{0};
  Counter heads_{0};
  Counter lists_{0};
  Counter puts_{0};
  Counter bytes_{0};
  Counter retries_{0};
  Counter errors_{0};
  Counter billed_gets_{0};   // and heads
  Counter billed_lists_{0};  // and puts
  Counter billed_bytes_{0};
};

}  // namespace holdfast::far
