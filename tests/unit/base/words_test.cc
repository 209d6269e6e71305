// SPDX-License-Identifier: Apache-2.0
// Units, bitmaps, buffers, hashes, ids, status and random numbers.
#include <gtest/gtest.h>

#include <set>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/random.h"
#include "base/rate_model.h"
#include "base/status.h"
#include "base/units.h"

namespace holdfast {
namespace {

TEST(Units, Formats) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(734), "734 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(3 * kGiB / 2), "1.50 GiB");
  EXPECT_EQ(FormatDuration(7us), "7 us");
  EXPECT_EQ(FormatDuration(340ms), "340.0 ms");
  EXPECT_EQ(FormatDuration(2500ms), "2.50 s");
  EXPECT_EQ(FormatDuration(90s), "1 min 30 s");
  EXPECT_EQ(FormatDuration(250min), "4 h 10 min");
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1'234'567), "1,234,567");
  EXPECT_EQ(FormatMoney(12'300), "$0.0123");
  EXPECT_EQ(FormatMoney(2'500'000), "$2.50");
  EXPECT_EQ(FormatMoney(-12'300), "-$0.0123");
  EXPECT_EQ(FormatMoney(-3'000'000), "-$3.00");
  EXPECT_EQ(FormatMoney(-20), "$0.0000");
}

TEST(Units, ParsesBytes) {
  EXPECT_EQ(*ParseBytes("4096"), 4096u);
  EXPECT_EQ(*ParseBytes("64MiB"), 64 * kMiB);
  EXPECT_EQ(*ParseBytes("1.5GiB"), 3 * kGiB / 2);
  EXPECT_EQ(*ParseBytes("10GB"), 10'000'000'000u);
  for (const char* bad : {"", "GB", "-1", "1 XB", "1e99", "nan", "inf", "10gb"}) {
    const auto bytes = ParseBytes(bad);
    EXPECT_FALSE(bytes.ok()) << bad;
  }
}

TEST(Units, ParsesDurations) {
  EXPECT_EQ(*ParseDuration("250ms"), 250ms);
  EXPECT_EQ(*ParseDuration("30s"), 30s);
  EXPECT_EQ(*ParseDuration("5min"), 5min);
  EXPECT_EQ(*ParseDuration("4h"), 4h);
  EXPECT_EQ(*ParseDuration("2d"), 48h);
  for (const char* bad : {"", "5", "5m", "-1s", "1e30d", "s"})
    EXPECT_FALSE(ParseDuration(bad).ok()) << bad;
}

TEST(Units, TimesAddUp) {
  EXPECT_EQ(Time{5} + 3us, Time{8});
  EXPECT_EQ(Time{5} - 3us, Time{2});
  EXPECT_EQ(Time{5} - Time{3}, 2us);
  EXPECT_LT(Time{5}, Time::Max());
}

TEST(RateModelTest, FinishGrowsWithObjectsAndBytes) {
  const RateModel model{.start = 10ms, .ns_per_object = 2'000, .ns_per_mib = 1'000'000};
  EXPECT_EQ(model.Finish(0, 0), 10ms);
  EXPECT_EQ(model.Finish(1000, 0), 12ms);
  EXPECT_EQ(model.Finish(0, 3 * kMiB), 13ms);
}

TEST(StatusTest, SaysWhatAndWhere) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().ToString(), "ok");
  const Status status = Status::NotFound("s3://b/k");
  EXPECT_EQ(status.ToString(), "not found: s3://b/k");
  EXPECT_EQ(status.Annotate("load").ToString(), "not found: load: s3://b/k");
  EXPECT_TRUE(Status().Annotate("load").ok());
  EXPECT_EQ(CodeName(Code::kTimeout), "timeout");
}

TEST(StatusTest, ResultsHoldAValueOrAStatus) {
  const Result<int> value(7);
  EXPECT_TRUE(value.ok());
  EXPECT_EQ(*value, 7);
  EXPECT_TRUE(value.status().ok());
  const Result<int> error(Status::Invalid("x"));
  EXPECT_FALSE(error.ok());
  EXPECT_EQ(error.status().code(), Code::kInvalid);
}

TEST(BitmapTest, AgreesWithASetOfNumbers) {
  Random random(3);
  for (size_t bits : {0u, 1u, 63u, 64u, 65u, 1000u}) {
    Bitmap bitmap(bits);
    std::set<size_t> model;
    for (size_t i = 0; i < 2 * bits; ++i) {
      const size_t at = random.Below(bits);
      if (random.Chance(0.6)) {
        bitmap.Set(at);
        model.insert(at);
      } else {
        bitmap.Clear(at);
        model.erase(at);
      }
    }
    EXPECT_EQ(bitmap.Count(), model.size());
    EXPECT_EQ(bitmap.None(), model.empty());
    std::vector<size_t> visited;
    bitmap.ForEach([&](size_t i) { visited.push_back(i); });
    EXPECT_EQ(visited, std::vector<size_t>(model.begin(), model.end()));
    for (size_t i = 0; i < bits; ++i) EXPECT_EQ(bitmap.Get(i), model.contains(i));
    EXPECT_EQ(Bitmap::FromBytes(bitmap.bytes(), bits), bitmap);
  }
}

TEST(BitmapTest, BitsBeyondTheEndDoNotExist) {
  EXPECT_EQ(Bitmap(70, true).Count(), 70u);
  const std::vector<std::byte> ones(64, std::byte{0xff});
  EXPECT_EQ(Bitmap::FromBytes(ones, 70).Count(), 70u);
  EXPECT_EQ(Bitmap::FromBytes(std::span(ones).first(1), 70).Count(), 8u);
  EXPECT_EQ(Bitmap::FromBytes({}, 70).Count(), 0u);
}

TEST(BitmapTest, SlicesAndOrs) {
  Bitmap bitmap(200);
  for (size_t i : {0u, 64u, 100u, 127u, 128u, 199u}) bitmap.Set(i);
  const Bitmap slice = bitmap.Slice(64, 50);
  EXPECT_EQ(slice.size(), 50u);
  EXPECT_EQ(slice.Count(), 2u);
  EXPECT_TRUE(slice.Get(0));
  EXPECT_TRUE(slice.Get(36));
  Bitmap other(200);
  other.Set(66);
  other.OrAt(64, slice);
  EXPECT_EQ(other.Count(), 3u);
  EXPECT_TRUE(other.Get(64) && other.Get(66) && other.Get(100));
}

TEST(BufferTest, MovesAndReleasesOnce) {
  int released = 0;
  std::byte bytes[4] = {};
  {
    Buffer a = Buffer::Adopt(
        bytes, 4, [](void* count) { ++*static_cast<int*>(count); }, &released);
    Buffer b = std::move(a);
    EXPECT_TRUE(a.empty());  // NOLINT: moved from by intent
    EXPECT_EQ(b.size(), 4u);
    b = Buffer(8);
    EXPECT_EQ(released, 1);
  }
  EXPECT_EQ(released, 1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(Buffer(100).data()) % 64, 0u);
  EXPECT_EQ(AsText(Buffer::CopyOf(AsBytes("abc")).view()), "abc");
}

TEST(BufferTest, ColumnsAtAnyAlignment) {
  std::vector<std::byte> bytes(1 + 3 * 8 + 5);
  for (uint64_t i = 0; i < 3; ++i) StoreAs(bytes.data() + 1 + 8 * i, i * 1'000'000'007);
  const ColumnView<uint64_t> column(ByteView(bytes).subspan(1));
  ASSERT_EQ(column.size(), 3u);
  EXPECT_EQ(column[2], 2'000'000'014u);
}

// XXH3's own vectors (xxHash, the test suite's empty input) and the forms that docs/formats.md
// gives.
TEST(HashTest, Vectors) {
  EXPECT_EQ(Hash64({}), 0x2d06800538d394c2u);
  EXPECT_EQ(ToHex(Hash128(ByteView{})), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(Hash128({AsBytes("ab"), AsBytes("c")}), Hash128(AsBytes("abc")));
  EXPECT_EQ(Mix64(0), 0u);
  EXPECT_NE(HashVersion("e", 1), HashVersion("e", 2));
  EXPECT_NE(HashVersion("e", 1), HashVersion("f", 1));
  std::string text(8, '\0');
  text[0] = 5;
  EXPECT_EQ(HashVersion("etag", 5), Hash64(AsBytes(text + "etag")));
}

TEST(HashTest, PartsAddUpToTheWhole) {
  Random random(11);
  std::vector<std::byte> bytes(5000);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.Next());
  for (size_t size : {0u, 1u, 16u, 240u, 241u, 1024u, 5000u}) {
    Hasher64 hasher;
    for (size_t at = 0; at < size;) {
      const size_t n = std::min<size_t>(size - at, 1 + random.Below(300));
      hasher.Update(ByteView(bytes).subspan(at, n));
      at += n;
    }
    EXPECT_EQ(hasher.Digest(), Hash64(ByteView(bytes).first(size)));
  }
}

TEST(IdsTest, HexBothWays) {
  const Oid oid{0x0123456789abcdef, 0xfedcba9876543210};
  EXPECT_EQ(ToHex(oid), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(OidFromHex(ToHex(oid)), oid);
  for (const char* bad :
       {"", "0123", "g123456789abcdeffedcba9876543210", "0123456789abcdeffedcba98765432100",
        "-123456789abcdeffedcba9876543210"}) {
    EXPECT_FALSE(OidFromHex(bad).has_value()) << bad;
  }
  EXPECT_LT((Oid{1, 9}), (Oid{2, 0}));
}

TEST(RandomTest, SameSeedSameNumbers) {
  Random a(42);
  Random b(42);
  Random c(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t x = a.Next();
    EXPECT_EQ(x, b.Next());
    differs |= x != c.Next();
  }
  EXPECT_TRUE(differs);
}

TEST(RandomTest, DistributionsHaveTheirMeans) {
  Random random(5);
  double below = 0;
  double unit = 0;
  double exponential = 0;
  constexpr int kDraws = 200'000;
  for (int i = 0; i < kDraws; ++i) {
    const uint64_t n = random.Below(10);
    ASSERT_LT(n, 10u);
    below += static_cast<double>(n);
    const double u = random.Unit();
    ASSERT_TRUE(u >= 0 && u < 1);
    unit += u;
    exponential += random.Exponential(3);
  }
  EXPECT_NEAR(below / kDraws, 4.5, 0.05);
  EXPECT_NEAR(unit / kDraws, 0.5, 0.01);
  EXPECT_NEAR(exponential / kDraws, 3, 0.05);
}

TEST(RandomTest, ShufflesEverything) {
  Random random(9);
  std::vector<int> items(100);
  for (int i = 0; i < 100; ++i) items[static_cast<size_t>(i)] = i;
  std::vector<int> shuffled = items;
  random.Shuffle(shuffled);
  EXPECT_NE(shuffled, items);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, items);
}

}  // namespace
}  // namespace holdfast
