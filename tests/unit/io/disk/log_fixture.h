// SPDX-License-Identifier: Apache-2.0
// What the tests of the log share: a log on a faulty disk, and what it should hold.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "base/hash.h"
#include "io/disk/commit_log.h"
#include "tests/unit/io/disk/faulty_disk.h"

namespace holdfast::disk {

constexpr uint64_t kRing = kMinRingBytes;

using Records = std::map<uint64_t, std::string>;

inline std::unique_ptr<CommitLog> MustOpen(FaultyDisk* disk) {
  auto log = CommitLog::Open(std::make_unique<FaultyFile>(disk), true);
  EXPECT_TRUE(log.ok()) << log.status().ToString();
  return log.ok() ? *std::move(log) : nullptr;
}

inline Status OpenStatus(FaultyDisk* disk) {
  return CommitLog::Open(std::make_unique<FaultyFile>(disk), true).status();
}

inline Records ReplayAll(CommitLog* log) {
  Records records;
  Status replayed = log->Replay([&](uint64_t sequence, ByteView record) {
    EXPECT_TRUE(records.empty() || records.rbegin()->first < sequence);
    records[sequence] = AsText(record);
  });
  EXPECT_TRUE(replayed.ok()) << replayed.ToString();
  return records;
}

// A text that nothing else has.
inline std::string TextOf(uint64_t number, size_t bytes) {
  std::string text(bytes + 8, '\0');
  for (size_t i = 0; i < bytes; i += 8) {
    const uint64_t word = Mix64(number * 1'000'003 + i);
    std::memcpy(text.data() + i, &word, sizeof(word));
  }
  text.resize(bytes);
  return text;
}

inline uint64_t MustAppend(CommitLog* log, const std::string& text) {
  Result<uint64_t> sequence = log->AppendAndWait(AsBytes(text));
  EXPECT_TRUE(sequence.ok()) << sequence.status().ToString();
  return sequence.ok() ? *sequence : 0;
}

// Where a position of the ring lies in the file.
inline uint64_t OffsetOf(uint64_t position) { return kHeadsBytes + position % kRing; }

}  // namespace holdfast::disk
