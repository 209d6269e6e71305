// SPDX-License-Identifier: Apache-2.0
// Every fault of the test origin, and what the client makes of it: the right bytes or an error,
// never anything else.
#include <gtest/gtest.h>

#include <future>
#include <set>

#include "tests/origin/origin.h"
#include "tests/unit/io/far/far_fixture.h"

namespace holdfast::far {
namespace {

using origin::Content;
using origin::FaultKind;
using origin::FaultRule;
using origin::Origin;
using origin::OriginOptions;

constexpr uint64_t kSize = 100'000;
constexpr char kPath[] = "/o/100000/a";

class HttpStoreTest : public FarTest {
 protected:
  void Start(OriginOptions options, FarOptions far_options = QuickOptions()) {
    auto started = Origin::Start(std::move(options));
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    origin_ = std::move(*started);
    Open(std::move(far_options));
  }
  void StartWith(FaultRule fault, FarOptions far_options = QuickOptions()) {
    OriginOptions options;
    options.faults.push_back(std::move(fault));
    Start(std::move(options), std::move(far_options));
  }
  std::string Uri(const std::string& path = kPath) const { return origin_->url() + path; }
  static std::string ETag(uint64_t version = 0) { return Content(kPath, version).ETag(); }
  static std::vector<std::byte> Bytes(uint64_t offset = 0, uint64_t length = kSize,
                                      uint64_t version = 0, const std::string& path = kPath) {
    std::vector<std::byte> bytes(length);
    Content(path, version).Read(offset, bytes);
    return bytes;
  }
  uint64_t Fired(FaultKind kind) const {
    return origin_->Counters().faults[static_cast<size_t>(kind)];
  }

