// SPDX-License-Identifier: Apache-2.0
// The bytes of a journal's file, as docs/formats.md says them ("The journal").
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/status.h"
#include "base/units.h"
#include "io/disk/block_file.h"

namespace holdfast::disk {

constexpr uint64_t kHeadsBytes = 2 * kBlockBytes;
constexpr uint64_t kGroupHeaderBytes = 64;
constexpr uint64_t kRecordHeaderBytes = 8;
constexpr uint64_t kMaxGroupBytes = 4 * kMiB;
constexpr uint64_t kMaxRecordBytes = kMaxGroupBytes - kGroupHeaderBytes - kRecordHeaderBytes;
constexpr uint64_t kMinRingBytes = 2 * kMiB;

// What a record takes of its group.
constexpr uint64_t RecordSpan(uint64_t bytes) { return kRecordHeaderBytes + (bytes + 7) / 8 * 8; }

struct LogHead {
  uint64_t log_id = 0;
  uint64_t ring_bytes = 0;
  uint64_t number = 0;
  uint64_t start = 0;  // position of the first group
  uint64_t first = 0;  // lowest sequence number that is still wanted
};

void EncodeHead(const LogHead& head, ByteSpan block);
// nullopt: these bytes are no whole head. kInvalid: they are one of another version.
Result<std::optional<LogHead>> DecodeHead(ByteView block);
struct LogHeads {
  LogHead newest;
  bool both_whole = false;
};
// kInvalid for a file of something else or of another version,
// kCorrupt when both copies are damaged or the file has not the length that the head says.
Result<LogHeads> ReadHeads(BlockFile* file);
// The two blocks that a new file begins with.
Buffer FirstBlocks(uint64_t log_id, uint64_t ring_bytes);

struct GroupHeader {
  uint64_t log_id = 0;
  uint64_t position = 0;
  uint32_t bytes = 0;  // with this header, without the padding
  uint64_t body_hash = 0;
  uint64_t padded() const { return RoundUpToBlock(bytes); }
};

void EncodeGroup(const GroupHeader& header, ByteSpan into);
// nullopt: not the header of a group of this log.
std::optional<GroupHeader> DecodeGroup(ByteView block, uint64_t log_id);

}  // namespace holdfast::disk
