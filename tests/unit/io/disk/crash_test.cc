// SPDX-License-Identifier: Apache-2.0
// The log on a disk that fails, dies at any operation, and loses or tears what was not synced.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/unit/io/disk/log_fixture.h"

namespace holdfast::disk {
namespace {

struct Life {
  Records appended;               // with what the disk never saw
  std::vector<uint64_t> durable;  // acknowledged
  uint64_t given_back = 0;        // lower sequence numbers are not wanted any more
};

// Appends from three threads until the disk dies.
Life AppendUntilDeath(CommitLog* log, uint64_t seed) {
  constexpr uint64_t kThreads = 3;
  std::vector<Life> lives(kThreads);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Random random(seed * kThreads + t);
      for (uint64_t i = 0;; ++i) {
        // Of equal sizes often, so that the records of two attempts lie at equal places.
        const size_t bytes = random.Chance(0.7) ? 1'000 : random.Below(20'000);
        const std::string text = TextOf((seed * kThreads + t) << 24 | i, bytes);
        Result<uint64_t> sequence = log->Append(AsBytes(text));
        if (!sequence.ok() && sequence.status().code() == Code::kNoSpace) {
          const uint64_t before = log->end();
          if (!log->Truncate(before).ok()) return;
          lives[t].given_back = before;
          continue;
        }
        if (!sequence.ok()) return;
        lives[t].appended[*sequence] = text;
        if (random.Chance(0.5)) continue;
        if (!log->Wait(*sequence).ok()) return;
        lives[t].durable.push_back(*sequence);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Life all;
  for (Life& life : lives) {
    all.appended.merge(life.appended);
    all.given_back = std::max(all.given_back, life.given_back);
    all.durable.insert(all.durable.end(), life.durable.begin(), life.durable.end());
  }
  return all;
}

// What is replayed is a beginning of what was appended, and holds all that was acknowledged.
void Check(const Life& life, const Records& replayed, uint64_t seed) {
  const uint64_t first = replayed.empty() ? UINT64_MAX : replayed.begin()->first;
  const uint64_t last = replayed.empty() ? 0 : replayed.rbegin()->first;
  for (uint64_t sequence : life.durable) {
    ASSERT_TRUE(sequence < life.given_back || replayed.contains(sequence))
        << "seed " << seed << ": acknowledged record " << sequence << " is lost";
  }
  auto from = life.appended.lower_bound(first);
  auto to = life.appended.upper_bound(last);
  ASSERT_TRUE(replayed.empty() || Records(from, to) == replayed) << "seed " << seed;
}

TEST(CommitLogCrash, APrefixWithAllThatWasAcknowledgedSurvives) {
  uint64_t lost = 0, survived = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    FaultyDisk disk(kRing);
    Records before;
    for (uint64_t round = 0; round < 6; ++round) {
      auto log = MustOpen(&disk);
      ASSERT_NE(log, nullptr) << "seed " << seed;
      disk.DieAfter(1 + random.Below(60));
      Life life = AppendUntilDeath(log.get(), seed * 100 + round);
      log.reset();
      if (random.Chance(0.3)) {
        disk.KillProcess();
      } else {
        disk.LosePower(&random, random.Unit());
      }
      // Whatever was there at the last start was made durable by it.
      for (const auto& [sequence, text] : before) life.durable.push_back(sequence);
      life.appended.merge(before);
      log = MustOpen(&disk);
      ASSERT_NE(log, nullptr) << "seed " << seed;
      before = ReplayAll(log.get());
      Check(life, before, seed);
      if (testing::Test::HasFatalFailure()) return;
      survived += before.size();
      lost += !before.empty() && before.rbegin()->first < life.appended.rbegin()->first;
    }
  }
  EXPECT_GT(lost, 50u) << "hardly any crash lost anything";
  EXPECT_GT(survived, 1'000u);
}

// A group that was read at the start but never synced must not be lost when the next one is kept.
TEST(CommitLogCrash, WhatWasReplayedIsDurable) {
  FaultyDisk disk(kRing);
  auto log = MustOpen(&disk);
  disk.DieAfter(2);  // the write goes through, the sync does not
  EXPECT_FALSE(log->AppendAndWait(AsBytes("one")).ok());
  log.reset();
  disk.KillProcess();
  log = MustOpen(&disk);
  EXPECT_EQ(ReplayAll(log.get()).size(), 1u);
  Random random(1);
  log.reset();
  disk.LosePower(&random, 0);
  EXPECT_EQ(ReplayAll(MustOpen(&disk).get()).size(), 1u);
}

constexpr uint64_t kAttemptRecords = 100;

// Spans of 1 KiB, so that the records of every attempt lie at the same places in a block.
std::string TextOfAttempt(uint64_t attempt, uint64_t i) {
  return TextOf(attempt * 1000 + i, 1024 - kRecordHeaderBytes);
}

// A group of one record, then one of many that is written but not synced when the power fails.
void Attempt(FaultyDisk* disk, uint64_t attempt, Random* random, double kept) {
  auto log = MustOpen(disk);
  disk->Hold(true);
  for (uint64_t i = 0; i < kAttemptRecords; ++i) {
    ASSERT_TRUE(log->Append(AsBytes(TextOfAttempt(attempt, i))).ok());
  }
  disk->DieAfter(4);
  disk->Hold(false);
  log.reset();
  disk->LosePower(random, kept);
}

// The later attempt is torn, and where it is missing the records of the earlier one lie, whole, at
// the very places where its own would be.
TEST(CommitLogCrash, ATornGroupIsNotMendedWithAnEarlierAttempt) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    FaultyDisk disk(kRing);
    Attempt(&disk, 1, &random, 0.95);
    Attempt(&disk, 2, &random, 0.95);
    uint64_t attempt = 1, next = 0;
    for (const auto& [sequence, text] : ReplayAll(MustOpen(&disk).get())) {
      if (text != TextOfAttempt(attempt, next)) {
        attempt = 2;
        next = 0;
      }
      ASSERT_EQ(text, TextOfAttempt(attempt, next)) << "seed " << seed << ", record " << sequence;
      ++next;
    }
  }
}

