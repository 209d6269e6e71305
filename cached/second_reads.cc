// SPDX-License-Identifier: Apache-2.0
#include "cached/second_reads.h"

#include <algorithm>
#include <bit>

#include "base/hash.h"
#include "base/units.h"

namespace holdfast::cached {
namespace {

constexpr uint64_t kBytesPerMark = 32 * kKiB;  // the least that is read at a time
constexpr uint64_t kUnknownBytes = 64 * kKiB;  // what a read of unknown size counts as
constexpr uint16_t kTurnMask = 0x7fff;
constexpr uint64_t kLeastMarks = 1'024;
constexpr uint64_t kMostMarks = uint64_t{1} << 20;

}  // namespace

SecondReads::SecondReads(uint64_t memory_bytes)
    : turn_bytes_(std::max<uint64_t>(memory_bytes / 2 / kTurns, 1)),
      marks_(std::bit_ceil(std::clamp(memory_bytes / 2 / kBytesPerMark, kLeastMarks, kMostMarks))) {
}

bool SecondReads::Note(const Oid& oid, uint64_t bytes) {
  const auto turn = static_cast<uint16_t>(read_bytes_ / turn_bytes_ & kTurnMask);
  const bool sized = bytes != 0;
  read_bytes_ += sized ? bytes : kUnknownBytes;
  const uint64_t hash = Mix64(oid.hi ^ oid.lo);
  const auto print = static_cast<uint16_t>(hash >> 48 | 1);
  Mark& mark = marks_[hash & (marks_.size() - 1)];
  const bool again = mark.print == print && ((turn - mark.turn) & kTurnMask) <= kTurns;
  const bool first_still = sized && !mark.sized;
  mark.print = print;
  mark.turn = turn & kTurnMask;
  mark.sized = sized ? 1 : 0;
  return again && !first_still;
}

}  // namespace holdfast::cached
