// SPDX-License-Identifier: Apache-2.0
// Two kinds of lives. A node has two rings for what nobody holds (cached/store/segments.h): the fresh
// one, small, in which everything that was loaded shows whether it is wanted again, and the kept one,
// for what was. Who is in the fresh ring leaves it soon, dropped or kept; who is kept stays for very
// long. One curve for both would be wrong for each, so there is one for each, and whoever was seen
// was seen in one of them.
//
// Who goes on from the fresh ring to the kept one is no longer watched in the one, and watched from
// that age on in the other: it entered late (Kaplan and Meier with left truncation; Andersen, Borgan,
// Gill and Keiding, Statistical Models Based on Counting Processes, 1993, III.3). Sums suffice for
// that: of those who moved, the ages.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "snapshot/survival.h"

namespace holdfast::snapshot {

enum class Ring : uint8_t { kFresh = 0, kKept = 1 };
constexpr size_t kRings = 2;

class RingEvidence {
 public:
  SurvivalEvidence& operator[](Ring ring) { return of_[static_cast<size_t>(ring)]; }
  const SurvivalEvidence& operator[](Ring ring) const { return of_[static_cast<size_t>(ring)]; }

  // `count` objects went on from the fresh ring to the kept one at `age`, where what ends their
  // lives, or finds them there still, is told as of lives that began at 0.
  void Moved(Duration age, uint64_t count) {
    (*this)[Ring::kFresh].StillThere(Duration(0), age, count);
    (*this)[Ring::kKept].CameLate(age, count);
  }
  // As those of SurvivalEvidence, of each.
  RingEvidence& operator+=(const RingEvidence& o);
  RingEvidence& operator-=(const RingEvidence& o);
  void Forget(double keep);
  void Follow(RingEvidence recent, Duration passed);
  double effective_evictions() const;
  // Of lives from the load to the end, in whichever ring: for those who ask how long anything stays.
  SurvivalEvidence Together() const;

 private:
  std::array<SurvivalEvidence, kRings> of_;
};

}  // namespace holdfast::snapshot
