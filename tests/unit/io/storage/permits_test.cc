// SPDX-License-Identifier: Apache-2.0
#include "io/storage/permits.h"

#include <gtest/gtest.h>

namespace holdfast::storage {
namespace {

Permits WithOne() {
  Permits permits;
  EXPECT_TRUE(permits.Add(7, {.segment = 2, .offset = 4096, .end = 12'288}).ok());
  return permits;
}

TEST(Permits, AreForTheirPlaceAndKeyOnly) {
  Permits permits = WithOne();
  EXPECT_NE(permits.Begin(7, 2, 4096, 8192), nullptr);
  EXPECT_NE(permits.Begin(7, 2, 8192, 4096), nullptr);
  EXPECT_EQ(permits.Begin(8, 2, 4096, 4096), nullptr);
  EXPECT_EQ(permits.Begin(7, 1, 4096, 4096), nullptr);
  EXPECT_EQ(permits.Begin(7, 2, 0, 4096), nullptr);
  EXPECT_EQ(permits.Begin(7, 2, 8192, 8192), nullptr);
}

// Whoever revokes writes there himself next.
TEST(Permits, ARevokedOneHasEndedWhenItsWritesHave) {
  Permits permits = WithOne();
  const auto first = permits.Begin(7, 2, 4096, 4096);
  const auto second = permits.Begin(7, 2, 8192, 4096);
  ASSERT_TRUE(first != nullptr && second != nullptr);
  int revoked = 0;
  permits.Revoke(7, [&] { ++revoked; });
  EXPECT_EQ(permits.Begin(7, 2, 4096, 4096), nullptr);
  Permits::End(first.get());
  EXPECT_EQ(revoked, 0);
  Permits::End(second.get());
  EXPECT_EQ(revoked, 1);
  permits.Revoke(7, [&] { ++revoked; });  // nothing any more
  EXPECT_EQ(revoked, 2);
}

TEST(Permits, WithoutWritesARevocationIsDoneAtOnce) {
  Permits permits = WithOne();
  bool revoked = false;
  permits.Revoke(7, [&] { revoked = true; });
  EXPECT_TRUE(revoked);
}

TEST(Permits, AWriteThatIsUnderWayOutlivesThem) {
  Permits permits = WithOne();
  const auto write = permits.Begin(7, 2, 4096, 4096);
  permits.Clear();
  EXPECT_EQ(permits.Begin(7, 2, 4096, 4096), nullptr);
  Permits::End(write.get());
}

TEST(Permits, AreNotEndlessAndNotWithoutAKey) {
  Permits permits;
  EXPECT_EQ(permits.Add(0, {.segment = 0, .offset = 0, .end = 4096}).code(), Code::kInvalid);
  for (uint64_t key = 1; key <= Permits::kMost; ++key)
    ASSERT_TRUE(permits.Add(key, {.segment = 0, .offset = 0, .end = 4096}).ok());
  EXPECT_EQ(permits.Add(1000, {.segment = 0, .offset = 0, .end = 4096}).code(), Code::kNoSpace);
}

}  // namespace
}  // namespace holdfast::storage
