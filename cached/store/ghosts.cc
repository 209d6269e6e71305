// SPDX-License-Identifier: Apache-2.0
#include "cached/store/ghosts.h"

#include <algorithm>

namespace holdfast::store {
namespace {

// Periods of a window: what was dropped longer ago is forgotten. A place that nobody takes for 256
// periods seems filled again for one window.
constexpr uint8_t kPeriods = 16;

// The bits of an OID that neither the place here nor the index uses for its first bucket.
uint8_t PrintOf(const Oid& oid) { return static_cast<uint8_t>(oid.hi >> 56); }

}  // namespace

Ghosts::Ghosts(uint64_t objects, uint64_t window_bytes)
    : ghosts_(objects / 2 + 1),
      period_bytes_(std::max<uint64_t>(window_bytes / kPeriods, 1)),
      // The places that are empty lie a window and more back.
      dropped_bytes_(period_bytes_ * (kPeriods + 1)) {}

size_t Ghosts::PlaceOf(const Oid& oid) const {
  return static_cast<size_t>((static_cast<unsigned __int128>(oid.hi << 8) * ghosts_.size()) >> 64);
}

void Ghosts::Dropped(const Oid& oid, uint64_t record_bytes) {
  dropped_bytes_ += record_bytes;
  ghosts_[PlaceOf(oid)] = {PrintOf(oid), static_cast<uint8_t>(dropped_bytes_ / period_bytes_)};
}

bool Ghosts::Has(const Oid& oid) const {
  const Ghost& ghost = ghosts_[PlaceOf(oid)];
  const auto age = static_cast<uint8_t>(dropped_bytes_ / period_bytes_ - ghost.period);
  return ghost.print == PrintOf(oid) && age < kPeriods;
}

}  // namespace holdfast::store
