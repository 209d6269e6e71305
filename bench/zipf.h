// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/random.h"

namespace holdfast::bench {

// Zipf's law over [0, n), by Vose's alias method (1991).
class Zipf {
 public:
  Zipf(uint32_t n, double exponent) : weight_(n), share_(n), alias_(n) {
    double sum = 0;
    for (uint32_t i = 0; i < n; ++i) sum += weight_[i] = share_[i] = std::pow(i + 1, -exponent);
    std::vector<uint32_t> small, large;
    for (uint32_t i = 0; i < n; ++i) {
      share_[i] *= n / sum;
      (share_[i] < 1 ? small : large).push_back(i);
    }
    while (!small.empty() && !large.empty()) {
      const uint32_t a = small.back(), b = large.back();
      small.pop_back();
      alias_[a] = b;
      share_[b] -= 1 - share_[a];
      if (share_[b] < 1) large.pop_back(), small.push_back(b);
    }
    for (uint32_t i : small) share_[i] = 1;
    for (uint32_t i : large) share_[i] = 1;
  }
  uint32_t Draw(Random* random) const {
    const auto i = static_cast<uint32_t>(random->Below(share_.size()));
    return random->Unit() < share_[i] ? i : alias_[i];
  }
  double weight(uint32_t i) const { return weight_[i]; }

 private:
  std::vector<double> weight_;
  std::vector<double> share_;
  std::vector<uint32_t> alias_;
};

}  // namespace holdfast::bench
