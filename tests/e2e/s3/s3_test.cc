// SPDX-License-Identifier: Apache-2.0
// The far store against Ceph's object gateway, which checks signatures as strictly as S3 does.
#include <gtest/gtest.h>

#include <set>

#include "io/far/aws_settings.h"
#include "tests/e2e/s3/s3_bucket.h"
#include "tests/unit/io/far/far_fixture.h"

namespace holdfast::far {
namespace {

using e2e::ReadS3Settings;
using e2e::S3Bucket;

class S3Test : public FarTest {
 protected:
  void SetUp() override {
    auto settings = ReadS3Settings();
    ASSERT_TRUE(settings.ok()) << settings.status().ToString();
    settings_ = *settings;
    auto bucket = S3Bucket::Create(settings_);
    ASSERT_TRUE(bucket.ok()) << bucket.status().ToString();
    bucket_.emplace(std::move(*bucket));
    Open(Options());
  }

  // As a user has it: settings from the environment.
  FarOptions Options() const {
    FarOptions options;
    options.proxy = "";
    options.timeouts.max_attempts = 4;
    const Status added = AddAwsSettings(
        [this](const char* name) -> std::optional<std::string> {
          if (std::string_view(name) == "AWS_ENDPOINT_URL") return settings_.at("S3_ENDPOINT");
          const auto it = settings_.find(name);
          return it == settings_.end() ? std::nullopt : std::optional(it->second);
        },
        &options);
    EXPECT_TRUE(added.ok()) << added.ToString();
    return options;
  }
  std::string Uri(std::string_view key, const char* endpoint = "S3_ENDPOINT") const {
    return *CanonicalUri("s3://" + bucket_->name() + "/" + std::string(key),
                         settings_.at(endpoint));
  }
  std::string Prefix(std::string_view key = "") const {
    return *CanonicalPrefix("s3://" + bucket_->name() + "/" + std::string(key),
                            settings_.at("S3_ENDPOINT"));
  }
  std::string Put(std::string_view key, std::string_view body) {
    const auto etag = bucket_->Put(key, body);
    EXPECT_TRUE(etag.ok()) << etag.status().ToString();
    return etag.ok() ? *etag : "";
  }
  static std::string Text(size_t size) {
    std::string text(size, ' ');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 + i / 251);
    return text;
  }

