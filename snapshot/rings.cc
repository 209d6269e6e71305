// SPDX-License-Identifier: Apache-2.0
#include "snapshot/rings.h"

#include <utility>

namespace holdfast::snapshot {

RingEvidence& RingEvidence::operator+=(const RingEvidence& o) {
  for (size_t ring = 0; ring < kRings; ++ring) of_[ring] += o.of_[ring];
  return *this;
}

RingEvidence& RingEvidence::operator-=(const RingEvidence& o) {
  for (size_t ring = 0; ring < kRings; ++ring) of_[ring] -= o.of_[ring];
  return *this;
}

void RingEvidence::Forget(double keep) {
  for (SurvivalEvidence& evidence : of_) evidence.Forget(keep);
}

void RingEvidence::Follow(RingEvidence recent, Duration passed) {
  for (size_t ring = 0; ring < kRings; ++ring) {
    of_[ring].Follow(std::move(recent.of_[ring]), passed);
  }
}

double RingEvidence::effective_evictions() const {
  double sum = 0;
  for (const SurvivalEvidence& evidence : of_) sum += evidence.effective_evictions();
  return sum;
}

SurvivalEvidence RingEvidence::Together() const {
  SurvivalEvidence all = of_[0];
  all += of_[1];
  return all;
}

}  // namespace holdfast::snapshot
