// SPDX-License-Identifier: Apache-2.0
#include "io/far/http_message.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace holdfast::far {
namespace {

ResponseHead Parse(std::initializer_list<std::string_view> lines) {
  ResponseHead head;
  for (std::string_view line : lines) head.AddLine(line);
  return head;
}

TEST(ResponseHeadTest, ReadsWhatMatters) {
  const ResponseHead head = Parse({"HTTP/1.1 206 Partial Content\r\n", "CONTENT-Length:  10\r\n",
                                   "Content-Range: bytes 5-14/100\r\n", "ETag: \"abc\"\r\n",
                                   "Last-Modified: Fri, 24 May 2013 00:00:00 GMT\r\n",
                                   "x-amz-checksum-crc32c: AAAAAA==\r\n", "Retry-After: 7\r\n",
                                   "x-amz-bucket-region: eu-1\r\n", "\r\n"});
  EXPECT_EQ(head.status, 206);
  EXPECT_EQ(head.content_length, 10u);
  ASSERT_TRUE(head.content_range.has_value());
  EXPECT_EQ(head.content_range->first, 5u);
  EXPECT_EQ(head.content_range->last, 14u);
  EXPECT_EQ(head.content_range->total, 100u);
  EXPECT_EQ(head.etag, "abc");
  EXPECT_EQ(head.last_modified, 1369353600);
  ASSERT_EQ(head.checksums.size(), 1u);
  EXPECT_EQ(head.checksums[0].base64, "AAAAAA==");
  EXPECT_EQ(head.retry_after, Duration(7s));
  EXPECT_EQ(head.bucket_region, "eu-1");
}

TEST(ResponseHeadTest, OnlyTheLastResponseCounts) {
  const ResponseHead head =
      Parse({"HTTP/1.1 302 Found", "ETag: \"old\"", "Content-Length: 5", "HTTP/1.1 200 OK"});
  EXPECT_EQ(head.status, 200);
  EXPECT_TRUE(head.etag.empty());
  EXPECT_FALSE(head.content_length.has_value());
}

TEST(ResponseHeadTest, ETagsLoseTheirQuotes) {
  EXPECT_EQ(Parse({"HTTP/1.1 200", "ETag: W/\"x\""}).etag, "W/x");
  EXPECT_EQ(Parse({"HTTP/1.1 200", "ETag: bare"}).etag, "bare");
  EXPECT_EQ(Parse({"HTTP/1.1 200", "ETag: \"\""}).etag, "");
  EXPECT_EQ(Parse({"HTTP/1.1 200", "ETag: \"" + std::string(5000, 'e') + "\""}).etag, "");
  EXPECT_EQ(QuotedETag("x"), "\"x\"");
  EXPECT_EQ(QuotedETag("W/x"), "W/\"x\"");
}

TEST(ResponseHeadTest, WhenLifecycleRulesEndIt) {
  const auto end = [](std::string_view value) {
    return Parse({"HTTP/1.1 200", "x-amz-expiration: " + std::string(value)}).expires_s;
  };
  EXPECT_EQ(end("expiry-date=\"Fri, 24 May 2013 00:00:00 GMT\", rule-id=\"a rule\""), 1369353600u);
  EXPECT_EQ(end("rule-id=\"r\", expiry-date=\"Fri, 24 May 2013 00:00:00 GMT\""), 1369353600u);
  EXPECT_EQ(end("expiry-date=\"Fri, 24 May 2213 00:00:00 GMT\""), UINT32_MAX);
  for (std::string_view nonsense :
       {"", "expiry-date", "expiry-date=\"", "expiry-date=\"soon\"", "rule-id=\"r\"",
        "expiry-date=\"Fri, 24 May 1913 00:00:00 GMT\"", "NotImplemented"}) {
    EXPECT_EQ(end(nonsense), 0u) << nonsense;
  }
  EXPECT_EQ(
      Parse({"HTTP/1.1 302", "x-amz-expiration: expiry-date=\"Fri, 24 May 2013 00:00:00 GMT\"",
             "HTTP/1.1 200"})
          .expires_s,
      0u);
}

TEST(ResponseHeadTest, NonsenseIsLeftOut) {
  for (std::string_view range :
       {"bytes 5-/9", "bytes -5/9", "bytes 5-9", "5-9/10", "bytes */10", "", "bytes 5-9/x",
        "bytes 9/5-10", "bytes 99999999999999999999-1/2"}) {
    const std::string line = "Content-Range: " + std::string(range);
    EXPECT_FALSE(Parse({"HTTP/1.1 206", line}).content_range.has_value()) << range;
  }
  EXPECT_FALSE(
      Parse({"HTTP/1.1 206", "Content-Range: bytes 1-2/*"}).content_range->total.has_value());
  for (std::string_view length : {"-1", "1x", "", "99999999999999999999", "1 2"}) {
    const std::string line = "Content-Length: " + std::string(length);
    EXPECT_FALSE(Parse({"HTTP/1.1 200", line}).content_length.has_value()) << length;
  }
  EXPECT_EQ(Parse({"HTTP/1.1 abc"}).status, 0);
  EXPECT_EQ(Parse({"HTTP/1.1"}).status, 0);
  EXPECT_FALSE(Parse({"Retry-After: soon"}).retry_after.has_value());
  EXPECT_EQ(Parse({"Retry-After: 999999999999"}).retry_after, Duration(24h));
}

TEST(ResponseHeadTest, AnyLineIsSurvived) {
  Random random(6);
  ResponseHead head;
  for (int i = 0; i < 20'000; ++i) {
    std::string line = random.Chance(0.5) ? "Content-Range: bytes " : "";
    for (uint64_t n = random.Below(40); n > 0; --n) line += static_cast<char>(random.Next());
    head.AddLine(line);
    EXPECT_LE(head.checksums.size(), 8u);
  }
}

TEST(Versions, ComeFromTheBestThatIsGiven) {
  EXPECT_EQ(VersionOf(Parse({"HTTP/1.1 200", "ETag: \"e\"",
                             "Last-Modified: Fri, 24 May 2013 00:00:00 GMT"}),
                      16),
            "e");
  EXPECT_EQ(VersionOf(Parse({"HTTP/1.1 200", "Last-Modified: Fri, 24 May 2013 00:00:00 GMT"}), 16),
            "lm-519ead80-10");
  EXPECT_EQ(VersionOf(Parse({"HTTP/1.1 200"}), 16), "len-10");
  EXPECT_TRUE(CanMatch("e"));
  for (std::string_view version : {"", "W/e", "lm-519ead80-10", "len-10"})
    EXPECT_FALSE(CanMatch(version));
}

TEST(Versions, OnlyPrintableETagsAreSent) {
  EXPECT_TRUE(IsSendableETag("d41d8cd98f00b204e9800998ecf8427e-12"));
  EXPECT_TRUE(IsSendableETag(""));
  for (std::string_view bad : {"a b", "a\nb", "a\"b", "\x7f", "\xc3"})
    EXPECT_FALSE(IsSendableETag(bad));
}

}  // namespace
}  // namespace holdfast::far
