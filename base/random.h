// SPDX-License-Identifier: Apache-2.0
// Our own generator and distributions, so that the same seed gives the same numbers with every
// library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace holdfast {

// xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64. Not for secrets.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t Next();
  // Uniform in [0, n); n > 0. Lemire's multiply-and-shift, bias below 2^-64 · n.
  uint64_t Below(uint64_t n);
  // Uniform in [0, 1) with 53 bits.
  double Unit();
  bool Chance(double p) { return Unit() < p; }
  // Exponential with the given mean.
  double Exponential(double mean);

  template <typename T>
  void Shuffle(std::vector<T>& items) {  // Fisher–Yates
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[Below(i)]);
  }

 private:
  uint64_t s_[4];
};

}  // namespace holdfast
