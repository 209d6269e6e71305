// SPDX-License-Identifier: Apache-2.0
#include "packs/packer.h"

#include "tests/unit/packs/packed_fixture.h"

namespace holdfast::packs {
namespace {

class PackerTest : public PackedFixture {};

TEST_F(PackerTest, EveryObjectIsReadOnceAndThePacksAreRight) {
  const auto report = Pack();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->objects, static_cast<uint64_t>(kObjects));
  EXPECT_EQ(report->packs_found, 0u);
  EXPECT_EQ(report->packs_written, far_.puts.size() - 1) << "and the index";
  for (int n = 0; n < kObjects; ++n) EXPECT_EQ(far_.gets[UriOf(n)], 1u);
  uint64_t packed = 0;
  for (const auto& [uri, object] : far_.objects) {
    if (!uri.ends_with(".pack")) continue;
    const auto objects = ReadPack(AsBytes(object.bytes));
    ASSERT_TRUE(objects.ok()) << objects.status().ToString();
    packed += objects->size();
    EXPECT_EQ(far_.gets[uri], 1u) << "read back";
  }
  EXPECT_EQ(packed, static_cast<uint64_t>(kObjects));
}

TEST_F(PackerTest, WhoIsInterruptedGoesOnAndWritesNoFinishedPackAgain) {
  far_.puts_allowed = 5;
  const auto failed = Pack();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.status().code(), Code::kDenied);
  EXPECT_FALSE(far_.objects.contains(std::string(kDest) + "index"));
  const auto finished = far_.puts;
  EXPECT_EQ(finished.size(), 5u);
  far_.puts_allowed = UINT64_MAX;
  far_.Forget();
  const auto report = Pack();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->packs_found, 5u);
  EXPECT_EQ(report->objects, static_cast<uint64_t>(kObjects));
  for (const auto& [uri, count] : finished) EXPECT_FALSE(far_.puts.contains(uri)) << uri;
  EXPECT_LT(far_.gets.size(), static_cast<size_t>(kObjects))
      << "finished packs' objects are not read";
}

TEST_F(PackerTest, APackThatIsDamagedOrCutOffIsWrittenAgain) {
  ASSERT_TRUE(Pack().ok());
  std::vector<std::string> packs;
  for (const auto& [uri, count] : far_.puts)
    if (uri.ends_with(".pack")) packs.push_back(uri);
  ASSERT_GE(packs.size(), 3u);
  far_.objects[packs[0]].bytes[5] ^= 1;
  far_.objects[packs[1]].bytes.resize(far_.objects[packs[1]].bytes.size() - 1);
  far_.Forget();
  const auto report = Pack();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->packs_written, 2u);
  EXPECT_EQ(far_.puts.count(packs[0]) + far_.puts.count(packs[1]), 2u);
}

TEST_F(PackerTest, AnObjectThatChangesMeanwhileIsPackedAsItIsThen) {
  bool changed = false;
  far_.on_get = [&](const std::string& uri) {
    if (uri == UriOf(7) && !std::exchange(changed, true)) far_.Set(UriOf(7), "something else");
  };
  const auto report = Pack();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->changed, 1u);
  const auto index = Index();
  const auto entry = index.Find(OidOf(UriOf(7)));
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->etag, far_.InfoOf(UriOf(7)).etag);
  EXPECT_EQ(entry->hash, Hash64(AsBytes("something else")));
}

TEST_F(PackerTest, AnObjectThatChangesForEverEndsThePacking) {
  far_.on_get = [&](const std::string& uri) {
    if (uri == UriOf(7)) far_.Set(UriOf(7), "something else");
  };
  const auto report = Pack();
  EXPECT_EQ(report.status().code(), Code::kChanged) << report.status().ToString();
}

TEST_F(PackerTest, AnObjectThatIsGoneIsLeftOutAndSaid) {
  const std::vector<FarEntry> listed = Listed();
  far_.objects.erase(UriOf(9));
  const auto report = Pack(listed);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->left_out, 1u);
  ASSERT_EQ(report->why_left_out.size(), 1u);
  EXPECT_NE(report->why_left_out[0].message().find(UriOf(9)), std::string::npos);
  EXPECT_EQ(report->objects, static_cast<uint64_t>(kObjects - 1));
  EXPECT_FALSE(Index().Find(OidOf(UriOf(9))).has_value());
}

TEST_F(PackerTest, WhatReadsBackAsSomethingElseIsAnError) {
  far_.spoil_puts = true;
  EXPECT_EQ(Pack().status().code(), Code::kCorrupt);
  EXPECT_FALSE(far_.puts.contains(std::string(kDest) + "index"));
}

TEST_F(PackerTest, AStoreThatRefusesReadsEndsThePackingAndTheOldIndexStays) {
  ASSERT_TRUE(Pack().ok());
  const std::string before = far_.objects[std::string(kDest) + "index"].bytes;
  far_.Set(UriOf(3), "new");
  far_.refused.insert(UriOf(3));
  EXPECT_EQ(Pack().status().code(), Code::kUnavailable);
  EXPECT_EQ(far_.objects[std::string(kDest) + "index"].bytes, before);
}

TEST_F(PackerTest, AfterAChangeOnlyItsPackIsWrittenAndTheOldOneIsCounted) {
  ASSERT_TRUE(Pack().ok());
  far_.Forget();
  std::string same_size = BytesOf(3);
  same_size[0] ^= 1;
  far_.Set(UriOf(3), same_size);
  const auto report = Pack();
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->packs_written, 1u);
  EXPECT_EQ(report->packs_unnamed, 1u);
}

}  // namespace
}  // namespace holdfast::packs
