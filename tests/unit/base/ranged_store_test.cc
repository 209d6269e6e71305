// SPDX-License-Identifier: Apache-2.0
#include "base/ranged_store.h"

#include <optional>
#include <vector>

#include "tests/unit/packs/fixture.h"

namespace holdfast {
namespace {

using packs::FakeClock;
using packs::FakeFar;

const std::string kUri = "s3+http://far/b/big";

class RangedStoreTest : public testing::Test {
 protected:
  RangedStoreTest() {
    for (size_t i = 0; i < 1'000; ++i) bytes_ += static_cast<char>(Mix64(i));
    far_.Set(kUri, bytes_);
  }
  std::string RangeEtag() const {
    const FarInfo info = far_.InfoOf(kUri);
    return EtagOfRange(info.etag, info.size);
  }

  struct Got {
    Status status = Status::Timeout("never called back");
    FarInfo info;
    uint64_t hash = 0;
  };
  Got Get(FarGet get) {
    Got got;
    bool inside = true;
    store_.Get(std::move(get), [&](Status status, FarInfo info, uint64_t hash) {
      EXPECT_FALSE(inside) << "called back from inside of the call";
      got = {std::move(status), std::move(info), hash};
    });
    inside = false;
    clock_.RunAll();
    return got;
  }
  // As a load of a planned range.
  Got GetPlanned(const ByteRange& range, std::string* into, std::string etag, uint64_t there = 0) {
    into->resize(range.length);
    return Get({.uri = NameOfRange(kUri, range),
                .etag = std::move(etag),
                .offset = there,
                .length = range.length,
                .into = std::as_writable_bytes(std::span(*into))});
  }
  Result<FarInfo> Head(const std::string& uri) {
    std::optional<Result<FarInfo>> info;
    store_.Head(uri, Time::Max(), [&](Result<FarInfo> i) { info.emplace(std::move(i)); });
    clock_.RunAll();
    return info ? *std::move(info) : Status::Timeout("never called back");
  }

  FakeClock clock_;
  FakeFar far_{&clock_};
  RangedStore store_{&clock_, &far_};
  std::string bytes_;
};

TEST_F(RangedStoreTest, ARangeIsReadWithoutTheRest) {
  far_.expires_s = 7;
  for (const ByteRange range : {ByteRange{0, 1}, {0, 1'000}, {100, 50}, {999, 1}}) {
    std::string into;
    far_.Forget();
    const Got got = GetPlanned(range, &into, RangeEtag());
    ASSERT_TRUE(got.status.ok()) << got.status.ToString();
    EXPECT_EQ(into, bytes_.substr(range.offset, range.length));
    EXPECT_EQ(got.hash, Hash64(AsBytes(into)));
    EXPECT_EQ(got.info.size, range.length);
    EXPECT_EQ(got.info.etag, RangeEtag());
    EXPECT_EQ(got.info.expires_s, 7u);
    EXPECT_EQ(Head(NameOfRange(kUri, range))->expires_s, 7u);
    EXPECT_EQ(far_.get_bytes, range.length);
  }
}

TEST_F(RangedStoreTest, TheRestOfOneThatHasBegunIsHashedWithItsBeginning) {
  std::string into = bytes_.substr(100, 20);
  const Got got = GetPlanned({100, 50}, &into, RangeEtag(), 20);
  ASSERT_TRUE(got.status.ok()) << got.status.ToString();
  EXPECT_EQ(into, bytes_.substr(100, 50));
  EXPECT_EQ(got.hash, Hash64(AsBytes(into)));
  EXPECT_EQ(far_.get_bytes, 30u);
}

TEST_F(RangedStoreTest, AFirstPartTellsTheVersionOfTheRange) {
  std::string into(40, ' ');
  FarGet get;
  get.uri = NameOfRange(kUri, {100, 50});
  get.length = 40;
  get.whole = false;
  get.into = std::as_writable_bytes(std::span(into));
  Got got = Get(get);
  ASSERT_TRUE(got.status.ok()) << got.status.ToString();
  EXPECT_EQ(into, bytes_.substr(100, 40));
  EXPECT_EQ(got.info.size, 50u);
  EXPECT_EQ(got.info.etag, RangeEtag());
  into.assign(70, ' ');  // more room than there is
  get.into = std::as_writable_bytes(std::span(into));
  get.length = 70;
  got = Get(get);
  ASSERT_TRUE(got.status.ok()) << got.status.ToString();
  EXPECT_EQ(into, bytes_.substr(100, 50) + std::string(20, ' '));
}

TEST_F(RangedStoreTest, HeadKnowsTheSizeByTheName) {
  const Result<FarInfo> info = Head(kUri + "#bytes=10-19");
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(info->size, 10u);
  EXPECT_EQ(info->etag, RangeEtag());
  EXPECT_EQ(Head(kUri)->size, 1'000u) << "what is no range is the store's behind";
  EXPECT_EQ(Head("s3+http://far/b/no#bytes=0-1").status().code(), Code::kNotFound);
}

TEST_F(RangedStoreTest, VersionsAreNeverMixed) {
  const std::string planned = RangeEtag();
  std::string into;
  far_.Set(kUri, std::string(1'000, 'n'));
  EXPECT_EQ(GetPlanned({0, 10}, &into, planned).status.code(), Code::kChanged);
  // The same ETag, and another size: a store that lies about one of them.
  const std::string lie = EtagOfRange(far_.InfoOf(kUri).etag, 1'001);
  const Got got = GetPlanned({0, 10}, &into, lie);
  EXPECT_EQ(got.status.code(), Code::kChanged);
  EXPECT_NE(got.status.message().find("1001"), std::string::npos) << got.status.message();
}

TEST_F(RangedStoreTest, PastTheEndIsSaidWithTheObjectsSize) {
  for (const ByteRange range : {ByteRange{990, 11}, {1'000, 1}, {5'000, 10}, {0, 1'001}}) {
    const std::string name = NameOfRange(kUri, range);
    std::vector<std::byte> into(range.length);
    for (const Status& status :
         {Get({.uri = name, .etag = {}, .length = range.length, .whole = false, .into = into})
              .status,
          Head(name).status()}) {
      EXPECT_EQ(status.code(), Code::kInvalid) << name;
      EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
      EXPECT_NE(status.message().find("1000 bytes"), std::string::npos) << status.message();
    }
    std::string text;
    EXPECT_EQ(GetPlanned(range, &text, RangeEtag()).status.code(), Code::kInvalid);
  }
  far_.Set(kUri, "");
  EXPECT_EQ(Head(kUri + "#bytes=0-0").status().code(), Code::kInvalid);
}

TEST_F(RangedStoreTest, AnObjectThatShrankHasChanged) {
  const std::string planned = RangeEtag();
  far_.Set(kUri, "short");
  std::string into;
  EXPECT_EQ(GetPlanned({500, 10}, &into, planned).status.code(), Code::kChanged);
}

TEST_F(RangedStoreTest, WhatCannotBeMeantIsRefusedBeforeAnythingIsAsked) {
  const std::string name = NameOfRange(kUri, {0, 10});
  std::vector<std::byte> into(10);
  std::vector<FarPiece> pieces;
  for (const FarGet& get :
       {FarGet{.uri = name, .etag = "no-range", .length = 10, .into = into},
        FarGet{.uri = name, .etag = RangeEtag(), .length = 9, .into = into},
        FarGet{.uri = name, .etag = RangeEtag(), .offset = 10, .length = 10, .into = into},
        FarGet{.uri = name, .etag = EtagOfRange("v1", 9), .length = 10, .into = into},
        FarGet{.uri = name,
        .etag = {},
        .length = 10,
        .whole = false,
        .into = {},
        .pieces = &pieces}}) {
    const Got got = Get(get);
    EXPECT_FALSE(got.status.ok());
    EXPECT_NE(got.status.code(), Code::kTimeout) << "never called back";
    EXPECT_NE(got.status.message().find(name), std::string::npos) << got.status.message();
  }
  EXPECT_EQ(far_.all_gets() + far_.heads, 0u);
}

}  // namespace
}  // namespace holdfast
