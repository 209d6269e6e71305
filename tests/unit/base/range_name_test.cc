// SPDX-License-Identifier: Apache-2.0
#include "base/range_name.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"
#include "base/uri.h"

namespace holdfast {
namespace {

const std::string kWhole = "s3+http://ep/b/big";

TEST(RangeName, IsWrittenWithBothEnds) {
  EXPECT_EQ(NameOfRange(kWhole, {0, 1}), kWhole + "#bytes=0-0");
  EXPECT_EQ(NameOfRange(kWhole, {4096, 4096}), kWhole + "#bytes=4096-8191");
  const std::string name = kWhole + "#bytes=4096-8191";
  const auto parsed = ParseRangeName(name);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->whole, kWhole);
  EXPECT_EQ(parsed->range, (ByteRange{4096, 4096}));
  const ByteRange last{kMaxRangeEnd - 1, 1};
  EXPECT_EQ(ParseRangeName(NameOfRange(kWhole, last))->range, last);
}

TEST(RangeName, AnythingElseIsNoRange) {
  for (const char* no : {"",
                         "#",
                         "#bytes=",
                         "#bytes=1",
                         "#bytes=-1",
                         "#bytes=1-",
                         "#bytes=2-1",
                         "#bytes=01-2",
                         "#bytes=1-02",
                         "#bytes=+1-2",
                         "#bytes=1-2 ",
                         "#bytes= 1-2",
                         "#bytes=1-2#bytes=3-4",
                         "#Bytes=1-2",
                         "#bytes=1--2",
                         "#bytes=0x1-2",
                         "#bytes=0-4611686018427387904",
                         "#bytes=0-18446744073709551615",
                         "#bytes=0-99999999999999999999",
                         "%23bytes=1-2"}) {
    EXPECT_FALSE(ParseRangeName(kWhole + no).has_value()) << no;
  }
  EXPECT_FALSE(ParseRangeName("#bytes=1-2").has_value()) << "of nothing";
}

TEST(RangeName, RangesAreMadeOnlyWhereAnObjectMayBe) {
  EXPECT_EQ(*MakeRange("n", 3, 4), (ByteRange{3, 4}));
  for (const auto& [offset, length] : std::vector<std::pair<uint64_t, uint64_t>>{
           {0, 0}, {kMaxRangeEnd, 1}, {1, kMaxRangeEnd}, {UINT64_MAX, 2}, {2, UINT64_MAX}}) {
    const auto range = MakeRange("s3://b/k", offset, length);
    ASSERT_FALSE(range.ok()) << offset << " " << length;
    EXPECT_EQ(range.status().code(), Code::kInvalid);
    EXPECT_NE(range.status().message().find("s3://b/k"), std::string::npos);
  }
}

TEST(RangeName, CanonicalNamesKeepTheirRange) {
  const struct {
    const char* written;
    const char* canonical;
  } vectors[] = {
      {"/data/a b#bytes=0-99", "file:///data/a%20b#bytes=0-99"},
      {"file:///data//x#bytes=007-0010", "file:///data/x#bytes=7-10"},
      {"http://Host:80/p?q=1#bytes=5-5", "http://host/p?q=1#bytes=5-5"},
      {"s3://b/k#1#bytes=0-1", "s3+https://ep/b/k%231#bytes=0-1"},
      {"s3+http://ep/b/k%23bytes=0-1", "s3+http://ep/b/k%23bytes%3D0-1"},
      {"s3+http://ep/b/k%23bytes=0-1#bytes=2-3", "s3+http://ep/b/k%23bytes%3D0-1#bytes=2-3"},
  };
  for (const auto& vector : vectors) {
    const auto uri = CanonicalUri(vector.written, "https://ep");
    ASSERT_TRUE(uri.ok()) << vector.written << ": " << uri.status().ToString();
    EXPECT_EQ(*uri, vector.canonical);
    EXPECT_EQ(*CanonicalUri(*uri, ""), *uri);
  }
  EXPECT_FALSE(ParseCanonical("file:///a#bytes=0-1").ok()) << "no far store is asked for it";
  EXPECT_FALSE(ParseCanonical("http://h/a#bytes=0-1").ok());
}

TEST(RangeName, MistakesOfUsersAreSaid) {
  for (const char* bad :
       {"/a#bytes=", "/a#bytes=5", "/a#bytes=9-1", "s3://b/k#bytes=1-x",
        "/a#bytes=0-9223372036854775807", "http://h/a#bytes=1-2#x", "/a#bytes=0-9#bytes=0-1"}) {
    const auto uri = CanonicalUri(bad, "https://ep");
    ASSERT_FALSE(uri.ok()) << bad;
    EXPECT_EQ(uri.status().code(), Code::kInvalid);
    EXPECT_NE(uri.status().message().find(bad), std::string::npos) << uri.status().message();
    EXPECT_NE(uri.status().message().find("FIRST-LAST"), std::string::npos);
  }
  EXPECT_FALSE(CanonicalUri("/" + std::string(4080, 'x') + "#bytes=1000-2000", "").ok());
}

TEST(RangeName, EtagsAreThoseOfTheWhole) {
  EXPECT_EQ(EtagOfRange("W/a#b", 7), "W/a#b#7");
  const auto version = ParseRangeEtag("W/a#b#7");
  ASSERT_TRUE(version.has_value());
  EXPECT_EQ(version->etag, "W/a#b");
  EXPECT_EQ(version->size, 7u);
  for (const char* no : {"", "a", "#7", "a#", "a#07", "a#-1", "a#7 ", "a#99999999999999999999"}) {
    EXPECT_FALSE(ParseRangeEtag(no).has_value()) << no;
  }
}

TEST(RangeName, WhatIsParsedIsWrittenAgain) {
  Random random(20);
  constexpr std::string_view kAlphabet = "#bytes=-0123456789%a/";
  for (int i = 0; i < 200'000; ++i) {
    std::string text = random.Chance(0.5) ? "file:///a#bytes=" : "";
    for (uint64_t n = random.Below(12); n > 0; --n)
      text += kAlphabet[random.Below(kAlphabet.size())];
    if (const auto name = ParseRangeName(text)) {
      ASSERT_EQ(NameOfRange(name->whole, name->range), text);
    }
    if (const auto version = ParseRangeEtag(text)) {
      ASSERT_EQ(EtagOfRange(version->etag, version->size), text);
    }
    const auto uri = CanonicalUri(text, "");
    if (uri.ok()) {
      ASSERT_EQ(*CanonicalUri(*uri, ""), *uri) << text;
    }
  }
}

}  // namespace
}  // namespace holdfast
