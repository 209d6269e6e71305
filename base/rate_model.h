// SPDX-License-Identifier: Apache-2.0
// How fast a node loads: the t1 of a bid as a function of what a job confirms there.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace holdfast {

// t1 of the n-th object, b bytes in all, that a job confirms at a node, in need-by order:
//   start + (n · ns_per_object + b · ns_per_mib / 2^20) / 1000   microseconds, in integers
struct RateModel {
  Duration start{};  // what is ahead in the node's queue, and one far latency
  uint64_t ns_per_object = 0;
  uint64_t ns_per_mib = 0;

  Duration Finish(uint64_t objects, uint64_t bytes) const {
    uint64_t ns = objects * ns_per_object + (bytes >> 10) * ns_per_mib / 1024;
    return start + Duration(ns / 1000);
  }
};

}  // namespace holdfast
