// SPDX-License-Identifier: Apache-2.0
// One range of which each part has a place of its own, and objects that are written.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "base/uri.h"
#include "io/far/piece_sink.h"
#include "tests/origin/origin.h"
#include "tests/unit/io/far/far_fixture.h"

namespace holdfast::far {
namespace {

namespace fs = std::filesystem;
using origin::Content;
using origin::FaultKind;
using origin::Origin;

constexpr uint64_t kSize = 100'000;
constexpr char kPath[] = "/o/100000/a";

// Of [1000, 91000): an empty one, neighbours, a gap, one at the end.
struct Parts {
  std::vector<std::vector<std::byte>> bytes{{}, std::vector<std::byte>(10), {}, {}, {}};
  std::vector<FarPiece> pieces;
  Parts() {
    const std::vector<std::pair<uint64_t, uint64_t>> places{
        {1'000, 0}, {1'000, 500}, {1'500, 3}, {40'000, 30'000}, {90'999, 1}};
    for (size_t i = 0; i < places.size(); ++i) {
      bytes[i].assign(places[i].second, std::byte{0});
      pieces.push_back({.offset = places[i].first, .into = bytes[i]});
    }
  }
  FarGet Get(const std::string& uri) {
    FarGet get;
    get.uri = uri;
    get.whole = false;
    get.offset = 1'000;
    get.length = 90'000;
    get.pieces = &pieces;
    return get;
  }
  void ExpectAll(const std::vector<std::byte>& object) {
    for (size_t i = 0; i < pieces.size(); ++i) {
      ASSERT_TRUE(pieces[i].filled) << i;
      const ByteView right = ByteView(object).subspan(pieces[i].offset, bytes[i].size());
      EXPECT_TRUE(std::equal(right.begin(), right.end(), bytes[i].begin())) << i;
      EXPECT_EQ(pieces[i].hash, Hash64(right)) << i;
    }
  }
};

std::vector<std::byte> Object() {
  std::vector<std::byte> bytes(kSize);
  Content(kPath, 0).Read(0, bytes);
  return bytes;
}

TEST(PieceSink, TakesBytesInPartsOfAnySize) {
  const std::vector<std::byte> object = Object();
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    Parts parts;
    PieceSink sink(1'000, &parts.pieces);
    for (size_t at = 1'000; at < 91'000;) {
      const size_t n = std::min<size_t>(random() % (round % 2 == 0 ? 50 : 60'000), 91'000 - at);
      sink.Take(ByteView(object).subspan(at, n));
      at += n;
    }
    parts.ExpectAll(object);
  }
}

TEST(PieceSink, WhatDidNotComeIsNotFilled) {
  const std::vector<std::byte> object = Object();
  Parts parts;
  PieceSink sink(1'000, &parts.pieces);
  sink.Take(ByteView(object).subspan(1'000, 50'000));
  EXPECT_TRUE(parts.pieces[2].filled);
  EXPECT_FALSE(parts.pieces[3].filled);
  PieceSink(1'000, &parts.pieces);
  EXPECT_FALSE(parts.pieces[2].filled) << "another attempt begins with nothing";
}

class PiecesTest : public FarTest {
 protected:
  void Start(origin::OriginOptions options = {}) {
    auto started = Origin::Start(std::move(options));
    ASSERT_TRUE(started.ok()) << started.status().ToString();
    origin_ = std::move(*started);
    Open(QuickOptions());
  }
  Status Read(FarGet get) {
    std::optional<Status> status;
    client_->Get(std::move(get), [&](Status s, FarInfo, uint64_t) { status = std::move(s); });
    thread_.RunUntil([&] { return status.has_value(); });
    return *status;
  }
  Result<FarInfo> Put(const std::string& uri, std::string_view bytes) {
    std::optional<Result<FarInfo>> info;
    client_->Put({uri, AsBytes(bytes)}, [&](Result<FarInfo> i) { info.emplace(std::move(i)); });
    thread_.RunUntil([&] { return info.has_value(); });
    return *info;
  }

  std::unique_ptr<Origin> origin_;
};

TEST_F(PiecesTest, OneRequestFillsThemAll) {
  Start();
  Parts parts;
  const Status status = Read(parts.Get(origin_->url() + kPath));
  ASSERT_TRUE(status.ok()) << status.ToString();
  parts.ExpectAll(Object());
  EXPECT_EQ(origin_->Counters().requests, 1u);
}

TEST_F(PiecesTest, EveryFaultEndsInTheRightBytesOrAnError) {
  for (FaultKind kind : {FaultKind::kTruncate, FaultKind::kReset, FaultKind::kWrongRange,
                         FaultKind::kStall, FaultKind::kNoRange, FaultKind::kChunked}) {
    origin::OriginOptions options;
    options.faults.push_back({.kind = kind, .times = 1});
    Start(std::move(options));
    Parts parts;
    const Status status = Read(parts.Get(origin_->url() + kPath));
    ASSERT_TRUE(status.ok()) << origin::FaultName(kind) << status.ToString();
    parts.ExpectAll(Object());
  }
}

class PutTest : public PiecesTest {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "holdfast-put-XXXXXX").string();
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    root_ = fs::canonical(path).string();
    Open(QuickOptions());
  }
  void TearDown() override {
    client_.reset();
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  std::string Uri(const std::string& name) const { return *CanonicalUri(root_ + "/" + name, ""); }
  std::string root_;
};

TEST_F(PutTest, WhatIsWrittenToADirectoryIsRead) {
  const std::string text(300'000, 'x');
  const auto info = Put(Uri("new/dir/a b"), text);
  ASSERT_TRUE(info.ok()) << info.status().ToString();
  const GetOutcome got = GetWhole(Uri("new/dir/a b"), text.size(), info->etag);
  ASSERT_TRUE(got.status.ok()) << got.status.ToString();
  EXPECT_EQ(AsText(got.bytes), text);
  ASSERT_TRUE(Put(Uri("new/dir/a b"), "y").ok()) << "in the place of what was there";
  EXPECT_EQ(Head(Uri("new/dir/a b"))->size, 1u);
  EXPECT_EQ(List(Uri("new/"))->entries.size(), 1u) << "nothing is left beside it";
}

TEST_F(PutTest, PiecesOfAFile) {
  const std::vector<std::byte> object = Object();
  ASSERT_TRUE(Put(Uri("f"), AsText(object)).ok());
  Parts parts;
  ASSERT_TRUE(Read(parts.Get(Uri("f"))).ok());
  parts.ExpectAll(object);
  ASSERT_TRUE(Put(Uri("f"), AsText(ByteView(object).first(50'000))).ok());
  Parts cut;
  ASSERT_TRUE(Read(cut.Get(Uri("f"))).ok());
  EXPECT_TRUE(cut.pieces[2].filled);
  EXPECT_FALSE(cut.pieces[3].filled);
}

TEST_F(PutTest, WhereNothingCanBeWrittenSaysWhatAndWhy) {
  ASSERT_TRUE(Put(Uri("f"), "x").ok());
  const auto below_file = Put(Uri("f/g"), "x");
  EXPECT_EQ(below_file.status().code(), Code::kInvalid) << below_file.status().ToString();
  const auto kernel = Put("file:///proc/holdfast/x", "x");
  EXPECT_FALSE(kernel.ok());
  EXPECT_NE(kernel.status().message().find("/proc/holdfast"), std::string::npos);
  EXPECT_EQ(Put("http://127.0.0.1:1/x", "x").status().code(), Code::kInvalid);
}

TEST_F(PutTest, AFullDiskIsNoSpaceAndNothingIsLeft) {
  ASSERT_TRUE(fs::exists("/dev/full"));
  fs::create_symlink("/dev/full", root_ + "/f.part");
  const auto full = Put(Uri("f"), std::string(10'000, 'x'));
  EXPECT_EQ(full.status().code(), Code::kNoSpace) << full.status().ToString();
  EXPECT_FALSE(fs::exists(root_ + "/f"));
}

}  // namespace
}  // namespace holdfast::far