Records FillRing(CommitLog* log, const std::string& text) {
  Records records;
  Result<uint64_t> sequence = log->AppendAndWait(AsBytes(text));
  for (; sequence.ok(); sequence = log->AppendAndWait(AsBytes(text))) records[*sequence] = text;
  EXPECT_EQ(sequence.status().code(), Code::kNoSpace);
  return records;
}

// The head that gives space back must be durable before a group is written there, and a torn one
// must leave the one before it whole.
TEST(CommitLogCrash, SpaceIsUsedAgainOnlyWhenThatIsDurable) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Random random(seed);
    FaultyDisk disk(kRing);
    auto log = MustOpen(&disk);
    const std::string text = TextOf(seed, 100'000);
    FillRing(log.get(), text);
    ASSERT_TRUE(log->Truncate(log->end()).ok());
    const Records model = FillRing(log.get(), text);
    const uint64_t end = log->end();
    disk.DieAfter(1 + random.Below(4));  // the head and its sync, the group and its sync
    ASSERT_TRUE(log->Truncate(end).ok());
    EXPECT_FALSE(log->AppendAndWait(AsBytes(text + text)).ok() && log->AppendAndWait({}).ok());
    log.reset();
    disk.LosePower(&random, 0.5);
    log = MustOpen(&disk);
    ASSERT_NE(log, nullptr) << "seed " << seed;
    ASSERT_GE(log->end(), end) << "seed " << seed << ": numbers would be given again";
    const Records records = ReplayAll(log.get());
    ASSERT_TRUE(records.empty() || records == model) << "seed " << seed;
  }
}

