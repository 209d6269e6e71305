// SPDX-License-Identifier: Apache-2.0
// The vectors are those of docs/formats.md, "Canonical names".
#include "base/uri.h"

#include <gtest/gtest.h>

#include <array>

#include "base/random.h"

namespace holdfast {
namespace {

constexpr char kEndpoint[] = "https://S3.Example.com:9000/";

struct Vector {
  const char* given;
  const char* canonical;
};

TEST(CanonicalUri, Vectors) {
  const Vector vectors[] = {
      {"/data/a b.bin", "file:///data/a%20b.bin"},
      {"/data//x/./../y/", "file:///data/y"},
      {"/../a%20b", "file:///a%2520b"},
      {"file:///data/a%20b.bin", "file:///data/a%20b.bin"},
      {"FILE:///a?b#c", "file:///a%3Fb%23c"},
      {"http://Host:80", "http://host/"},
      {"HTTPS://Host.Example:443/a%7eb/../c?x=%41&y=a b#part",
       "https://host.example/a~b/../c?x=%41&y=a%20b"},
      {"http://h:0081/?", "http://h:81/"},
      {"http://[2001:DB8::1]:80/k", "http://[2001:db8::1]/k"},
      {"s3://bucket/key", "s3+https://s3.example.com:9000/bucket/key"},
      {"s3://bucket//a/./../b", "s3+https://s3.example.com:9000/bucket//a/./../b"},
      {"s3://bucket/100% = a+b*'\"",
       "s3+https://s3.example.com:9000/bucket/100%25%20%3D%20a%2Bb%2A%27%22"},
      {"s3://bucket/\xc3\xa9\n?x#y", "s3+https://s3.example.com:9000/bucket/%C3%A9%0A%3Fx%23y"},
      {"s3+http://EP:80/bucket/k%2fl%7E", "s3+http://ep/bucket/k/l~"},
      {"s3+https://ep:443/b/%25", "s3+https://ep/b/%25"},
  };
  for (const Vector& vector : vectors) {
    const auto uri = CanonicalUri(vector.given, kEndpoint);
    ASSERT_TRUE(uri.ok()) << vector.given << " " << uri.status().ToString();
    EXPECT_EQ(*uri, vector.canonical) << vector.given;
    const auto again = CanonicalUri(*uri, "");
    ASSERT_TRUE(again.ok()) << *uri;
    EXPECT_EQ(*again, *uri) << "canonical names stay what they are";
    const auto name = ParseCanonical(*uri);
    ASSERT_TRUE(name.ok()) << *uri;
    EXPECT_EQ(ToCanonical(*name), *uri);
  }
}

TEST(CanonicalUri, Oids) {
  EXPECT_EQ(ToHex(OidOf("file:///data/a%20b.bin")), "eee06824587d62b0ea552a62ed29997d");
  EXPECT_EQ(ToHex(OidOf("s3+https://s3.example.com:9000/bucket/key")),
            "72bbb4aaad2cf38023eb0b701fb37a47");
}

TEST(CanonicalUri, TwoEndpointsAreTwoStores) {
  EXPECT_NE(*CanonicalUri("s3://b/k", "http://a"), *CanonicalUri("s3://b/k", "http://b"));
  EXPECT_NE(*CanonicalUri("s3://b/k", "http://a"), *CanonicalUri("s3://b/k", "https://a"));
}

TEST(CanonicalUri, RefusesWhatNamesNoObject) {
  const std::string nul("/a\0b", 4);
  const std::string nul_in_query("http://h/?a\0b", 13);
  const std::string too_long = "/" + std::string(5000, 'x');
  const std::string encoded_too_long = "s3://b/" + std::string(1400, ' ');
  for (const std::string& bad : {std::string(""),
                                 std::string("a/b"),
                                 std::string("../a"),
                                 std::string("/"),
                                 std::string("ftp://h/x"),
                                 std::string("file://host/a"),
                                 std::string("file:a"),
                                 std::string("file:///%zz"),
                                 std::string("file:///%4"),
                                 std::string("http:///x"),
                                 std::string("http://u:p@h/"),
                                 std::string("http://h:0/"),
                                 std::string("http://h:65536/"),
                                 std::string("http://h:8x/"),
                                 std::string("http://h:/"),
                                 std::string("http://h h/"),
                                 std::string("http://[::1/"),
                                 std::string("http://[g]/"),
                                 std::string("s3://"),
                                 std::string("s3://b"),
                                 std::string("s3://b/"),
                                 std::string("s3:///k"),
                                 std::string("s3://b b/k"),
                                 std::string("s3://../k"),
                                 std::string("s3+http://h/"),
                                 std::string("s3+http://h"),
                                 std::string("file:///a%00b"),
                                 nul,
                                 nul_in_query,
                                 too_long,
                                 encoded_too_long}) {
    const auto uri = CanonicalUri(bad, kEndpoint);
    ASSERT_FALSE(uri.ok()) << bad << " became " << *uri;
    EXPECT_EQ(uri.status().code(), Code::kInvalid);
    EXPECT_EQ(uri.status().message().find('\0'), std::string::npos);
  }
}

TEST(CanonicalUri, S3NeedsAnEndpoint) {
  EXPECT_FALSE(CanonicalUri("s3://b/k", "").ok());
  for (const char* bad :
       {"host", "ftp://h", "s3+http://h", "http://", "http://h/path", "file:///x"}) {
    EXPECT_FALSE(CanonicalUri("s3://b/k", bad).ok()) << bad;
  }
}

TEST(CanonicalUri, PasswordsAreNotRepeated) {
  const auto uri = CanonicalUri("http://me:secret@h/x", "");
  ASSERT_FALSE(uri.ok());
  EXPECT_EQ(uri.status().message().find("secret"), std::string::npos);
}

TEST(CanonicalPrefix, Vectors) {
  const Vector vectors[] = {
      {"/", "file:///"},
      {"/a/b/", "file:///a/b/"},
      {"/a/b", "file:///a/b"},
      {"/a/b/..", "file:///a/"},
      {"s3://bucket", "s3+https://s3.example.com:9000/bucket/"},
      {"s3://bucket/", "s3+https://s3.example.com:9000/bucket/"},
      {"s3://bucket/a/", "s3+https://s3.example.com:9000/bucket/a/"},
      {"s3+http://h/b", "s3+http://h/b/"},
  };
  for (const Vector& vector : vectors) {
    const auto prefix = CanonicalPrefix(vector.given, kEndpoint);
    ASSERT_TRUE(prefix.ok()) << vector.given;
    EXPECT_EQ(*prefix, vector.canonical);
    EXPECT_TRUE(ParsePrefix(*prefix).ok()) << *prefix;
  }
}

TEST(ParseCanonical, PartsAreDecoded) {
  const auto s3 = ParseCanonical("s3+http://h:8000/b/a%20%2Fb//c");
  EXPECT_FALSE(s3.ok()) << "%2F is not canonical";
  const auto name = ParseCanonical("s3+http://h:8000/b/a%20b//c");
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(name->scheme, FarScheme::kS3Http);
  EXPECT_EQ(name->authority, "h:8000");
  EXPECT_EQ(name->bucket, "b");
  EXPECT_EQ(name->path, "a b//c");
  const auto http = ParseCanonical("https://h/p?q=1");
  ASSERT_TRUE(http.ok());
  EXPECT_EQ(http->path, "/p");
  EXPECT_EQ(http->query, "q=1");
}

TEST(ParseCanonical, RefusesOtherSpellings) {
  for (const char* bad : {"/a", "s3://b/k", "http://H/", "http://h", "http://h:80/", "http://h/%41",
                          "http://h/?", "file:///a/", "file:///a//b", "file:///a/../b", "file:///",
                          "s3+http://h/b/%2f", "s3+http://h/b/", "file:///a%20b/%7E", "", "x"}) {
    EXPECT_FALSE(ParseCanonical(bad).ok()) << bad;
  }
}

// Whatever bytes come, the parser answers, and what it accepts is a fixed point.
TEST(ParseCanonical, GarbageIsAnsweredAndCanonicalFormsAreFixedPoints) {
  Random random(7);
  constexpr char kAlphabet[] = "/%25:?#@[].~sS3+htpfile0\0\n\xff b";
  const std::string alphabet(kAlphabet, sizeof(kAlphabet) - 1);
  constexpr std::array<const char*, 4> kBegins{"s3+http://", "http://h", "file:///",
                                               "s3+http://h/b"};
  for (int round = 0; round < 40'000; ++round) {
    std::string text(kBegins[random.Below(kBegins.size())]);
    for (uint64_t n = random.Below(24); n > 0; --n) text += alphabet[random.Below(alphabet.size())];
    const auto uri = CanonicalUri(text, kEndpoint);
    if (!uri.ok()) continue;
    EXPECT_EQ(*CanonicalUri(*uri, ""), *uri);
    EXPECT_TRUE(ParseCanonical(*uri).ok()) << *uri;
  }
}

TEST(Percent, EncodesAndDecodes) {
  EXPECT_EQ(PercentEncode("a/b c", true), "a/b%20c");
  EXPECT_EQ(PercentEncode("a/b c", false), "a%2Fb%20c");
  EXPECT_EQ(PercentEncode("-._~", false), "-._~");
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(*PercentDecode(PercentEncode(all, false)), all);
  EXPECT_EQ(*PercentDecode("%41%6a%6A"), "Ajj");
  for (const char* bad : {"%", "%4", "a%", "%g0", "%0g"})
    EXPECT_FALSE(PercentDecode(bad).ok()) << bad;
}

}  // namespace
}  // namespace holdfast