  std::map<std::string, std::string> settings_;
  std::optional<S3Bucket> bucket_;
};

TEST_F(S3Test, ReadsWholesRangesAndHeads) {
  const std::string text = Text(1'000'003);
  const std::string etag = Put("dir/object", text);
  const GetOutcome whole = GetWhole(Uri("dir/object"), text.size(), etag);
  ASSERT_TRUE(whole.status.ok()) << whole.status.ToString();
  EXPECT_EQ(AsText(whole.bytes), text);
  EXPECT_EQ(whole.info.etag, etag);
  const GetOutcome range = GetRange(Uri("dir/object"), 500'000, 500'003, etag);
  ASSERT_TRUE(range.status.ok()) << range.status.ToString();
  EXPECT_EQ(AsText(range.bytes), text.substr(500'000));
  EXPECT_EQ(range.info.size, text.size());
  const auto info = Head(Uri("dir/object"));
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(info->size, text.size());
  EXPECT_EQ(info->etag, etag);
  Put("empty", "");
  EXPECT_TRUE(GetWhole(Uri("empty"), 0).status.ok());
}

// S3 compares the SHA-256 that was signed with the bytes that came.
TEST_F(S3Test, WritesObjectsAndReadsThemInPieces) {
  const std::string text = Text(9'000'001);
  for (const std::string& bytes : {text, text.substr(1), std::string("x")}) {
    std::optional<Result<FarInfo>> put;
    client_->Put({Uri("packs/a b+c"), AsBytes(bytes), Time::Max()},
                 [&](Result<FarInfo> info) { put.emplace(std::move(info)); });
    thread_.RunUntil([&] { return put.has_value(); });
    ASSERT_TRUE(put->ok()) << put->status().ToString();
    const GetOutcome got = GetWhole(Uri("packs/a b+c"), bytes.size(), (*put)->etag);
    ASSERT_TRUE(got.status.ok()) << got.status.ToString();
    EXPECT_EQ(AsText(got.bytes), bytes);
  }
  Put("pieces", text);
  std::vector<std::byte> first(1'000), second(70'000);
  std::vector<FarPiece> pieces{{.offset = 5, .into = first}, {.offset = 8'000'000, .into = second}};
  FarGet get;
  get.uri = Uri("pieces");
  get.whole = false;
  get.offset = 5;
  get.length = 8'069'995;
  get.pieces = &pieces;
  std::optional<Status> status;
  client_->Get(std::move(get), [&](Status s, FarInfo, uint64_t) { status = std::move(s); });
  thread_.RunUntil([&] { return status.has_value(); });
  ASSERT_TRUE(status->ok()) << status->ToString();
  EXPECT_EQ(AsText(first), text.substr(5, 1'000));
  EXPECT_EQ(AsText(second), text.substr(8'000'000, 70'000));
  EXPECT_EQ(pieces[1].hash, Hash64(second));
}

TEST_F(S3Test, WithAWrongKeyNothingIsWritten) {
  FarOptions options = Options();
  options.s3.credentials.secret_key += "x";
  Open(options);
  std::optional<Result<FarInfo>> put;
  client_->Put({Uri("k"), AsBytes("x"), Time::Max()},
               [&](Result<FarInfo> info) { put.emplace(std::move(info)); });
  thread_.RunUntil([&] { return put.has_value(); });
  EXPECT_EQ(put->status().code(), Code::kDenied) << put->status().ToString();
  Open(Options());
  EXPECT_EQ(Head(Uri("k")).status().code(), Code::kNotFound);
}

TEST_F(S3Test, AnObjectOfWhichNothingIsKnownIsReadInOneOrTwo) {
  const std::string text = Text(1'000'003);
  const std::string etag = Put("k", text);
  const GetOutcome at_once = GetRange(Uri("k"), 0, 2'000'000);
  ASSERT_TRUE(at_once.status.ok()) << at_once.status.ToString();
  EXPECT_EQ(AsText(at_once.bytes), text);
  EXPECT_EQ(at_once.info.etag, etag);
  const GetOutcome first = GetRange(Uri("k"), 0, 262'144);
  ASSERT_TRUE(first.status.ok()) << first.status.ToString();
  EXPECT_EQ(AsText(first.bytes), text.substr(0, 262'144));
  EXPECT_EQ(first.info.size, text.size());
  const GetOutcome all = GetRest(Uri("k"), first.bytes, text.size(), first.info.etag);
  ASSERT_TRUE(all.status.ok()) << all.status.ToString();
  EXPECT_EQ(AsText(all.bytes), text);
  EXPECT_EQ(client_->Counters().bytes, 2 * text.size());
  const std::string of_nothing = Put("empty", "");
  const GetOutcome empty = GetRange(Uri("empty"), 0, 262'144);
  ASSERT_TRUE(empty.status.ok()) << empty.status.ToString();
  EXPECT_EQ(empty.info.size, 0u);
  EXPECT_EQ(empty.info.etag, of_nothing);
  Put("k", Text(999'999));
  EXPECT_EQ(GetRest(Uri("k"), first.bytes, text.size(), first.info.etag).status.code(),
            Code::kChanged);
  EXPECT_EQ(client_->Counters().heads, 0u);
}

TEST_F(S3Test, UglyKeysAreReadAndListed) {
  const std::set<std::string> keys{
      "a b",       "a+b",       "a=b",         "a*b",    "it's \"quoted\"",
      "x//y",      "x//",       "x/../y",      "x/./y",  "100%",
      "%41",       "q?x=1&y#z", "\xc3\xa9",    "~t_.-",  "\xe6\x97\xa5",
      "a\tb;c,",   "<&>",       "[a]{b}|\\^`", "/lead",  " ",
      "new\nline", "..",        ".",           "%2F%00", "+",
      "a\r\n",     "$@!():'"};
  for (const std::string& key : keys) {
    const std::string etag = Put(key, key);
    const GetOutcome outcome = GetWhole(Uri(key), key.size(), etag);
    ASSERT_TRUE(outcome.status.ok()) << key << ": " << outcome.status.ToString();
    EXPECT_EQ(AsText(outcome.bytes), key);
    EXPECT_EQ(Head(Uri(key))->etag, etag) << key;
    const auto page = List(Prefix(key));
    ASSERT_TRUE(page.ok()) << key << ": " << page.status().ToString();
    ASSERT_FALSE(page->entries.empty()) << key;
    EXPECT_EQ(page->entries[0].uri, Uri(key));
  }
  const auto page = List(Prefix());
  ASSERT_TRUE(page.ok()) << page.status().ToString();
  std::vector<std::string> listed;
  for (const FarEntry& entry : page->entries) listed.push_back(ParseCanonical(entry.uri)->path);
  EXPECT_EQ(listed, std::vector<std::string>(keys.begin(), keys.end()));
}

TEST_F(S3Test, ListsMoreThanAPage) {
  const Status put = bucket_->PutMany("many/x ", 1205);
  ASSERT_TRUE(put.ok()) << put.ToString();
  Put("many/sub/1", "1");
  Put("other", "1");
  std::vector<std::string> uris;
  std::string token;
  do {
    const auto page = List(Prefix("many/"), token);
    ASSERT_TRUE(page.ok()) << page.status().ToString();
    EXPECT_LE(page->entries.size(), 1000u);
    for (const FarEntry& entry : page->entries) uris.push_back(entry.uri);
    token = page->next;
  } while (!token.empty());
  ASSERT_EQ(uris.size(), 1206u);
  EXPECT_EQ(uris[0], Uri("many/sub/1"));
  EXPECT_EQ(uris[1], Uri("many/x 0000"));
  EXPECT_EQ(uris[1205], Uri("many/x 1204"));
  EXPECT_EQ(client_->Counters().lists, 2u);

  const auto delimited = List(Prefix(), "", true);
  ASSERT_TRUE(delimited.ok());
  ASSERT_EQ(delimited->entries.size(), 1u);
  EXPECT_EQ(delimited->prefixes, std::vector<std::string>{Prefix("many/")});
  const auto nothing = List(Prefix("none/"));
  ASSERT_TRUE(nothing.ok());
  EXPECT_TRUE(nothing->entries.empty() && nothing->next.empty());
}

TEST_F(S3Test, AnOverwrittenObjectIsChanged) {
  const std::string before = Put("k", "version 1");
  const std::string after = Put("k", "version 2");
  ASSERT_NE(before, after);
  EXPECT_EQ(GetWhole(Uri("k"), 9, before).status.code(), Code::kChanged);
  EXPECT_EQ(GetRange(Uri("k"), 0, 4, before).status.code(), Code::kChanged);
  EXPECT_EQ(AsText(GetWhole(Uri("k"), 9, after).bytes), "version 2");
  Put("k", "longer than before");
  EXPECT_EQ(GetWhole(Uri("k"), 9).status.code(), Code::kChanged);
  EXPECT_EQ(GetRange(Uri("k"), 100, 5).status.code(), Code::kChanged);
  EXPECT_EQ(AsText(GetRange(Uri("k"), 10, 50).bytes), "n before");
}

TEST_F(S3Test, AnonymousRequestsAreDenied) {
  Put("k", "x");
  FarOptions options = Options();
  options.s3.credentials = {};
  Open(options);
  const Status status = GetWhole(Uri("k"), 1).status;
  EXPECT_EQ(status.code(), Code::kDenied) << status.ToString();
  EXPECT_NE(status.message().find("no credentials were used"), std::string::npos);
  EXPECT_EQ(List(Prefix()).status().code(), Code::kDenied);
  EXPECT_EQ(Head(Uri("k")).status().code(), Code::kDenied);
}

TEST_F(S3Test, WrongKeysAreDeniedAndNeverShown) {
  Put("k", "x");
  FarOptions options = Options();
  options.s3.credentials.secret_key += "x";
  Open(options);
  Status status = GetWhole(Uri("k"), 1).status;
  EXPECT_EQ(status.code(), Code::kDenied);
  EXPECT_NE(status.message().find("SignatureDoesNotMatch"), std::string::npos) << status.ToString();
  EXPECT_EQ(status.message().find(options.s3.credentials.secret_key), std::string::npos);
  options.s3.credentials.access_key = "NOBODY";
  Open(options);
  status = GetWhole(Uri("k"), 1).status;
  EXPECT_EQ(status.code(), Code::kDenied);
  EXPECT_NE(status.message().find("check the access key"), std::string::npos) << status.ToString();
  EXPECT_EQ(client_->Counters().retries, 0u);
}

TEST_F(S3Test, WhatIsMissingIsNamed) {
  const Status key = GetWhole(Uri("none"), 1).status;
  EXPECT_EQ(key.code(), Code::kNotFound);
  EXPECT_NE(key.message().find(Uri("none")), std::string::npos);
  const std::string elsewhere =
      *CanonicalUri("s3://no-such-bucket-here/k", settings_.at("S3_ENDPOINT"));
  const Status bucket = GetWhole(elsewhere, 1).status;
  EXPECT_EQ(bucket.code(), Code::kNotFound);
  EXPECT_NE(bucket.message().find("bucket does not exist"), std::string::npos) << bucket.ToString();
  const Status listed =
      List(*CanonicalPrefix("s3://no-such-bucket-here", settings_.at("S3_ENDPOINT"))).status();
  EXPECT_EQ(listed.code(), Code::kNotFound);
  EXPECT_NE(listed.message().find("bucket does not exist"), std::string::npos) << listed.ToString();
  EXPECT_EQ(Head(Uri("none")).status().code(), Code::kNotFound);
}

TEST_F(S3Test, VirtualHostedBuckets) {
  const std::string etag = Put("dir/a b+c", "hello");
  FarOptions options = Options();
  const std::string port =
      settings_.at("S3_ENDPOINT").substr(settings_.at("S3_ENDPOINT").rfind(':'));
  options.s3.endpoint = "http://localhost" + port;
  options.s3.virtual_hosted = true;
  Open(options);
  const std::string uri =
      *CanonicalUri("s3://" + bucket_->name() + "/dir/a b+c", options.s3.endpoint);
  const GetOutcome outcome = GetWhole(uri, 5, etag);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(AsText(outcome.bytes), "hello");
  const auto page = List(*CanonicalPrefix("s3://" + bucket_->name(), options.s3.endpoint));
  ASSERT_TRUE(page.ok()) << page.status().ToString();
  EXPECT_EQ(page->entries.at(0).uri, uri);
}

TEST_F(S3Test, TlsWithAnAuthorityOfItsOwn) {
  const std::string text = Text(300'000);
  const std::string etag = Put("k", text);
  FarOptions options = Options();
  options.s3.endpoint = settings_.at("S3_TLS_ENDPOINT");
  Open(options);
  const Status untrusted = GetWhole(Uri("k", "S3_TLS_ENDPOINT"), text.size(), etag).status;
  EXPECT_EQ(untrusted.code(), Code::kDenied) << untrusted.ToString();
  EXPECT_NE(untrusted.message().find("CA bundle"), std::string::npos);
  options.ca_bundle = settings_.at("S3_CA_BUNDLE");
  Open(options);
  for (int i = 0; i < 3; ++i) {
    const GetOutcome outcome = GetWhole(Uri("k", "S3_TLS_ENDPOINT"), text.size(), etag);
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
    EXPECT_EQ(AsText(outcome.bytes), text);
  }
}

}  // namespace
}  // namespace holdfast::far
