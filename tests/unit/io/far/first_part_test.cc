// SPDX-License-Identifier: Apache-2.0
// Objects of which nothing is known, over HTTP: one GET of the first bytes says what there is, a
// second one brings the rest into its place.
#include <gtest/gtest.h>

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
constexpr uint64_t kFirst = 65'536;

class FirstPartTest : public FarTest {
 protected:
  void Start(OriginOptions options = {}) {
    auto started = Origin::Start(std::move(options));
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    origin_ = std::move(*started);
    Open(QuickOptions());
  }
  void StartWith(FaultRule fault) {
    OriginOptions options;
    options.faults.push_back(std::move(fault));
    Start(std::move(options));
  }
  std::string Uri(const std::string& path = kPath) const { return origin_->url() + path; }
  static std::string ETag(uint64_t version = 0) { return Content(kPath, version).ETag(); }
  static std::vector<std::byte> Bytes(uint64_t offset, uint64_t length, uint64_t version = 0,
                                      const std::string& path = kPath) {
    std::vector<std::byte> bytes(length);
    Content(path, version).Read(offset, bytes);
    return bytes;
  }
  void ExpectFirst(const GetOutcome& first) {
    ASSERT_TRUE(first.status.ok()) << first.status.ToString();
    EXPECT_EQ(first.bytes, Bytes(0, kFirst));
    EXPECT_EQ(first.info.size, kSize);
  }
  void ExpectAll(const GetOutcome& all) {
    ASSERT_TRUE(all.status.ok()) << all.status.ToString();
    EXPECT_EQ(all.bytes, Bytes(0, kSize));
    EXPECT_EQ(all.info.size, kSize);
  }

  std::unique_ptr<Origin> origin_;
};

TEST_F(FirstPartTest, ASmallObjectIsWholeByIt) {
  Start();
  for (uint64_t guess : {kSize, kSize + 1, 10 * kSize}) {
    const GetOutcome outcome = GetRange(Uri(), 0, guess);
    ExpectAll(outcome);
    EXPECT_EQ(outcome.info.etag, ETag());
  }
  EXPECT_EQ(client_->Counters().gets, 3u);
  EXPECT_EQ(client_->Counters().heads, 0u);
  EXPECT_EQ(client_->Counters().bytes, 3 * kSize);
}

TEST_F(FirstPartTest, OfALargerOneTheRestFollowsAndNoByteComesTwice) {
  Start();
  const GetOutcome first = GetRange(Uri(), 0, kFirst);
  ExpectFirst(first);
  EXPECT_EQ(first.info.etag, ETag());
  ExpectAll(GetRest(Uri(), first.bytes, kSize, first.info.etag));
  EXPECT_EQ(client_->Counters().gets, 2u);
  EXPECT_EQ(client_->Counters().heads, 0u);
  EXPECT_EQ(client_->Counters().bytes, kSize);
}

// Every range of an empty object lies beyond its end: HTTP 416, and no version with it.
TEST_F(FirstPartTest, AnEmptyObjectIsAskedForAgainWithoutARange) {
  Start();
  const GetOutcome outcome = GetRange(Uri("/o/0/a"), 0, kFirst);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.ToString();
  EXPECT_EQ(outcome.info.size, 0u);
  EXPECT_EQ(outcome.info.etag, Content("/o/0/a", 0).ETag());
  EXPECT_EQ(client_->Counters().gets, 2u);
  EXPECT_EQ(client_->Counters().heads, 0u);
}

