// SPDX-License-Identifier: Apache-2.0
#include "io/far/s3_xml.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "tests/fuzz/fuzz_list_xml.cc"

namespace holdfast::far {
namespace {

std::string Page(const std::string& inner) {
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult>" + inner +
         "</ListBucketResult>";
}
std::string Entry(const std::string& key, const std::string& size = "1",
                  const std::string& etag = "&quot;e&quot;") {
  return "<Contents><Key>" + key + "</Key><Size>" + size + "</Size><ETag>" + etag +
         "</ETag></Contents>";
}

TEST(S3Xml, ReadsEntriesPrefixesAndTokens) {
  const auto listing = ParseListing(
      Page(Entry("a&amp;b", "5368709120", "\"d41d8-2\"") + Entry("c&#x20;d") +
           "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes><IsTruncated>true</IsTruncated>"
           "<NextContinuationToken>1ueGc/+=</NextContinuationToken>"));
  ASSERT_TRUE(listing.ok()) << listing.status().ToString();
  ASSERT_EQ(listing->objects.size(), 2u);
  EXPECT_EQ(listing->objects[0].key, "a&b");
  EXPECT_EQ(listing->objects[0].size, 5'368'709'120u);
  EXPECT_EQ(listing->objects[0].etag, "d41d8-2");
  EXPECT_EQ(listing->objects[1].key, "c d");
  EXPECT_EQ(listing->prefixes, std::vector<std::string>{"p/"});
  EXPECT_EQ(listing->next_token, "1ueGc/+=");
}

// It kept its quotes, and no GET could ask for what was listed.
TEST(S3Xml, WeakETagsAreAsInHeaders) {
  const auto listing = ParseListing(Page(Entry("k", "1", "W/&quot;e&quot;")));
  ASSERT_TRUE(listing.ok());
  EXPECT_EQ(listing->objects[0].etag, "W/e");
}

TEST(S3Xml, KeysAreDecodedOnlyWhenTheStoreSaysSo) {
  EXPECT_EQ(ParseListing(Page(Entry("a+b%2F")))->objects[0].key, "a+b%2F");
  EXPECT_EQ(
      ParseListing(Page(Entry("a+b%2F") + "<EncodingType>url</EncodingType>"))->objects[0].key,
      "a b/");
}

TEST(S3Xml, TheOwnersNameIsNotTheKey) {
  const auto listing = ParseListing(Page(
      "<Contents><Key>k</Key><Owner><Key>evil</Key><ID>x</ID></Owner><Size>1</Size><ETag>e</ETag>"
      "</Contents><Prefix>q</Prefix>"));
  ASSERT_TRUE(listing.ok());
  EXPECT_EQ(listing->objects[0].key, "k");
  EXPECT_TRUE(listing->prefixes.empty());
}

TEST(S3Xml, WhatIsNoListingIsCorrupt) {
  std::string deep;
  for (int i = 0; i < 20; ++i) deep += "<a>";
  std::string many;
  for (int i = 0; i < 1001; ++i) many += Entry("k" + std::to_string(i));
  const std::string bombs =
      "<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b "
      "\"&a;&a;&a;&a;&a;&a;\">]><ListBucketResult>"
      "<Name>&b;</Name></ListBucketResult>";
  const std::string outside =
      "<!DOCTYPE l [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><ListBucketResult><Name>&x;</Name>"
      "</ListBucketResult>";
  for (const std::string& bad : {std::string(),
                                 std::string("x"),
                                 std::string("<a/>"),
                                 std::string("<ListBucketResult>"),
                                 deep,
                                 bombs,
                                 outside,
                                 Page(many),
                                 Page(Entry("k", "-1")),
                                 Page(Entry("k", "1x")),
                                 Page(Entry("k", "")),
                                 Page(Entry("k", "99999999999999999999999")),
                                 Page(Entry("")),
                                 Page(Entry("k", "1", "")),
                                 Page(Entry("k", "1", "&quot;&quot;")),
                                 Page("<Contents><Key>k</Key><ETag>e</ETag></Contents>"),
                                 Page(Entry("&undefined;")),
                                 Page("<IsTruncated>true</IsTruncated>"),
                                 Page(Entry("%zz") + "<EncodingType>url</EncodingType>"),
                                 Page(Entry(std::string(20'000, 'k'))),
                                 Page("\xff\xfe")}) {
    const auto listing = ParseListing(bad);
    ASSERT_FALSE(listing.ok()) << bad.substr(0, 200);
    EXPECT_EQ(listing.status().code(), Code::kCorrupt);
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bad.data()), bad.size()), 0);
  }
}

TEST(S3Xml, ReadsErrors) {
  const auto error = ParseError("<Error><Code>NoSuchKey</Code><Message>a\nb\x7f</Message></Error>");
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code, "NoSuchKey");
  EXPECT_EQ(error->message, "a b ") << "nothing that a terminal would obey";
  EXPECT_EQ(
      ParseError("<Error><Code>C</Code><Message>" + std::string(5000, 'x') + "</Message></Error>")
          ->message.size(),
      300u);
  for (const char* bad : {"", "<html>no</html>", "<Error></Error>", "<Error><Code>x</Code>"}) {
    EXPECT_FALSE(ParseError(bad).has_value()) << bad;
  }
}

// Bytes of a good page flipped, cut and doubled at random.
TEST(S3Xml, MutationsAreAnswered) {
  const std::string good = Page(Entry("a%20b") + Entry("c") +
                                "<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>");
  Random random(4);
  for (int round = 0; round < 20'000; ++round) {
    std::string text = good;
    for (uint64_t n = 1 + random.Below(4); n > 0; --n) {
      const size_t at = random.Below(text.size());
      if (random.Chance(0.3)) {
        text.erase(at, random.Below(8));
      } else if (random.Chance(0.3)) {
        text.insert(at, text.substr(random.Below(text.size()), random.Below(20)));
      } else {
        text[at] = static_cast<char>(random.Next());
      }
      if (text.empty()) break;
    }
    EXPECT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size()),
              0);
  }
}

}  // namespace
}  // namespace holdfast::far
