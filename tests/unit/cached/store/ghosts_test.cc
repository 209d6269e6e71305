// SPDX-License-Identifier: Apache-2.0
#include "cached/store/ghosts.h"

#include <gtest/gtest.h>

#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kRecord = 1'000;

TEST(Ghosts, RemembersWhatWasDroppedForAWindow) {
  Ghosts ghosts(1'000'000, 1'000 * kRecord);
  EXPECT_FALSE(ghosts.Has(OidOf(1)));
  ghosts.Dropped(OidOf(1), kRecord);
  EXPECT_TRUE(ghosts.Has(OidOf(1)));
  for (uint64_t i = 2; i < 900; ++i) ghosts.Dropped(OidOf(i), kRecord);
  EXPECT_TRUE(ghosts.Has(OidOf(1)));
  for (uint64_t i = 900; i < 1'100; ++i) ghosts.Dropped(OidOf(i), kRecord);
  EXPECT_FALSE(ghosts.Has(OidOf(1)));
  EXPECT_TRUE(ghosts.Has(OidOf(1'099)));
}

TEST(Ghosts, HasNothingBeforeAnythingWasDropped) {
  const Ghosts ghosts(1'000, 1'000 * kRecord);
  for (uint64_t i = 0; i < 10'000; ++i) EXPECT_FALSE(ghosts.Has(OidOf(i)));
}

TEST(Ghosts, TakesFewStrangersForGhosts) {
  Ghosts ghosts(20'000, 100'000 * kRecord);
  for (uint64_t i = 0; i < 50'000; ++i) ghosts.Dropped(OidOf(i), kRecord);
  uint64_t strangers = 0;
  for (uint64_t i = 50'000; i < 150'000; ++i) strangers += ghosts.Has(OidOf(i)) ? 1 : 0;
  EXPECT_GT(strangers, 0u);
  EXPECT_LT(strangers, 100'000u / 256 * 3 / 2);
}

TEST(Ghosts, ASmallTableForgetsTheOlderOnes) {
  Ghosts ghosts(2'000, 1'000'000 * kRecord);
  for (uint64_t i = 0; i < 10'000; ++i) ghosts.Dropped(OidOf(i), kRecord);
  uint64_t old = 0, young = 0;
  for (uint64_t i = 0; i < 500; ++i) {
    old += ghosts.Has(OidOf(i)) ? 1 : 0;
    young += ghosts.Has(OidOf(9'500 + i)) ? 1 : 0;
  }
  EXPECT_LT(old, 20u);
  EXPECT_GT(young, 350u);
}

}  // namespace
}  // namespace holdfast::store
