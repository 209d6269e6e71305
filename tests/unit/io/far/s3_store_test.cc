// SPDX-License-Identifier: Apache-2.0
// S3 as the client speaks it, against an origin with answers made by hand. The real one is in
// tests/e2e.
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "io/far/checksum.h"
#include "tests/origin/origin.h"
#include "tests/unit/io/far/far_fixture.h"

namespace holdfast::far {
namespace {

using origin::CannedResponse;
using origin::Content;
using origin::Origin;
using origin::OriginOptions;
using origin::Request;

std::string ErrorXml(const std::string& code, const std::string& message) {
  return "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>" + message +
         "</Message><Resource>/b/k</Resource></Error>";
}

class S3StoreTest : public FarTest {
 protected:
  void Start(std::optional<CannedResponse> always, FarOptions far_options = SignedOptions()) {
    OriginOptions options;
    options.answer = [this, always](const Request& request) {
      std::lock_guard lock(mutex_);
      requests_.push_back(request);
      return always;
    };
    auto started = Origin::Start(std::move(options));
    ASSERT_TRUE(started.ok());
    origin_ = std::move(*started);
    Open(std::move(far_options));
  }
  static FarOptions SignedOptions() {
    FarOptions options = QuickOptions();
    options.s3.credentials = {.access_key = "AKIDTEST", .secret_key = "topsecret"};
    return options;
  }
  std::string Uri(const std::string& key) const {
    return "s3+" + origin_->url() + "/bucket/" + key;
  }
  Request Last() {
    std::lock_guard lock(mutex_);
    return requests_.back();
  }
  size_t Requests() {
    std::lock_guard lock(mutex_);
    return requests_.size();
  }
  Status StatusFor(int http, const std::string& code, FarOptions options = SignedOptions()) {
    Start(CannedResponse{http, {}, ErrorXml(code, "it says no")}, std::move(options));
    return GetWhole(Uri("key"), 10).status;
  }

