// SPDX-License-Identifier: Apache-2.0
// How fast one kind of loads is, against what was configured or assumed.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/rate_model.h"

namespace holdfast::cached {

class Pace {
 public:
  Pace(uint64_t objects_per_s, uint64_t bytes_per_s)
      : objects_per_s_(std::max<uint64_t>(objects_per_s, 1)),
        bytes_per_s_(std::max<uint64_t>(bytes_per_s, 1'000)) {}

  void Done(uint64_t bytes) {
    ++done_objects_;
    done_bytes_ += bytes;
  }
  uint64_t done_bytes() const { return done_bytes_; }  // in this second

  // A second is over. When this was what kept the node `busy`, what was done says how slow it is.
  void Tick(bool busy) {
    if (busy && done_objects_ > 0) {
      const uint64_t modelled_us =
          done_objects_ * 1'000'000 / objects_per_s_ + done_bytes_ * 1'000'000 / bytes_per_s_;
      const auto permille =
          static_cast<int64_t>(1'000'000'000 / std::max<uint64_t>(modelled_us, 1));
      slowness_permille_ =
          std::clamp<int64_t>((slowness_permille_ * 3 + permille) / 4, 10, 1'000'000);
    }
    done_objects_ = done_bytes_ = 0;
  }

  // Without a start.
  RateModel Model() const {
    const auto slowness = static_cast<uint64_t>(slowness_permille_);
    return {.start = {},
            .ns_per_object = 1'000'000 * slowness / objects_per_s_,
            .ns_per_mib = (kMiB * 1'000 / (bytes_per_s_ / 1'000)) * slowness / 1'000};
  }

 private:
  uint64_t objects_per_s_;
  uint64_t bytes_per_s_;
  uint64_t done_objects_ = 0;  // since the last Tick
  uint64_t done_bytes_ = 0;
  int64_t slowness_permille_ = 1'000;
};

}  // namespace holdfast::cached