  std::unique_ptr<Origin> origin_;
};

TEST_F(HttpStoreTest, ReadsAWholeObject) {
  Start({});
  const GetOutcome outcome = GetWhole(Uri(), kSize, ETag());
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(outcome.bytes, Bytes());
  EXPECT_EQ(outcome.info.size, kSize);
  EXPECT_EQ(outcome.info.etag, ETag());
}

TEST_F(HttpStoreTest, ReadsAnObjectWithoutKnowingItsVersion) {
  Start({});
  const GetOutcome outcome = GetWhole(Uri(), kSize);
  ASSERT_TRUE(outcome.status.ok());
  EXPECT_EQ(outcome.info.etag, ETag());
}

TEST_F(HttpStoreTest, ReadsAnEmptyObject) {
  Start({});
  const GetOutcome outcome = GetWhole(Uri("/o/0/a"), 0);
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(outcome.info.size, 0u);
}

TEST_F(HttpStoreTest, ReadsRanges) {
  Start({});
  for (auto [offset, length] :
       {std::pair<uint64_t, uint64_t>{0, 1}, {1, 99'998}, {99'999, 1}, {0, kSize}, {63, 70}}) {
    const GetOutcome outcome = GetRange(Uri(), offset, length, ETag());
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
    EXPECT_EQ(outcome.bytes, Bytes(offset, length));
    EXPECT_EQ(outcome.info.size, kSize);
  }
}

TEST_F(HttpStoreTest, HeadsAnObject) {
  Start({});
  const auto info = Head(Uri());
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  EXPECT_EQ(info->size, kSize);
  EXPECT_EQ(info->etag, ETag());
  EXPECT_EQ(Head(Uri("/none")).status().code(), Code::kNotFound);
}

// With one thread, and with more that do not divide the connections.
class HttpStoreThreadsTest : public HttpStoreTest, public testing::WithParamInterface<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Threads, HttpStoreThreadsTest, testing::Values(1, 3, 8));

TEST_P(HttpStoreThreadsTest, ManyAtOnceOverFewConnections) {
  FarOptions options = QuickOptions();
  options.limits.min_connections = options.limits.max_connections = 8;
  options.limits.http_threads = GetParam();
  Start({.delay = 2ms}, options);
  constexpr size_t kObjects = 300;
  std::vector<std::vector<std::byte>> bytes(kObjects);
  size_t done = 0;
  for (size_t i = 0; i < kObjects; ++i) {
    FarGet get;
    const std::string path = "/o/1000/" + std::to_string(i);
    get.uri = Uri(path);
    get.length = 1000;
    bytes[i].resize(1000);
    get.into = bytes[i];
    client_->Get(std::move(get), [&, i, path](Status status, FarInfo, uint64_t) {
      ++done;
      EXPECT_TRUE(status.ok());
      EXPECT_EQ(bytes[i], Bytes(0, 1000, 0, path));
    });
  }
  thread_.RunUntil([&] { return done == kObjects; });
  EXPECT_LE(origin_->Counters().connections, 8u);
  const FarCounters counters = client_->Counters();
  EXPECT_EQ(counters.gets, kObjects);
  EXPECT_EQ(counters.bytes, kObjects * 1000);
  EXPECT_EQ(counters.retries, 0u);
  EXPECT_EQ(counters.errors, 0u);
}

TEST_F(HttpStoreTest, CountsMoneyExactly) {
  FarOptions options = QuickOptions();
  options.prices = {.per_1000_gets = 400, .per_1000_lists = 5000, .per_gb = 90'000};
  Start({}, options);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(GetWhole(Uri("/o/1000000/m"), 1'000'000).status.ok());
  ASSERT_TRUE(Head(Uri()).ok());
  const FarCounters counters = client_->Counters();
  EXPECT_EQ(counters.gets, 5u);
  EXPECT_EQ(counters.heads, 1u);
  EXPECT_EQ(counters.bytes, 5'000'000u);
  EXPECT_EQ(counters.money, 6 * 400 / 1000 + 450);
}

TEST_F(HttpStoreTest, TransientStatusesAreTriedAgain) {
  for (int status : {500, 502, 503, 504, 429, 408}) {
    StartWith({.kind = FaultKind::kStatus, .times = 2, .status = status});
    const GetOutcome outcome = GetWhole(Uri(), kSize, ETag());
    ASSERT_TRUE(outcome.status.ok()) << status << " " << outcome.status.ToString();
    EXPECT_EQ(outcome.bytes, Bytes());
    EXPECT_EQ(client_->Counters().retries, 2u);
    EXPECT_EQ(client_->Counters().gets, 3u);
  }
}

TEST_F(HttpStoreTest, GivesUpAfterTheLastAttempt) {
  StartWith({.kind = FaultKind::kStatus, .status = 503});
  const GetOutcome outcome = GetWhole(Uri(), kSize);
  EXPECT_EQ(outcome.status.code(), Code::kUnavailable);
  EXPECT_NE(outcome.status.message().find("tried 4 times"), std::string::npos);
  EXPECT_NE(outcome.status.message().find(Uri()), std::string::npos);
  EXPECT_EQ(client_->Counters().errors, 1u);
  EXPECT_EQ(origin_->Counters().requests, 4u);
}

TEST_F(HttpStoreTest, RetryAfterBeyondTheDeadlineIsATimeout) {
  StartWith({.kind = FaultKind::kStatus, .retry_after = 3600s});
  FarGet get;
  get.uri = Uri();
  get.length = kSize;
  get.deadline = client_->options().now() + 1000s;
  const GetOutcome outcome = Get(std::move(get));
  EXPECT_EQ(outcome.status.code(), Code::kTimeout);
  EXPECT_EQ(origin_->Counters().requests, 1u);
}

TEST_F(HttpStoreTest, RetryAfterIsWaitedFor) {
  StartWith({.kind = FaultKind::kStatus, .times = 1, .retry_after = 1s});
  const Time began = client_->options().now();
  EXPECT_TRUE(GetWhole(Uri(), kSize).status.ok());
  EXPECT_GE(client_->options().now() - began, 1s);
}

TEST_F(HttpStoreTest, BrokenConnectionsAreTriedAgain) {
  for (FaultKind kind :
       {FaultKind::kTruncate, FaultKind::kReset, FaultKind::kLongLength, FaultKind::kStall}) {
    StartWith({.kind = kind, .times = 1});
    const GetOutcome outcome = GetWhole(Uri(), kSize, ETag());
    ASSERT_TRUE(outcome.status.ok()) << origin::FaultName(kind) << outcome.status.ToString();
    EXPECT_EQ(outcome.bytes, Bytes());
    EXPECT_EQ(Fired(kind), 1u);
    EXPECT_EQ(client_->Counters().retries, 1u);
  }
}

TEST_F(HttpStoreTest, LongLengthWithoutAPlannedVersionIsAnotherSize) {
  StartWith({.kind = FaultKind::kLongLength});
  EXPECT_EQ(GetWhole(Uri(), kSize).status.code(), Code::kChanged);
}

TEST_F(HttpStoreTest, StallsThatNeverEndAreUnavailable) {
  FarOptions options = QuickOptions();
  options.timeouts.max_attempts = 2;
  StartWith({.kind = FaultKind::kStall}, options);
  const GetOutcome outcome = GetWhole(Uri(), kSize);
  EXPECT_EQ(outcome.status.code(), Code::kUnavailable);
  EXPECT_NE(outcome.status.message().find("no more bytes came"), std::string::npos);
}

TEST_F(HttpStoreTest, ADeadlineEndsAHangingRequest) {
  FarOptions options = QuickOptions();
  options.timeouts.stall = 1000s;
  StartWith({.kind = FaultKind::kHang}, options);
  FarGet get;
  get.uri = Uri();
  get.length = kSize;
  get.deadline = client_->options().now() + 50ms;
  EXPECT_EQ(Get(std::move(get)).status.code(), Code::kTimeout);
  EXPECT_EQ(Head(Uri(), client_->options().now() - 1ms).status().code(), Code::kTimeout);
}

TEST_F(HttpStoreTest, AnAttemptThatTakesTooLongIsTriedAgain) {
  FarOptions options = QuickOptions();
  options.timeouts.stall = 1000s;
  options.timeouts.attempt = 100ms;
  StartWith({.kind = FaultKind::kHang, .times = 1}, options);
  EXPECT_TRUE(GetWhole(Uri(), kSize).status.ok());
}

TEST_F(HttpStoreTest, ShortLengthIsAskedAgainOnceThenChanged) {
  StartWith({.kind = FaultKind::kShortLength, .times = 1});
  EXPECT_TRUE(GetWhole(Uri(), kSize, ETag()).status.ok());
  StartWith({.kind = FaultKind::kShortLength});
  EXPECT_EQ(GetWhole(Uri(), kSize, ETag()).status.code(), Code::kChanged);
  EXPECT_EQ(origin_->Counters().requests, 2u);
}

TEST_F(HttpStoreTest, WrongBytesAreCaughtByTheStoresChecksum) {
  OriginOptions options;
  options.responses.checksums = true;
  options.faults.push_back({.kind = FaultKind::kWrongBytes, .times = 1});
  Start(options);
  const GetOutcome outcome = GetWhole(Uri(), kSize, ETag());
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(outcome.bytes, Bytes());
  EXPECT_EQ(Fired(FaultKind::kWrongBytes), 1u);

  options.faults[0].times = 0;
  Start(options);
  const GetOutcome corrupt = GetWhole(Uri(), kSize, ETag());
  EXPECT_EQ(corrupt.status.code(), Code::kCorrupt);
  EXPECT_NE(corrupt.status.message().find("CRC32C"), std::string::npos);
  EXPECT_EQ(origin_->Counters().requests, 2u);
}

TEST_F(HttpStoreTest, WrongRangesAreNeverData) {
  StartWith({.kind = FaultKind::kWrongRange, .times = 1});
  const GetOutcome outcome = GetRange(Uri(), 10, 100, ETag());
  ASSERT_TRUE(outcome.status.ok());
  EXPECT_EQ(outcome.bytes, Bytes(10, 100));
  StartWith({.kind = FaultKind::kWrongRange});
  EXPECT_EQ(GetRange(Uri(), 10, 100, ETag()).status.code(), Code::kCorrupt);
}

TEST_F(HttpStoreTest, AServerWithoutRangesStillGivesTheRightBytes) {
  StartWith({.kind = FaultKind::kNoRange});
  for (auto [offset, length] :
       {std::pair<uint64_t, uint64_t>{0, 10}, {50'000, 20'000}, {99'990, 10}, {0, kSize}}) {
    const GetOutcome outcome = GetRange(Uri(), offset, length, ETag());
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
    EXPECT_EQ(outcome.bytes, Bytes(offset, length));
  }
  EXPECT_EQ(GetRange(Uri(), 99'990, 11, ETag()).bytes, Bytes(99'990, 10));
  EXPECT_EQ(GetRange(Uri(), kSize, 1, ETag()).status.code(), Code::kChanged);
}

TEST_F(HttpStoreTest, AChangedObjectIsRefusedByTheServer) {
  Start({});
  origin_->SetVersion(kPath, 1);
  EXPECT_EQ(GetWhole(Uri(), kSize, ETag(0)).status.code(), Code::kChanged);
  EXPECT_EQ(GetRange(Uri(), 5, 5, ETag(0)).status.code(), Code::kChanged);
  EXPECT_EQ(client_->Counters().bytes > 0, true);
  const GetOutcome outcome = GetWhole(Uri(), kSize, ETag(1));
  ASSERT_TRUE(outcome.status.ok());
  EXPECT_EQ(outcome.bytes, Bytes(0, kSize, 1));
}

TEST_F(HttpStoreTest, AServerThatIgnoresIfMatchIsCaughtByItsETag) {
  StartWith({.kind = FaultKind::kOtherETag});
  EXPECT_EQ(GetWhole(Uri(), kSize, ETag()).status.code(), Code::kChanged);
  EXPECT_EQ(GetRange(Uri(), 5, 5, ETag()).status.code(), Code::kChanged);
}

TEST_F(HttpStoreTest, AnotherSizeThanPlannedIsChanged) {
  Start({});
  EXPECT_EQ(GetWhole(Uri(), kSize - 1).status.code(), Code::kChanged);
  EXPECT_EQ(GetWhole(Uri(), kSize + 1).status.code(), Code::kChanged);
  EXPECT_EQ(GetRange(Uri(), kSize - 5, 6).bytes, Bytes(kSize - 5, 5));
  EXPECT_EQ(GetRange(Uri(), kSize, 1).status.code(), Code::kChanged);
}

TEST_F(HttpStoreTest, WithoutETagTheDateAndSizeAreTheVersion) {
  StartWith({.kind = FaultKind::kNoETag});
  const auto info = Head(Uri());
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->etag, "lm-519ead80-186a0");
  const GetOutcome outcome = GetWhole(Uri(), kSize, info->etag);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_TRUE(GetRange(Uri(), 7, 7, info->etag).status.ok());
  EXPECT_EQ(GetWhole(Uri(), kSize, "lm-519ead81-186a0").status.code(), Code::kChanged);
  EXPECT_EQ(GetRange(Uri(), 7, 7, "lm-519ead81-186a0").status.code(), Code::kChanged);
}

TEST_F(HttpStoreTest, ChunkedBodiesAreMeasuredByWhatArrives) {
  StartWith({.kind = FaultKind::kChunked});
  const GetOutcome outcome = GetWhole(Uri(), kSize, ETag());
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(outcome.bytes, Bytes());
  EXPECT_EQ(GetWhole(Uri(), kSize - 1).status.code(), Code::kChanged);
  EXPECT_EQ(GetWhole(Uri(), kSize + 1).status.code(), Code::kChanged);
  EXPECT_EQ(Head(Uri()).status().code(), Code::kInvalid);
}

TEST_F(HttpStoreTest, ARefusedConnectionIsUnavailable) {
  Start({});
  const std::string uri = Uri();
  origin_.reset();
  const GetOutcome outcome = GetWhole(uri, kSize);
  EXPECT_EQ(outcome.status.code(), Code::kUnavailable);
  EXPECT_NE(outcome.status.message().find(uri), std::string::npos);
}

TEST_F(HttpStoreTest, BadNamesAndArgumentsAreInvalid) {
  Start({});
  EXPECT_EQ(GetWhole("http://Host/x", 1).status.code(), Code::kInvalid);
  EXPECT_EQ(GetWhole("", 1).status.code(), Code::kInvalid);
  EXPECT_EQ(GetWhole(Uri(), kSize, "a\r\nX-Evil: 1").status.code(), Code::kInvalid);
  EXPECT_EQ(GetWhole(Uri(), kSize, "a\"b").status.code(), Code::kInvalid);
  EXPECT_EQ(GetRange(Uri(), 0, 0).status.code(), Code::kInvalid);
  EXPECT_EQ(GetRange(Uri(), UINT64_MAX, 1).status.code(), Code::kInvalid);
  EXPECT_EQ(List(origin_->url() + "/").status().code(), Code::kInvalid);
  EXPECT_EQ(origin_->Counters().requests, 0u);
  EXPECT_EQ(client_->Counters().errors, 7u);
}

TEST_F(HttpStoreTest, TheLimitOfCallsIsAnError) {
  FarOptions options = QuickOptions();
  options.limits.max_calls = 2;
  StartWith({.kind = FaultKind::kHang}, options);
  std::vector<std::byte> bytes(10);
  for (int i = 0; i < 2; ++i) {
    FarGet get;
    get.uri = Uri("/o/10/a");
    get.length = 10;
    get.into = bytes;
    client_->Get(std::move(get), [](Status, FarInfo, uint64_t) {});
  }
  const GetOutcome outcome = GetWhole(Uri(), kSize);
  EXPECT_EQ(outcome.status.code(), Code::kNoSpace);
  EXPECT_NE(outcome.status.message().find("2"), std::string::npos);
}

TEST_F(HttpStoreTest, NothingIsCalledBackAfterTheClientIsGone) {
  StartWith({.kind = FaultKind::kStall});
  std::vector<std::byte> bytes(kSize);
  bool called = false;
  FarGet get;
  get.uri = Uri();
  get.length = kSize;
  get.into = bytes;
  client_->Get(std::move(get), [&](Status, FarInfo, uint64_t) { called = true; });
  client_->Head("not canonical", Time::Max(), [&](Result<FarInfo>) { called = true; });
  client_.reset();
  EXPECT_EQ(thread_.posted(), 1u);
  size_t left = thread_.posted();
  thread_.RunUntil([&] { return left-- == 0; });
  EXPECT_FALSE(called);
}

TEST_F(HttpStoreTest, RedirectsAreFollowed) {
  OriginOptions options;
  options.answer = [](const origin::Request& request) -> std::optional<origin::CannedResponse> {
    if (request.path == "/moved")
      return origin::CannedResponse{302, {std::string("Location: ") + kPath}, ""};
    if (request.path == "/ring") return origin::CannedResponse{302, {"Location: /ring"}, ""};
    if (request.path == "/file")
      return origin::CannedResponse{302, {"Location: file:///etc/passwd"}, ""};
    return std::nullopt;
  };
  Start(options);
  const GetOutcome outcome = GetWhole(Uri("/moved"), kSize, ETag());
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(outcome.bytes, Bytes());
  EXPECT_EQ(GetWhole(Uri("/ring"), kSize).status.code(), Code::kInvalid);
  EXPECT_EQ(GetWhole(Uri("/file"), kSize).status.code(), Code::kInvalid);
}

TEST_F(HttpStoreTest, QueriesAreSentAsTheyAre) {
  std::promise<std::string> seen;  // set on the origin's thread
  OriginOptions options;
  options.answer = [&](const origin::Request& request) -> std::optional<origin::CannedResponse> {
    seen.set_value(request.path + "?" + request.query);
    return origin::CannedResponse{200, {}, "x"};
  };
  Start(options);
  const auto uri = CanonicalUri(origin_->url() + "/a b/../%2f//c?x=%41&y=a+b&&z", "");
  ASSERT_TRUE(uri.ok());
  EXPECT_TRUE(GetWhole(*uri, 1).status.ok());
  EXPECT_EQ(seen.get_future().get(), "/a%20b/..////c?x=%41&y=a+b&&z");
}

// Completions arrive in bunches, and each but the first of a bunch used to count as idle, so that
// the limit never grew.
TEST_F(HttpStoreTest, ConnectionsGrowWhileThatPays) {
  Start({.delay = 30ms});
  constexpr size_t kObjects = 3000;
  std::vector<std::byte> bytes(100 * kObjects);
  size_t done = 0;
  for (size_t i = 0; i < kObjects; ++i) {
    FarGet get;
    get.uri = Uri("/o/100/" + std::to_string(i));
    get.length = 100;
    get.into = ByteSpan(bytes).subspan(100 * i, 100);
    client_->Get(std::move(get), [&](Status status, FarInfo, uint64_t) {
      EXPECT_TRUE(status.ok());
      ++done;
    });
  }
  thread_.RunUntil([&] { return done == kObjects; });
  EXPECT_GT(origin_->Counters().connections, 32u);
}

// A storm of every fault at once, over many connections: each answer is the right bytes or an
// error.
TEST_F(HttpStoreTest, NeverWrongBytesInAStormOfFaults) {
  OriginOptions options;
  options.responses.checksums = true;
  std::set<FaultKind> kinds;
  for (size_t i = 0; i < origin::kFaultKinds; ++i) {
    kinds.insert(static_cast<FaultKind>(i));
    options.faults.push_back({.kind = static_cast<FaultKind>(i), .probability = 0.02});
  }
  FarOptions far_options = QuickOptions();
  far_options.timeouts.stall = 100ms;
  far_options.timeouts.max_attempts = 8;
  Start(options, far_options);
  constexpr size_t kObjects = 1500;
  std::vector<std::vector<std::byte>> bytes(kObjects);
  size_t done = 0;
  size_t good = 0;
  for (size_t i = 0; i < kObjects; ++i) {
    const std::string path = "/o/3000/" + std::to_string(i);
    FarGet get;
    get.uri = Uri(path);
    get.etag = Content(path, 0).ETag();
    get.whole = i % 2 == 0;
    get.offset = get.whole ? 0 : i;
    get.length = get.whole ? 3000 : 1000;
    bytes[i].resize(get.length);
    get.into = bytes[i];
    const uint64_t offset = get.offset;
    const bool whole = get.whole;
    client_->Get(std::move(get),
                 [&, i, path, offset, whole](Status status, FarInfo, uint64_t hash) {
                   ++done;
                   if (!status.ok()) return;
                   ++good;
                   EXPECT_EQ(hash, Hash64(bytes[i]));
                   // A flipped byte in a range comes without any checksum: nobody can see it (see
                   // the operators' page).
                   std::vector<std::byte> right = Bytes(offset, bytes[i].size(), 0, path);
                   if (whole) {
                     EXPECT_EQ(bytes[i], right) << path;
                   }
                 });
  }
  thread_.RunUntil([&] { return done == kObjects; });
  EXPECT_GT(good, kObjects * 8 / 10);
  for (FaultKind kind : kinds) EXPECT_GT(Fired(kind), 0u) << origin::FaultName(kind);
}

}  // namespace
}  // namespace holdfast::far
