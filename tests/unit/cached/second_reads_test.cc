// SPDX-License-Identifier: Apache-2.0
#include "cached/second_reads.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "base/units.h"

namespace holdfast::cached {
namespace {

constexpr uint64_t kMemory = 64 * kMiB;
constexpr uint64_t kBytes = 64 * kKiB;
constexpr uint64_t kSpan = kMemory / 2 / kBytes;  // reads

Oid Number(uint64_t n) { return {n * 0x9e3779b97f4a7c15u, n * 0xd1b54a32d192ed03u}; }

TEST(SecondReadsTest, ASetThatIsReadInTurnHasSecondReadsIfHalfOfMemoryHoldsIt) {
  SecondReads fits(kMemory), exceeds(kMemory);
  uint64_t fitting = 0, exceeding = 0;
  for (int epoch = 0; epoch < 4; ++epoch) {
    for (uint64_t n = 0; n < kSpan / 2; ++n) fitting += fits.Note(Number(n), kBytes) ? 1 : 0;
    for (uint64_t n = 0; n < kSpan * 2; ++n) exceeding += exceeds.Note(Number(n), kBytes) ? 1 : 0;
  }
  // A few lost their place in the table to another one.
  EXPECT_GT(fitting, 3 * kSpan / 2 * 7 / 10);
  EXPECT_EQ(exceeding, 0u);
}

TEST(SecondReadsTest, WhoComesAgainWithTheSizeReadsForTheFirstTime) {
  SecondReads reads(kMemory);
  EXPECT_FALSE(reads.Note(Number(1), 0));
  EXPECT_FALSE(reads.Note(Number(1), kBytes));
  EXPECT_TRUE(reads.Note(Number(1), kBytes));
  EXPECT_FALSE(reads.Note(Number(2), 0));
  EXPECT_TRUE(reads.Note(Number(2), 0));
  EXPECT_FALSE(reads.Note(Number(3), kBytes));
  EXPECT_TRUE(reads.Note(Number(3), 0));
}

// Against a list of all reads: never a second one that is no second one (but for one fingerprint of
// 32,768), nor one whose first is too long ago.
TEST(SecondReadsTest, SecondReadsAreSecondReadsAndNotLongAfterTheFirst) {
  SecondReads reads(kMemory);
  std::map<uint64_t, uint64_t> last;
  Random random(4);
  uint64_t read_bytes = 0, wrong = 0, found = 0, recent = 0;
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t n = random.Below(random.Chance(0.5) ? 300 : 100'000);
    const uint64_t bytes = 32 * kKiB + random.Below(200 * kKiB);
    const auto before = last.find(n);
    const bool was_read = before != last.end();
    const uint64_t since = was_read ? read_bytes - before->second : 0;
    const bool second = reads.Note(Number(n), bytes);
    if (second) ++found;
    if (second && (!was_read || since > kMemory / 2 * 5 / 4)) ++wrong;
    if (was_read && since < kMemory / 4) ++recent;
    last[n] = read_bytes;
    read_bytes += bytes;
  }
  EXPECT_LT(wrong, 20u);
  EXPECT_GT(recent, 5'000u);
  EXPECT_GT(found, recent * 6 / 10);
}

}  // namespace
}  // namespace holdfast::cached
