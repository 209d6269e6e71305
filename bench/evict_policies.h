// SPDX-License-Identifier: Apache-2.0
// The peers of bench evict: eviction policies over bytes, object by object, without any overhead.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/evict_traces.h"

namespace holdfast::bench {

class Policy {
 public:
  virtual ~Policy() = default;
  // A request for an object that is asked for again at position `next` of the trace. A hit? What
  // was not there is there afterwards, unless it is larger than the cache.
  virtual bool Request(uint32_t object, uint32_t next) = 0;
};

// `sizes` by object outlive the policy.
using MakePolicy = std::unique_ptr<Policy> (*)(const std::vector<uint32_t>& sizes,
                                               uint64_t capacity);

std::unique_ptr<Policy> MakeFifo(const std::vector<uint32_t>& sizes, uint64_t capacity);
std::unique_ptr<Policy> MakeLru(const std::vector<uint32_t>& sizes, uint64_t capacity);
// Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023,
// algorithm 1: a tenth of the bytes for the small queue, the ghost as large as the main one.
std::unique_ptr<Policy> MakeS3Fifo(const std::vector<uint32_t>& sizes, uint64_t capacity);
// Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is simpler than LRU", NSDI 2024, algorithm 1.
std::unique_ptr<Policy> MakeSieve(const std::vector<uint32_t>& sizes, uint64_t capacity);
// Belady, "A study of replacement algorithms for a virtual-storage computer", 1966: whose next use
// is the farthest leaves, be it the object that has just come. With unequal sizes a good policy,
// not the best.
std::unique_ptr<Policy> MakeBelady(const std::vector<uint32_t>& sizes, uint64_t capacity);

}  // namespace holdfast::bench
