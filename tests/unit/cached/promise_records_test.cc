// SPDX-License-Identifier: Apache-2.0
#include "cached/promise_records.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "cached/promise_replay.h"

namespace holdfast::cached {
namespace {

constexpr entry::Owner kOwner{3, 7, 99};

entry::Objects SomeObjects() {
  entry::Objects objects{{1, 2}, 200'000, {65'536, 65'600, 131'071}, {}};
  for (uint64_t i = 0; i < 3; ++i) objects.described.push_back({{i, i + 7}, 100 * i, 5 + i});
  return objects;
}

entry::Names SomeNames() {
  return {{1, 2}, {{65'600, 12, "file:///a", "etag"}, {65'601, 0, "", ""}}};
}

entry::Promise SomePromise() {
  entry::Promise promise;
  promise.job = 17;
  promise.tenancy = 18;
  promise.lease = 15s;
  promise.call = 4;
  promise.digest = {1, 2};
  promise.count = 200'000;
  promise.priority = 2;
  promise.name_allowance = 300;
  promise.left = 60s;
  promise.boot = 77;
  promise.since_boot = 5s;
  promise.indices = {65'536, 65'600};
  return promise;
}

std::vector<std::byte> RecordOf(const std::vector<Entry>& entries) {
  std::vector<std::byte> record;
  for (const Entry& entry : entries) AppendEntry(entry, &record);
  return record;
}

TEST(PromiseRecords, SayWhatWasWritten) {
  const std::vector<std::byte> record = RecordOf({kOwner, SomeObjects(), SomeNames(), SomePromise(),
                                                  entry::Lease{17, 18, 4s}, entry::End{17, 18}});
  std::vector<Entry> read;
  ASSERT_TRUE(VisitEntries(record, [&](Entry&& entry) { read.push_back(std::move(entry)); }).ok());
  ASSERT_EQ(read.size(), 6u);
  EXPECT_EQ(std::get<entry::Owner>(read[0]).life, 7u);
  EXPECT_EQ(std::get<entry::Owner>(read[0]).cluster_hash, 99u);
  const auto& objects = std::get<entry::Objects>(read[1]);
  EXPECT_EQ(objects.count, 200'000u);
  EXPECT_EQ(objects.indices, SomeObjects().indices);
  EXPECT_EQ(objects.described[2].oid, (Oid{2, 9}));
  EXPECT_EQ(objects.described[2].size, 200u);
  EXPECT_EQ(objects.described[2].version, 7u);
  const auto& names = std::get<entry::Names>(read[2]).names;
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(names[0].index, 65'600u);
  EXPECT_EQ(names[0].need_by_ms, 12u);
  EXPECT_EQ(names[0].name, "file:///a");
  EXPECT_EQ(names[0].etag, "etag");
  const auto& promise = std::get<entry::Promise>(read[3]);
  EXPECT_EQ(promise.job, 17u);
  EXPECT_EQ(promise.tenancy, 18u);
  EXPECT_EQ(promise.lease, 15s);
  EXPECT_EQ(promise.call, 4u);
  EXPECT_EQ(promise.priority, 2u);
  EXPECT_EQ(promise.name_allowance, 300u);
  EXPECT_EQ(promise.left, 60s);
  EXPECT_EQ(promise.boot, 77u);
  EXPECT_EQ(promise.since_boot, 5s);
  EXPECT_EQ(promise.indices, SomePromise().indices);
  EXPECT_EQ(std::get<entry::Lease>(read[4]).lease, 4s);
  EXPECT_EQ(std::get<entry::End>(read[5]).tenancy, 18u);
}

TEST(PromiseRecords, SizesBeyond32BitsTakeEight) {
  entry::Objects objects = SomeObjects();
  objects.described[1].size = uint64_t{5} << 32;
  const std::vector<std::byte> record = RecordOf({objects});
  EXPECT_GT(record.size(), RecordOf({SomeObjects()}).size());
  uint64_t size = 0;
  ASSERT_TRUE(VisitEntries(record, [&](Entry&& entry) {
                size = std::get<entry::Objects>(entry).described[1].size;
              }).ok());
  EXPECT_EQ(size, uint64_t{5} << 32);
}

// 30 bytes to describe an object, 2 to promise it.
TEST(PromiseRecords, TakeAFewBytesAnObject) {
  entry::Objects objects{{1, 2}, 60'000, {}, {}};
  entry::Promise promise = SomePromise();
  promise.indices.clear();
  for (uint32_t i = 0; i < 4'000; ++i) {
    objects.indices.push_back(15 * i);
    objects.described.push_back({{i, i}, 1'000, i + 1u});
    promise.indices.push_back(15 * i);
  }
  EXPECT_LE(RecordOf({objects}).size(), 4'000u * 30 + 64);
  EXPECT_LE(RecordOf({promise}).size(), 4'000u * 2 + 104);
}

TEST(PromiseRecords, WhatIsDamagedIsRefused) {
  const std::vector<std::byte> whole =
      RecordOf({kOwner, SomeObjects(), SomeNames(), SomePromise(), entry::End{17, 18}});
  for (size_t size = 1; size < whole.size(); ++size) {
    size_t entries = 0;
    const Status cut = VisitEntries(ByteView(whole).first(size), [&](Entry&&) { ++entries; });
    EXPECT_LE(entries, 5u);
    EXPECT_TRUE(!cut.ok() || entries < 5u);  // or between two entries
  }
  Random random(1);
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> bytes = whole;
    for (uint64_t n = random.Below(4); n < 4; ++n)
      bytes[random.Below(bytes.size())] = static_cast<std::byte>(random.Next());
    PromiseReplay replay;
    (void)replay.Add(bytes, kOwner);
    replay.Finish();
    for (const auto& [id, job] : replay.jobs()) {
      for (const auto& [call, promise] : job.calls) {
        ASSERT_TRUE(replay.lists().contains(promise.digest));
        for (uint32_t index : promise.indices) ASSERT_LT(index, promise.count);
      }
    }
  }
  std::vector<std::byte> newer = whole;
  newer[1] = std::byte{2};
  EXPECT_EQ(VisitEntries(newer, [](Entry&&) {}).code(), Code::kInvalid);
}

TEST(PromiseReplay, PutsTheLifeOfAPromiseTogether) {
  PromiseReplay replay;
  ASSERT_TRUE(
      replay.Add(RecordOf({kOwner, SomeObjects(), SomeNames(), SomePromise()}), kOwner).ok());
  entry::Promise more = SomePromise();
  more.indices = {65'600, 131'071};
  more.left = 50s;
  ASSERT_TRUE(
      replay.Add(RecordOf({more, entry::Lease{17, 18, 4s}, entry::Lease{17, 1, 9s}}), kOwner).ok());
  replay.Finish();
  ASSERT_EQ(replay.jobs().size(), 1u);
  EXPECT_EQ(replay.jobs().at(17).lease, 4s);
  const entry::Promise& promise = replay.jobs().at(17).calls.at(4);
  EXPECT_EQ(promise.indices, (std::vector<uint32_t>{65'536, 65'600, 131'071}));
  EXPECT_EQ(promise.left, 50s);
  const PromiseReplay::List& list = replay.lists().at({1, 2});
  ASSERT_EQ(list.names.size(), 2u);
  EXPECT_EQ(list.NameOf(list.names[0]), "file:///a");
  EXPECT_EQ(list.EtagOf(list.names[0]), "etag");
}

TEST(PromiseReplay, EndsAndNewTenanciesForget) {
  PromiseReplay ended;
  ASSERT_TRUE(ended.Add(RecordOf({SomeObjects(), SomePromise(), entry::End{17, 1}}), kOwner).ok());
  EXPECT_EQ(ended.jobs().size(), 1u);  // another tenancy's end
  ASSERT_TRUE(ended.Add(RecordOf({entry::End{17, 18}}), kOwner).ok());
  EXPECT_TRUE(ended.jobs().empty());
  PromiseReplay anew;
  entry::Promise later = SomePromise();
  later.tenancy = 19;
  later.call = 5;
  ASSERT_TRUE(anew.Add(RecordOf({SomeObjects(), SomePromise(), later}), kOwner).ok());
  anew.Finish();
  EXPECT_EQ(anew.jobs().at(17).calls.size(), 1u);
  EXPECT_TRUE(anew.jobs().at(17).calls.contains(5));
}

TEST(PromiseReplay, PromisesOfWhatNobodyDescribedAreNone) {
  PromiseReplay replay;
  entry::Promise promise = SomePromise();
  promise.indices.push_back(65'700);
  ASSERT_TRUE(replay.Add(RecordOf({SomeObjects(), promise}), kOwner).ok());
  replay.Finish();
  EXPECT_TRUE(replay.jobs().empty());
}

TEST(PromiseReplay, AnotherNodesJournalIsRefused) {
  PromiseReplay replay;
  const Status other = replay.Add(RecordOf({entry::Owner{4, 7, 99}}), kOwner);
  EXPECT_EQ(other.code(), Code::kInvalid);
  EXPECT_NE(other.message().find("journal.directory"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cached