  std::mutex mutex_;
  std::vector<Request> requests_;
  std::unique_ptr<Origin> origin_;
};

TEST_F(S3StoreTest, SignedRequestsCarryWhatS3Needs) {
  Start(std::nullopt);
  const std::string path = "/bucket/o/1000/a";
  const GetOutcome outcome = GetWhole(Uri("o/1000/a"), 1000, Content(path, 0).ETag());
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  const Request request = Last();
  EXPECT_EQ(request.path, path);
  EXPECT_TRUE(request.Header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIDTEST/"));
  EXPECT_NE(request.Header("authorization")
                .find("SignedHeaders=host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date,"),
            std::string::npos);
  EXPECT_EQ(request.Header("x-amz-checksum-mode"), "ENABLED");
  EXPECT_EQ(request.Header("x-amz-content-sha256"), kEmptySha256);
  EXPECT_EQ(request.Header("if-match"), "\"" + Content(path, 0).ETag() + "\"");
  EXPECT_EQ(request.Header("host"), origin_->url().substr(7));
}

TEST_F(S3StoreTest, SignaturesAreThoseOfTheSigner) {
  FarOptions options = SignedOptions();
  options.s3.credentials.session_token = "token==";
  options.s3.region = "eu-1";
  Start(std::nullopt, options);
  static_cast<void>(Head(Uri("o/10/%20%2B%2A")));
  const Request request = Last();
  EXPECT_EQ(request.method, "HEAD");
  const std::string date(request.Header("x-amz-date"));
  const std::string host(request.Header("host"));
  const std::vector<SignedHeader> headers{{"host", host},
                                          {"x-amz-checksum-mode", "ENABLED"},
                                          {"x-amz-content-sha256", kEmptySha256},
                                          {"x-amz-date", date},
                                          {"x-amz-security-token", "token=="}};
  Signer signer(options.s3.credentials, "eu-1");
  EXPECT_EQ(request.Header("authorization"),
            signer.Authorization(
                {.method = "HEAD", .path = "/bucket/o/10/%20%2B%2A", .headers = headers}, date));
  EXPECT_EQ(request.Header("x-amz-security-token"), "token==");
}

TEST_F(S3StoreTest, UglyKeysAreSentStrictlyEncoded) {
  Start(CannedResponse{200, {"ETag: \"e\""}, "x"});
  for (const std::string& key :
       {std::string("a b"), std::string("a+b=c*d'e\"f"), std::string("//x//"),
        std::string("../../etc/./passwd"), std::string("\xc3\xa9\n%41")}) {
    const std::string encoded = PercentEncode(key, true);
    EXPECT_TRUE(GetWhole(Uri(encoded), 1).status.ok()) << key;
    EXPECT_EQ(Last().path, "/bucket/" + encoded);
  }
}

TEST_F(S3StoreTest, VirtualHostedBuckets) {
  FarOptions options = SignedOptions();
  options.s3.virtual_hosted = true;
  Start(CannedResponse{200, {"ETag: \"e\""}, "x"}, options);
  const std::string port = std::to_string(origin_->port());
  EXPECT_TRUE(GetWhole("s3+http://localhost:" + port + "/bucket/k", 1).status.ok());
  EXPECT_EQ(Last().path, "/k");
  EXPECT_EQ(Last().Header("host"), "bucket.localhost:" + port);
}

TEST_F(S3StoreTest, CredentialsGoToTheConfiguredEndpointOnly) {
  FarOptions options = SignedOptions();
  options.s3.endpoint = "http://127.0.0.1:1";
  Start(CannedResponse{200, {"ETag: \"e\""}, "x"}, options);
  EXPECT_TRUE(GetWhole(Uri("k"), 1).status.ok());
  EXPECT_TRUE(Last().Header("authorization").empty());
  options.s3.endpoint = origin_->url();
  Open(options);
  EXPECT_TRUE(GetWhole(Uri("k"), 1).status.ok());
  EXPECT_FALSE(Last().Header("authorization").empty());
  EXPECT_TRUE(GetWhole(origin_->url() + "/k", 1).status.ok());
  EXPECT_TRUE(Last().Header("authorization").empty()) << "plain HTTP is never signed";
}

TEST_F(S3StoreTest, RefusalsSayWhatToCheckAndNeverTheSecret) {
  struct Case {
    int http;
    const char* code;
    Code expected;
    const char* says;
  };
  const Case cases[] = {
      {403, "AccessDenied", Code::kDenied, "policy"},
      {403, "InvalidAccessKeyId", Code::kDenied, "check the access key"},
      {403, "SignatureDoesNotMatch", Code::kDenied, "us-east-1"},
      {403, "RequestTimeTooSkewed", Code::kDenied, "clock"},
      {400, "ExpiredToken", Code::kDenied, "session token"},
      {401, "Unauthorized", Code::kDenied, "check"},
      {400, "AuthorizationHeaderMalformed", Code::kDenied, "the region, which is \"us-east-1\""},
      {403, "InvalidObjectState", Code::kDenied, "restore"},
      {404, "NoSuchKey", Code::kNotFound, "does not exist"},
      {404, "NoSuchBucket", Code::kNotFound, "bucket does not exist"},
      {400, "InvalidArgument", Code::kInvalid, "it says no"},
      {301, "PermanentRedirect", Code::kInvalid, "another endpoint or region"},
      {416, "InvalidRange", Code::kChanged, "fewer bytes"},
      {412, "PreconditionFailed", Code::kChanged, "changed"},
  };
  for (const Case& c : cases) {
    const Status status = StatusFor(c.http, c.code);
    EXPECT_EQ(status.code(), c.expected) << c.code;
    EXPECT_NE(status.message().find(c.says), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("bucket/key"), std::string::npos) << status.message();
    EXPECT_EQ(status.message().find("topsecret"), std::string::npos);
    EXPECT_EQ(client_->Counters().retries, 0u) << c.code;
  }
}

// The answer to a HEAD has no body that could say more.
TEST_F(S3StoreTest, ABadHeadSaysWhatToCheck) {
  Start(CannedResponse{400, {"x-amz-bucket-region: eu-central-1"}, ""});
  Status status = Head(Uri("k")).status();
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find("\"eu-central-1\""), std::string::npos) << status.message();
  Start(CannedResponse{400, {}, ""});
  status = Head(Uri("k")).status();
  EXPECT_NE(status.message().find("session token"), std::string::npos) << status.message();
}

TEST_F(S3StoreTest, WhatLifecycleRulesEndSaysWhen) {
  const auto expiry = [](const char* date) {
    return "x-amz-expiration: expiry-date=\"" + std::string(date) + "\", rule-id=\"r\"";
  };
  Start(CannedResponse{200, {"ETag: \"e\"", expiry("Sun, 24 May 2093 00:00:00 GMT")}, "body"});
  const Result<FarInfo> head = Head(Uri("k"));
  ASSERT_TRUE(head.ok()) << head.status().ToString();
  EXPECT_EQ(head->expires_s, 3893961600u);
  // It may be there for a while yet.
  Start(CannedResponse{200, {"ETag: \"e\"", expiry("Fri, 24 May 2013 00:00:00 GMT")}, "body"});
  const Status status = Head(Uri("k")).status();
  EXPECT_EQ(status.code(), Code::kNotFound);
  EXPECT_NE(status.message().find("expired"), std::string::npos) << status.message();
  const GetOutcome got = GetWhole(Uri("k"), 4);
  EXPECT_EQ(got.status.code(), Code::kNotFound);
  EXPECT_EQ(got.bytes, std::vector<std::byte>(4)) << "nothing of it was taken";
}

TEST_F(S3StoreTest, AnonymousRefusalsSaySo) {
  const Status status = StatusFor(403, "AccessDenied", QuickOptions());
  EXPECT_NE(status.message().find("no credentials were used"), std::string::npos);
  EXPECT_TRUE(Last().Header("authorization").empty());
}

TEST_F(S3StoreTest, S3sOwnTransientErrorsAreTriedAgain) {
  EXPECT_EQ(StatusFor(400, "RequestTimeout").code(), Code::kUnavailable);
  EXPECT_EQ(Requests(), 4u);
}

TEST_F(S3StoreTest, CompositeChecksumsAreNotComparedWithTheBytes) {
  Start(CannedResponse{200, {"ETag: \"e-2\"", "x-amz-checksum-crc32c: AAAAAA==-2"}, "x"});
  EXPECT_TRUE(GetWhole(Uri("k"), 1, "e-2").status.ok());
}

TEST_F(S3StoreTest, EveryChecksumIsVerified) {
  const std::string body = "123456789";
  const std::map<std::string, ChecksumKind> kinds{
      {"x-amz-checksum-crc32", ChecksumKind::kCrc32},
      {"x-amz-checksum-crc32c", ChecksumKind::kCrc32c},
      {"x-amz-checksum-crc64nvme", ChecksumKind::kCrc64Nvme},
      {"x-amz-checksum-sha1", ChecksumKind::kSha1},
      {"x-amz-checksum-sha256", ChecksumKind::kSha256},
      {"Content-MD5", ChecksumKind::kMd5}};
  for (const auto& [header, kind] : kinds) {
    const std::string right = header + ": " + ChecksumBase64(kind, AsBytes(body));
    Start(CannedResponse{200, {"ETag: \"e\"", right}, body});
    EXPECT_TRUE(GetWhole(Uri("k"), 9, "e").status.ok()) << header;
    Start(CannedResponse{200, {"ETag: \"e\"", right}, "123456780"});
    EXPECT_EQ(GetWhole(Uri("k"), 9, "e").status.code(), Code::kCorrupt) << header;
    EXPECT_EQ(client_->Counters().gets, 2u) << "a second try, then the truth";
  }
}

std::string Page(const std::string& inner,
                 const std::string& more = "<IsTruncated>false</IsTruncated>") {
  return "<?xml version=\"1.0\"?><ListBucketResult "
         "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
         "<Name>bucket</Name><EncodingType>url</EncodingType>" +
         more + inner + "</ListBucketResult>";
}
std::string Entry(const std::string& key) {
  return "<Contents><Key>" + key + "</Key><Size>7</Size><ETag>&quot;e1&quot;</ETag></Contents>";
}

TEST_F(S3StoreTest, ListsAPage) {
  Start(CannedResponse{200,
                       {},
                       Page(Entry("p/a+b%2Bc") + Entry("p/%C3%A9") +
                                "<CommonPrefixes><Prefix>p/d+e/</Prefix></CommonPrefixes>",
                            "<IsTruncated>true</IsTruncated><NextContinuationToken>t/+=</"
                            "NextContinuationToken>")});
  const auto page = List(Uri("p/"), "last=+/", true);
  ASSERT_TRUE(page.ok()) << page.status().ToString();
  ASSERT_EQ(page->entries.size(), 2u);
  EXPECT_EQ(page->entries[0].uri, Uri("p/a%20b%2Bc"));
  EXPECT_EQ(page->entries[0].info.size, 7u);
  EXPECT_EQ(page->entries[0].info.etag, "e1");
  EXPECT_EQ(page->entries[1].uri, Uri("p/%C3%A9"));
  EXPECT_EQ(page->prefixes, std::vector<std::string>{Uri("p/d%20e/")});
  EXPECT_EQ(page->next, "t/+=");
  EXPECT_EQ(Last().path, "/bucket/");
  EXPECT_EQ(
      Last().query,
      "continuation-token=last%3D%2B%2F&delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&"
      "prefix=p%2F");
  EXPECT_EQ(client_->Counters().lists, 1u);
}

TEST_F(S3StoreTest, ListsAWholeBucket) {
  Start(CannedResponse{200, {}, Page(Entry("a"))});
  const auto page = List(Uri(""));
  ASSERT_TRUE(page.ok()) << page.status().ToString();
  EXPECT_EQ(page->entries.at(0).uri, Uri("a"));
  EXPECT_TRUE(page->next.empty());
}

TEST_F(S3StoreTest, ListingsThatLieAreCorrupt) {
  const std::string turning =
      "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>";
  for (const std::string& body : {Page(Entry("other")), Page(Entry("p/a%00")), Page(Entry("p/%zz")),
                                  Page("", "<IsTruncated>true</IsTruncated>"), Page("", turning),
                                  std::string("<html/>"), std::string("")}) {
    Start(CannedResponse{200, {}, body});
    const auto page = List(Uri("p/"), "t");
    EXPECT_EQ(page.status().code(), Code::kCorrupt) << body;
    EXPECT_LE(Requests(), 2u);
    requests_.clear();
  }
}

TEST_F(S3StoreTest, AKeyThatNoNameCanHaveIsNamed) {
  Start(CannedResponse{200, {}, Page(Entry("p/a%00"))});
  const std::string message = List(Uri("p/")).status().message();
  EXPECT_NE(message.find("bucket/p/a%00, and no name can have a NUL byte"), std::string::npos)
      << message;
}

TEST_F(S3StoreTest, ListingABucketThatDoesNotExist) {
  Start(CannedResponse{404, {}, ErrorXml("NoSuchBucket", "no")});
  const auto page = List(Uri("p/"));
  EXPECT_EQ(page.status().code(), Code::kNotFound);
  EXPECT_NE(page.status().message().find("bucket does not exist"), std::string::npos);
}

TEST(FarClientOptions, BadOnesAreNamed) {
  const Post post = [](std::function<void()>) {};
  FarOptions options;
  options.s3.endpoint = "not an endpoint";
  EXPECT_EQ(FarClient::Open(options, post).status().code(), Code::kInvalid);
  options = {};
  options.s3.credentials = {.access_key = "a\nb", .secret_key = "s"};
  EXPECT_EQ(FarClient::Open(options, post).status().code(), Code::kInvalid);
  options = {};
  options.s3.credentials.access_key = "a";
  EXPECT_EQ(FarClient::Open(options, post).status().code(), Code::kInvalid);
  options = {};
  options.ca_bundle = "/nonexistent.pem";
  EXPECT_EQ(FarClient::Open(options, post).status().code(), Code::kInvalid);
  options = {};
  options.limits.min_connections = 9;
  options.limits.max_connections = 8;
  EXPECT_EQ(FarClient::Open(options, post).status().code(), Code::kInvalid);
  options = {};
  options.limits.http_threads = 0;
  EXPECT_EQ(FarClient::Open(options, post).status().code(), Code::kInvalid);
  options.limits.http_threads = options.limits.max_connections + 1;
  EXPECT_EQ(FarClient::Open(options, post).status().code(), Code::kInvalid);
  options = {};
  options.directory_roots = {"/nonexistent"};
  EXPECT_EQ(FarClient::Open(options, post).status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace holdfast::far