TEST_F(FirstPartTest, AServerWithoutRangesIsReadAsFarAsWanted) {
  StartWith({.kind = FaultKind::kNoRange});
  const GetOutcome first = GetRange(Uri(), 0, kFirst);
  ExpectFirst(first);
  ExpectAll(GetRest(Uri(), first.bytes, kSize, first.info.etag));
  ExpectAll(GetRange(Uri(), 0, kSize));
  ExpectAll(GetRange(Uri(), 0, 2 * kSize));
  const GetOutcome huge = GetRange(Uri("/o/1000000000/b"), 0, kFirst);
  ASSERT_TRUE(huge.status.ok()) << huge.status.ToString();
  EXPECT_EQ(huge.bytes, Bytes(0, kFirst, 0, "/o/1000000000/b"));
  EXPECT_EQ(huge.info.size, 1'000'000'000u);
  EXPECT_LT(client_->Counters().bytes, 10'000'000u);
}

TEST_F(FirstPartTest, AnObjectThatChangesInBetweenIsChanged) {
  Start();
  const GetOutcome first = GetRange(Uri(), 0, kFirst);
  origin_->SetVersion(kPath, 1);
  EXPECT_EQ(GetRest(Uri(), first.bytes, kSize, first.info.etag).status.code(), Code::kChanged);
  StartWith({.kind = FaultKind::kOtherETag});  // which also ignores If-Match
  EXPECT_EQ(GetRest(Uri(), first.bytes, kSize, first.info.etag).status.code(), Code::kChanged);
}

TEST_F(FirstPartTest, ARestOfAnotherSizeIsChanged) {
  Start();
  for (uint64_t size : {kSize - 1, kSize + 1}) {
    EXPECT_EQ(GetRest(Uri(), Bytes(0, kFirst), size, "").status.code(), Code::kChanged);
  }
  EXPECT_EQ(GetRest(Uri(), Bytes(0, kSize), kSize + 5, "").status.code(), Code::kChanged);
  EXPECT_EQ(GetRest(Uri(), Bytes(0, kSize), kSize, ETag()).status.code(), Code::kInvalid);
}

TEST_F(FirstPartTest, WithoutETagTheDateAndSizeAreTheVersion) {
  StartWith({.kind = FaultKind::kNoETag});
  const GetOutcome first = GetRange(Uri(), 0, kFirst);
  ExpectFirst(first);
  EXPECT_EQ(first.info.etag, "lm-519ead80-186a0");
  ExpectAll(GetRest(Uri(), first.bytes, kSize, first.info.etag));
}

TEST_F(FirstPartTest, WhatMayHelpIsTriedAgainAsForEveryGet) {
  for (FaultKind kind :
       {FaultKind::kStatus, FaultKind::kTruncate, FaultKind::kReset, FaultKind::kLongLength,
        FaultKind::kShortLength, FaultKind::kStall, FaultKind::kWrongRange}) {
    StartWith({.kind = kind, .times = 1});
    ExpectFirst(GetRange(Uri(), 0, kFirst));
    EXPECT_EQ(client_->Counters().retries, 1u) << origin::FaultName(kind);
    StartWith({.kind = kind, .times = 1});
    ExpectAll(GetRest(Uri(), Bytes(0, kFirst), kSize, ETag()));
    EXPECT_EQ(client_->Counters().retries, 1u) << origin::FaultName(kind);
  }
  StartWith({.kind = FaultKind::kChunked});
  ExpectFirst(GetRange(Uri(), 0, kFirst));
  ExpectAll(GetRest(Uri(), Bytes(0, kFirst), kSize, ETag()));
}

TEST_F(FirstPartTest, ADeadlineEndsIt) {
  StartWith({.kind = FaultKind::kHang});
  FarGet get;
  get.uri = Uri();
  get.length = kFirst;
  get.whole = false;
  get.deadline = client_->options().now() + 50ms;
  EXPECT_EQ(Get(std::move(get)).status.code(), Code::kTimeout);
}

TEST_F(FirstPartTest, WhatIsWholeIsComparedWithTheStoresChecksum) {
  OriginOptions options;
  options.responses.checksums = true;
  options.faults.push_back({.kind = FaultKind::kWrongBytes});
  Start(options);
  EXPECT_EQ(GetRange(Uri(), 0, 2 * kSize).status.code(), Code::kCorrupt);
  options.faults[0].times = 1;
  Start(options);
  ExpectAll(GetRange(Uri(), 0, 2 * kSize));

  // Without ranges the rest's answer is the whole object, and its checksum that of what was there
  // before, too.
  options.faults[0] = {.kind = FaultKind::kNoRange};
  Start(options);
  ExpectAll(GetRest(Uri(), Bytes(0, kFirst), kSize, ETag()));
  std::vector<std::byte> wrong = Bytes(0, kFirst);
  wrong[7] ^= std::byte{1};
  EXPECT_EQ(GetRest(Uri(), wrong, kSize, ETag()).status.code(), Code::kCorrupt);
}

TEST_F(FirstPartTest, RedirectsAreFollowed) {
  OriginOptions options;
  options.answer = [](const origin::Request& request) -> std::optional<origin::CannedResponse> {
    if (request.path != "/moved") return std::nullopt;
    return origin::CannedResponse{302, {std::string("Location: ") + kPath}, "moved"};
  };
  Start(options);
  const GetOutcome first = GetRange(Uri("/moved"), 0, kFirst);
  ExpectFirst(first);
  ExpectAll(GetRest(Uri("/moved"), first.bytes, kSize, first.info.etag));
}

TEST_F(FirstPartTest, WhatIsNotThereIsNotFound) {
  Start();
  EXPECT_EQ(GetRange(Uri("/none"), 0, kFirst).status.code(), Code::kNotFound);
  EXPECT_EQ(client_->Counters().gets, 1u);
}

// Every fault at once: what ends well has the bytes of the version that it names.
TEST_F(FirstPartTest, NeverWrongBytesInAStormOfFaults) {
  OriginOptions options;
  options.responses.checksums = true;
  for (size_t i = 0; i < origin::kFaultKinds; ++i) {
    options.faults.push_back({.kind = static_cast<FaultKind>(i), .probability = 0.02});
  }
  Start(options);
  constexpr size_t kObjects = 1000;
  std::vector<std::vector<std::byte>> bytes(kObjects, std::vector<std::byte>(4000));
  size_t done = 0, good = 0;
  for (size_t i = 0; i < kObjects; ++i) {
    const std::string path = "/o/3000/" + std::to_string(i);
    FarGet get;
    get.uri = Uri(path);
    get.whole = false;
    get.length = 4000;
    get.into = bytes[i];
    client_->Get(std::move(get), [&, i, path](Status status, FarInfo info, uint64_t) {
      ++done;
      if (!status.ok()) return;
      ++good;
      ASSERT_LE(info.size, 4000u);
      bytes[i].resize(info.size);
      const uint64_t version = info.etag == Content(path, 1).ETag() ? 1 : 0;
      EXPECT_EQ(bytes[i], Bytes(0, info.size, version, path)) << path;
    });
  }
  thread_.RunUntil([&] { return done == kObjects; });
  EXPECT_GT(good, kObjects * 8 / 10);
}

}  // namespace
}  // namespace holdfast::far
