// SPDX-License-Identifier: Apache-2.0
// The log on a disk that does what it is told: contents against a map, limits, and many threads.
#include "io/disk/commit_log.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/unit/io/disk/log_fixture.h"

namespace holdfast::disk {
namespace {

size_t SizeOfNext(Random* random) {
  switch (random->Below(8)) {
    case 0:
      return 0;
    case 1:
      return random->Below(100'000);
    default:
      return random->Below(3'000);
  }
}

TEST(CommitLog, HoldsWhatAMapHolds) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    FaultyDisk disk(kRing);
    auto log = MustOpen(&disk);
    Records model;
    uint64_t refused = 0;
    for (uint64_t step = 0; step < 600; ++step) {
      const std::string text = TextOf(seed << 32 | step, SizeOfNext(&random));
      Result<uint64_t> sequence = log->AppendAndWait(AsBytes(text));
      if (sequence.ok()) {
        model[*sequence] = text;
      } else {
        ASSERT_EQ(sequence.status().code(), Code::kNoSpace);
        ++refused;
        ASSERT_FALSE(model.empty());
        auto before = std::next(model.begin(), static_cast<ptrdiff_t>(random.Below(model.size())));
        ASSERT_TRUE(log->Truncate(before->first).ok());
        model.erase(model.begin(), before);
      }
      if (random.Chance(0.01)) {
        log.reset();
        log = MustOpen(&disk);
        ASSERT_EQ(ReplayAll(log.get()), model) << "seed " << seed << ", step " << step;
      }
      if (model.empty()) continue;
      auto one = std::next(model.begin(), static_cast<ptrdiff_t>(random.Below(model.size())));
      std::string read(one->second.size(), 'x');
      ASSERT_TRUE(log->Read(one->first, std::as_writable_bytes(std::span(read))).ok());
      ASSERT_EQ(read, one->second);
    }
    EXPECT_GT(refused, 0u) << "the ring was never full";
  }
}

TEST(CommitLog, ManyThreadsAppendAndWait) {
  FaultyDisk disk(32 * kMiB);
  auto log = MustOpen(&disk);
  constexpr uint64_t kThreads = 16, kEach = 400;
  std::vector<Records> appended(kThreads);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::vector<uint64_t> in_flight;
      for (uint64_t i = 0; i < kEach; ++i) {
        const std::string text = TextOf(t * kEach + i, 10 + (t * 331 + i * 97) % 4'000);
        Result<uint64_t> sequence = log->Append(AsBytes(text));
        ASSERT_TRUE(sequence.ok()) << sequence.status().ToString();
        appended[t][*sequence] = text;
        in_flight.push_back(*sequence);
        if (t % 2 == 0 || in_flight.size() == 32) {
          for (uint64_t s : in_flight) ASSERT_TRUE(log->Wait(s).ok());
          in_flight.clear();
        }
      }
      for (uint64_t s : in_flight) ASSERT_TRUE(log->Wait(s).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  Records all;
  for (const Records& records : appended) all.insert(records.begin(), records.end());
  EXPECT_EQ(all.size(), kThreads * kEach) << "a sequence number was given twice";
  EXPECT_EQ(ReplayAll(log.get()), all);
  log.reset();
  log = MustOpen(&disk);
  EXPECT_EQ(ReplayAll(log.get()), all);
}

// Room that is given back while others append: a group may lie where the old head's groups are.
TEST(CommitLog, SpaceIsUsedAgainWhileOthersAppend) {
  FaultyDisk disk(kRing);
  auto log = MustOpen(&disk);
  constexpr uint64_t kThreads = 4, kEach = 600;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kEach;) {
        const std::string text = TextOf(t * kEach + i, 3'000);
        Result<uint64_t> sequence = log->AppendAndWait(AsBytes(text));
        if (!sequence.ok()) {
          ASSERT_EQ(sequence.status().code(), Code::kNoSpace);
          ASSERT_TRUE(log->Truncate(log->end()).ok());
          continue;
        }
        ++i;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const uint64_t end = log->end();
  EXPECT_GT(end, 3 * kRing);
  ASSERT_TRUE(log->Truncate(end).ok());
  const uint64_t last = MustAppend(log.get(), "last");
  log.reset();
  log = MustOpen(&disk);
  EXPECT_EQ(ReplayAll(log.get()), (Records{{last, "last"}}));
}

TEST(CommitLog, AFullRingRefusesAndLosesNothing) {
  FaultyDisk disk(kRing);
  auto log = MustOpen(&disk);
  Records model;
  const std::string text = TextOf(1, 200'000);
  Result<uint64_t> sequence = log->AppendAndWait(AsBytes(text));
  for (; sequence.ok(); sequence = log->AppendAndWait(AsBytes(text))) model[*sequence] = text;
  EXPECT_EQ(sequence.status().code(), Code::kNoSpace);
  EXPECT_NE(sequence.status().message().find("/faulty/journal is full"), std::string::npos);
  EXPECT_GE(model.size() * text.size(), kRing * 8 / 10);
  // One that fits is still taken.
  model[MustAppend(log.get(), "small")] = "small";
  EXPECT_EQ(ReplayAll(log.get()), model);
  ASSERT_TRUE(log->Truncate(std::next(model.begin())->first).ok());
  model.erase(model.begin());
  model[MustAppend(log.get(), text)] = text;
  EXPECT_EQ(ReplayAll(log.get()), model);
}

// While the disk is held the records gather in one group, whose space cannot be given back in part.
TEST(CommitLog, WhatIsNotWantedIsNotReplayedAndNotRead) {
  FaultyDisk disk(kRing);
  auto log = MustOpen(&disk);
  disk.Hold(true);
  uint64_t last = 0, before_last = 0;
  for (int i = 0; i < 50; ++i) {
    before_last = last;
    last = *log->Append(AsBytes("record"));
  }
  disk.Hold(false);
  ASSERT_TRUE(log->Wait(last).ok());
  ASSERT_TRUE(log->Truncate(last).ok());
  EXPECT_EQ(ReplayAll(log.get()), (Records{{last, "record"}}));
  std::byte read[6];
  EXPECT_TRUE(log->Read(last, read).ok());
  EXPECT_EQ(log->Read(before_last, read).code(), Code::kNotFound);
  log.reset();
  log = MustOpen(&disk);
  EXPECT_EQ(ReplayAll(log.get()), (Records{{last, "record"}}));
  EXPECT_EQ(log->Truncate(log->end() + 1).code(), Code::kInvalid);
}

TEST(CommitLog, ALongRecordIsRefusedByItsLength) {
  for (uint64_t ring : {4 * kMaxGroupBytes, kMinRingBytes}) {
    FaultyDisk disk(ring);
    auto log = MustOpen(&disk);
    const uint64_t most = std::min(kMaxGroupBytes, ring) - kGroupHeaderBytes - kRecordHeaderBytes;
    const std::string longest(most, 'l');
    const uint64_t sequence = MustAppend(log.get(), longest);
    EXPECT_EQ(ReplayAll(log.get())[sequence], longest);
    Status refused = log->Append(AsBytes(longest + "x")).status();
    EXPECT_EQ(refused.code(), Code::kInvalid);
    EXPECT_NE(refused.message().find(std::to_string(most)), std::string::npos);
  }
}

TEST(CommitLog, CallbacksComeInOrderAndHaveALimit) {
  FaultyDisk disk(16 * kMiB);
  auto log = MustOpen(&disk);
  disk.Hold(true);
  std::vector<uint64_t> acknowledged;  // the writer's thread
  const std::string text(10'000, 't');
  uint64_t taken = 0;
  Status status;
  while (true) {
    status = log->AppendThen(AsBytes(text), [&](Status s, uint64_t sequence) {
      EXPECT_TRUE(s.ok());
      acknowledged.push_back(sequence);
    });
    if (!status.ok()) break;
    ++taken;
  }
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find("in flight"), std::string::npos);
  EXPECT_LE(taken * text.size(), 2 * kMaxGroupBytes);
  EXPECT_TRUE(acknowledged.empty());
  disk.Hold(false);
  log.reset();
  EXPECT_EQ(acknowledged.size(), taken);
  EXPECT_TRUE(std::is_sorted(acknowledged.begin(), acknowledged.end()));
  EXPECT_EQ(ReplayAll(MustOpen(&disk).get()).size(), taken);
}

}  // namespace
}  // namespace holdfast::disk
