// SPDX-License-Identifier: Apache-2.0
// The vectors are Amazon's: the examples of the S3 API reference and the Signature Version 4 test
// suite.
#include "io/far/sigv4.h"

#include <gtest/gtest.h>

#include "base/uri.h"

namespace holdfast::far {
namespace {

std::string SignatureOf(const std::string& authorization) {
  return authorization.substr(authorization.rfind('=') + 1);
}

class S3Examples : public testing::Test {
 protected:
  std::string Sign(std::string_view path, std::string_view query,
                   std::vector<SignedHeader> headers) {
    return signer_.Authorization({.path = path, .query = query, .headers = headers},
                                 "20130524T000000Z");
  }
  static constexpr SignedHeader kHost{"host", "examplebucket.s3.amazonaws.com"};
  static constexpr SignedHeader kPayload{"x-amz-content-sha256", kEmptySha256};
  static constexpr SignedHeader kDate{"x-amz-date", "20130524T000000Z"};
  Signer signer_{{.access_key = "AKIAIOSFODNN7EXAMPLE",
                  .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                  .session_token = ""},
                 "us-east-1"};
};

TEST_F(S3Examples, GetObjectWithRange) {
  EXPECT_EQ(Sign("/test.txt", "", {kHost, {"range", "bytes=0-9"}, kPayload, kDate}),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(S3Examples, GetBucketLifecycle) {
  EXPECT_EQ(SignatureOf(Sign("/", EncodeQuery({{"lifecycle", ""}}), {kHost, kPayload, kDate})),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST_F(S3Examples, ListObjects) {
  EXPECT_EQ(SignatureOf(Sign("/", EncodeQuery({{"prefix", "J"}, {"max-keys", "2"}}),
                             {kHost, kPayload, kDate})),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST_F(S3Examples, CanonicalRequestOfGetObject) {
  const std::vector<SignedHeader> headers{kHost, {"range", "bytes=0-9"}, kPayload, kDate};
  EXPECT_EQ(CanonicalRequest({.path = "/test.txt", .query = "", .headers = headers}),
            "GET\n/test.txt\n\nhost:examplebucket.s3.amazonaws.com\nrange:bytes=0-9\n"
            "x-amz-content-sha256:" +
                std::string(kEmptySha256) +
                "\nx-amz-date:20130524T000000Z\n\nhost;range;x-amz-content-sha256;x-amz-date\n" +
                std::string(kEmptySha256));
}

// get-vanilla, get-unreserved, get-utf8 and the query cases of the suite: service "service", two
// headers.
class Suite : public testing::Test {
 protected:
  std::string Sign(std::string_view path, std::string_view query, std::string_view method = "GET") {
    const std::vector<SignedHeader> headers{{"host", "example.amazonaws.com"},
                                            {"x-amz-date", "20150830T123600Z"}};
    return SignatureOf(signer_.Authorization(
        {.method = method, .path = path, .query = query, .headers = headers}, "20150830T123600Z"));
  }
  Signer signer_{{.access_key = "AKIDEXAMPLE",
                  .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                  .session_token = ""},
                 "us-east-1",
                 "service"};
};

TEST_F(Suite, GetVanilla) {
  EXPECT_EQ(Sign("/", ""), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}
TEST_F(Suite, PostVanilla) {
  EXPECT_EQ(Sign("/", "", "POST"),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}
TEST_F(Suite, GetVanillaQueryOrderKeyCase) {
  EXPECT_EQ(Sign("/", EncodeQuery({{"Param2", "value2"}, {"Param1", "value1"}})),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}
TEST_F(Suite, GetVanillaEmptyQueryKey) {
  EXPECT_EQ(Sign("/", EncodeQuery({{"Param1", "value1"}})),
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb");
}
TEST_F(Suite, GetUnreserved) {
  const std::string path = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  EXPECT_EQ(Sign(PercentEncode(path, true), ""),
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f");
}
TEST_F(Suite, GetUtf8) {
  EXPECT_EQ(Sign(PercentEncode("/\u1234", true), ""),
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
}
TEST_F(Suite, TheKeyFollowsTheDay) {
  const std::string first = Sign("/", "");
  const std::vector<SignedHeader> headers{{"host", "example.amazonaws.com"},
                                          {"x-amz-date", "20150831T000000Z"}};
  EXPECT_NE(
      SignatureOf(signer_.Authorization({.path = "/", .headers = headers}, "20150831T000000Z")),
      first);
  EXPECT_EQ(Sign("/", ""), first);
}

TEST(SigV4, DatesAreUtc) {
  EXPECT_EQ(AmzDate(0), "19700101T000000Z");
  EXPECT_EQ(AmzDate(1369353600), "20130524T000000Z");
}

TEST(SigV4, QueriesAreSortedByEncodedNameAndStrictlyEncoded) {
  EXPECT_EQ(
      EncodeQuery({{"prefix", "a b+c=*'\"/~"}, {"list-type", "2"}, {"a~", ""}, {"a\x80", "1"}}),
      "a%80=1&a~=&list-type=2&prefix=a%20b%2Bc%3D%2A%27%22%2F~");
}

}  // namespace
}  // namespace holdfast::far
