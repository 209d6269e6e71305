// SPDX-License-Identifier: Apache-2.0
#include "planner/manifest.h"

#include <gtest/gtest.h>

#include <map>

#include "base/hash.h"
#include "base/random.h"

namespace holdfast::planner {
namespace {

std::vector<ManifestEntry> RandomEntries(size_t count, uint64_t seed,
                                         uint64_t max_size = 1'000'000) {
  Random random(seed);
  std::vector<ManifestEntry> entries(count);
  for (ManifestEntry& e : entries)
    e = {{random.Next(), random.Next()}, random.Below(max_size), random.Next() | 1};
  return entries;
}

Manifest Built(std::vector<ManifestEntry> entries) {
  Result<Manifest> m = Manifest::Build(std::move(entries));
  EXPECT_TRUE(m.ok()) << m.status().ToString();
  return std::move(*m);
}

struct Columns {
  uint32_t count;
  uint8_t size_width;
  Buffer oids, sizes, versions;
  explicit Columns(const Manifest& m)
      : count(m.size()),
        size_width(m.size_width()),
        oids(Buffer::CopyOf(m.oid_column())),
        sizes(Buffer::CopyOf(m.size_column())),
        versions(Buffer::CopyOf(m.version_column())) {}
  // What a sender of wrong content would name it.
  ManifestDigest TrueDigest() const {
    std::string head(reinterpret_cast<const char*>(&count), 4);
    head += static_cast<char>(size_width);
    head += AsText(oids.view());
    head += AsText(sizes.view());
    head += AsText(versions.view());
    return Hash128(AsBytes(head));
  }
  Result<Manifest> Received(const ManifestDigest& digest) {
    return Manifest::FromColumns(count, size_width, std::move(oids), std::move(sizes),
                                 std::move(versions), digest);
  }
};

TEST(Manifest, HoldsWhatAMapWouldHold) {
  for (size_t count : {1u, 2u, 3u, 15u, 16u, 17u, 100u, 5000u, 200'000u}) {
    std::vector<ManifestEntry> entries = RandomEntries(count, count);
    std::map<Oid, ManifestEntry> model;
    uint64_t total = 0;
    for (const ManifestEntry& e : entries) {
      model[e.oid] = e;
      total += e.size;
    }
    Manifest m = Built(entries);
    ASSERT_EQ(m.size(), model.size());
    EXPECT_EQ(m.total_bytes(), total);
    EXPECT_EQ(m.size_width(), 4);
    EXPECT_EQ(m.memory_bytes(), 28 * count);
    uint32_t i = 0;
    for (const auto& [oid, e] : model) {
      ASSERT_EQ(m.oid(i), oid);
      ASSERT_EQ(m.object_bytes(i), e.size);
      ASSERT_EQ(m.version(i), e.version);
      ASSERT_EQ(m.Find(oid), i);
      ++i;
    }
  }
}

TEST(Manifest, TheSameSetInAnyOrderAndWithRepeatsHasTheSameDigest) {
  std::vector<ManifestEntry> entries = RandomEntries(10'000, 1);
  Manifest first = Built(entries);
  Random(2).Shuffle(entries);
  std::vector<ManifestEntry> doubled = entries;
  doubled.insert(doubled.end(), entries.begin(), entries.begin() + 777);
  EXPECT_EQ(Built(entries).digest(), first.digest());
  EXPECT_EQ(Built(doubled).digest(), first.digest());
  EXPECT_EQ(Built(doubled).size(), first.size());
  EXPECT_EQ(Columns(first).TrueDigest(), first.digest());
  ++entries[5].size;
  EXPECT_NE(Built(entries).digest(), first.digest());
}

TEST(Manifest, SortedInputIsTakenAsItIs) {
  Manifest first = Built(RandomEntries(10'000, 3));
  std::vector<ManifestEntry> sorted;
  for (uint32_t i = 0; i < first.size(); ++i)
    sorted.push_back({first.oid(i), first.object_bytes(i), first.version(i)});
  EXPECT_EQ(Built(sorted).digest(), first.digest());
}

TEST(Manifest, OidsThatAreNotUniformAreSortedAndFoundToo) {
  std::vector<ManifestEntry> entries;
  for (uint64_t i = 0; i < 20'000; ++i) entries.push_back({{i % 3, (i * 7919) % 20'000}, 1, 1});
  entries.push_back({{UINT64_MAX, 0}, 1, 1});
  Manifest m = Built(entries);
  for (const ManifestEntry& e : entries) {
    std::optional<uint32_t> found = m.Find(e.oid);
    ASSERT_TRUE(found);
    ASSERT_EQ(m.oid(*found), e.oid);
  }
  EXPECT_FALSE(m.Find({0, 1}) && m.Find({1, 1}) && m.Find({2, 1}));
  EXPECT_FALSE(m.Find({3, 0}));
}

TEST(Manifest, WhatIsNotThereIsNotFound) {
  std::vector<ManifestEntry> entries = RandomEntries(1000, 4);
  Manifest m = Built(entries);
  for (const ManifestEntry& e : entries) {
    EXPECT_FALSE(m.Find({e.oid.hi, e.oid.lo + 1}));
    EXPECT_FALSE(m.Find({e.oid.hi + 1, e.oid.lo}));
  }
  EXPECT_FALSE(m.Find({0, 0}));
  EXPECT_FALSE(m.Find({UINT64_MAX, UINT64_MAX}));
  EXPECT_FALSE(Manifest().Find({0, 0}));
}

TEST(Manifest, OneLargeObjectWidensTheSizes) {
  std::vector<ManifestEntry> entries = RandomEntries(10, 5);
  entries[3].size = UINT32_MAX;
  EXPECT_EQ(Built(entries).size_width(), 4);
  entries[3].size = uint64_t{UINT32_MAX} + 1;
  Manifest wide = Built(entries);
  EXPECT_EQ(wide.size_width(), 8);
  EXPECT_EQ(wide.memory_bytes(), 320u);
  EXPECT_EQ(wide.object_bytes(*wide.Find(entries[3].oid)), uint64_t{UINT32_MAX} + 1);
  Result<Manifest> received = Columns(wide).Received(wide.digest());
  ASSERT_TRUE(received.ok());
  EXPECT_EQ(received->total_bytes(), wide.total_bytes());
}

TEST(Manifest, ListsThatCannotBePlannedAreInvalid) {
  EXPECT_EQ(Manifest::Build({}).status().code(), Code::kInvalid);
  std::vector<ManifestEntry> entries = RandomEntries(100, 6);
  ManifestEntry changed = entries[50];
  changed.version += 2;
  entries.push_back(changed);
  Status two = Manifest::Build(entries).status();
  EXPECT_EQ(two.code(), Code::kInvalid);
  EXPECT_NE(two.message().find(ToHex(changed.oid)), std::string::npos) << two.message();
  entries.back() = {{1, 1}, 10, 0};
  EXPECT_EQ(Manifest::Build(entries).status().code(), Code::kInvalid);
  entries.back() = {{1, 1}, UINT64_MAX, 7};
  EXPECT_EQ(Manifest::Build(entries).status().code(), Code::kInvalid);
}

TEST(Manifest, ArrivesAsItWasSent) {
  Manifest m = Built(RandomEntries(5000, 7));
  Result<Manifest> received = Columns(m).Received(m.digest());
  ASSERT_TRUE(received.ok()) << received.status().ToString();
  EXPECT_EQ(received->size(), m.size());
  EXPECT_EQ(received->total_bytes(), m.total_bytes());
  EXPECT_EQ(received->digest(), m.digest());
  EXPECT_EQ(received->Find(m.oid(4321)), 4321u);
}

// Each damage is sent with the digest of the damaged content, so that it is not the digest that
// finds it.
TEST(Manifest, CorruptColumnsAreRefused) {
  const Manifest m = Built(RandomEntries(100, 8));
  auto refused = [&](auto damage) {
    Columns c(m);
    damage(c);
    ManifestDigest digest = c.TrueDigest();
    return c.Received(digest).status().code() == Code::kCorrupt;
  };
  EXPECT_FALSE(refused([](Columns&) {}));
  EXPECT_TRUE(refused([](Columns& c) { c.count = 99; }));
  EXPECT_TRUE(refused([](Columns& c) { c.count = 0; }));
  EXPECT_TRUE(refused([](Columns& c) { c.size_width = 8; }));
  EXPECT_TRUE(refused([](Columns& c) { c.size_width = 0; }));
  EXPECT_TRUE(refused([](Columns& c) { c.versions = Buffer(); }));
  EXPECT_TRUE(refused([](Columns& c) { c.sizes = Buffer::CopyOf(c.sizes.view().first(399)); }));
  EXPECT_TRUE(refused([](Columns& c) { StoreAs<uint64_t>(c.versions.data() + 8, 0); }));
  EXPECT_TRUE(refused([](Columns& c) { StoreAs<uint64_t>(c.oids.data() + 160, UINT64_MAX); }));
  EXPECT_TRUE(refused([](Columns& c) { std::memcpy(c.oids.data() + 16, c.oids.data(), 16); }));
  EXPECT_TRUE(refused([&](Columns& c) {
    c.size_width = 8;
    c.sizes = Buffer(800);
    std::memset(c.sizes.data(), 0xff, 800);
  }));
  ManifestDigest other = m.digest();
  other.lo ^= 1;
  EXPECT_EQ(Columns(m).Received(other).status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace holdfast::planner