TEST(CommitLogCrash, ADiskErrorFailsWhatIsNotAcknowledged) {
  for (uint64_t operations : {1, 2}) {  // the write; the sync
    FaultyDisk disk(kRing);
    auto log = MustOpen(&disk);
    const uint64_t safe = MustAppend(log.get(), "safe");
    disk.DieAfter(operations);
    std::vector<Status> called;
    ASSERT_TRUE(
        log->AppendThen(AsBytes("one"), [&](Status s, uint64_t) { called.push_back(s); }).ok());
    Status failed = log->AppendAndWait(AsBytes("two")).status();
    EXPECT_EQ(failed.code(), Code::kUnavailable);
    EXPECT_NE(failed.message().find("/faulty/journal: Input/output error"), std::string::npos);
    EXPECT_NE(failed.message().find("look after the disk"), std::string::npos);
    disk.DieAfter(UINT64_MAX);
    // It works again, and the log does not: nobody knows what is on the disk.
    EXPECT_EQ(log->Append(AsBytes("three")).status().ToString(), failed.ToString());
    EXPECT_EQ(log->Truncate(log->end()).ToString(), failed.ToString());
    EXPECT_TRUE(log->Wait(safe).ok());
    log.reset();
    ASSERT_EQ(called.size(), 1u);
    EXPECT_EQ(called[0].ToString(), failed.ToString());
    Records records = ReplayAll(MustOpen(&disk).get());
    EXPECT_EQ(records[safe], "safe");
  }
}

TEST(CommitLogCrash, ThreadsThatWaitForRoomHearOfTheError) {
  FaultyDisk disk(16 * kMiB);
  auto log = MustOpen(&disk);
  disk.Hold(true);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&log] {
      const std::string text(500'000, 'x');
      Status status;
      while (status.ok()) status = log->Append(AsBytes(text)).status();
      EXPECT_EQ(status.code(), Code::kUnavailable);
    });
  }
  disk.DieAfter(3);
  disk.Hold(false);
  for (std::thread& thread : threads) thread.join();
}

TEST(CommitLogCrash, DamageBeforeALaterGroupIsNotATear) {
  FaultyDisk disk(kRing);
  auto log = MustOpen(&disk);
  MustAppend(log.get(), "one");
  const uint64_t two = MustAppend(log.get(), "two");
  MustAppend(log.get(), "three");
  log.reset();
  disk.Flip(OffsetOf(two));  // the body of a group that has one after it
  log = MustOpen(&disk);
  uint64_t visited = 0;
  Status damaged = log->Replay([&](uint64_t, ByteView) { ++visited; });
  EXPECT_EQ(damaged.code(), Code::kCorrupt);
  EXPECT_NE(damaged.message().find("/faulty/journal is damaged"), std::string::npos);
  EXPECT_EQ(visited, 1u);
  log.reset();
  disk.Flip(OffsetOf(two) - kGroupHeaderBytes);  // its header
  EXPECT_EQ(OpenStatus(&disk).code(), Code::kCorrupt);
}

// The older head knows groups that were written over since: without the newer one the log would
// seem to end where it begins, and acknowledged records would be gone without a word.
TEST(CommitLogCrash, ADamagedHeadHidesNothing) {
  FaultyDisk disk(kRing);
  auto log = MustOpen(&disk);
  const std::string text = TextOf(1, 100'000);
  for (int laps = 0; laps < 3; ++laps) {
    FillRing(log.get(), text);
    ASSERT_TRUE(log->Truncate(log->end()).ok());
  }
  Records model;
  for (int i = 0; i < 5; ++i) model[MustAppend(log.get(), text)] = text;
  log.reset();
  EXPECT_EQ(ReplayAll(MustOpen(&disk).get()), model);
  disk.Flip(33);  // the fifth head is in the first copy, the fourth in the second
  EXPECT_EQ(OpenStatus(&disk).code(), Code::kCorrupt);
  disk.Flip(33);
  disk.Flip(kBlockBytes + 33);
  EXPECT_EQ(ReplayAll(MustOpen(&disk).get()), model);
}

TEST(CommitLogCrash, OneHeadMayBeDamaged) {
  for (uint64_t damaged : {0, 1}) {
    FaultyDisk disk(kRing);
    auto log = MustOpen(&disk);
    Records model;
    model[MustAppend(log.get(), "one")] = "one";
    log.reset();
    disk.Flip(damaged * kBlockBytes + 33);
    log = MustOpen(&disk);
    EXPECT_EQ(ReplayAll(log.get()), model);
    log.reset();
    disk.Flip((1 - damaged) * kBlockBytes + 33);
    EXPECT_EQ(OpenStatus(&disk).code(), Code::kCorrupt);
  }
}

}  // namespace
}  // namespace holdfast::disk
