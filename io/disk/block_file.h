// SPDX-License-Identifier: Apache-2.0
// A file of fixed size that is read and written in whole blocks: what the log stands on. Tests put
// a disk in its place that loses or tears whatever was not synced.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/status.h"

namespace holdfast::disk {

constexpr uint64_t kBlockBytes = 4096;

constexpr uint64_t RoundUpToBlock(uint64_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

// Memory that starts at a block boundary, as direct reads and writes need it. Zeroed.
Buffer BlockBuffer(size_t bytes);

// Offsets, lengths and the memory are multiples of kBlockBytes. Any thread; a block is not read
// while it is written.
class BlockFile {
 public:
  virtual ~BlockFile() = default;
  virtual Status Read(uint64_t at, ByteSpan into) = 0;
  virtual Status Write(uint64_t at, ByteView bytes) = 0;
  // All that was written before survives a loss of power. After an error nothing may be assumed of
  // what was not synced before, also when a later Sync succeeds.
  virtual Status Sync() = 0;
  virtual uint64_t bytes() const = 0;
  virtual const std::string& path() const = 0;
};

struct BlockFileOptions {
  std::string path;
  uint64_t new_bytes = 0;  // of a file that is made; one that is there keeps its size
  ByteView new_blocks;     // what a new file begins with; zeros follow
};

// Opens the file, or makes it whole under another name first, and locks it for this process.
// kUnavailable when another process has it, kNoSpace when the disk is too full for a new one,
// kDenied, kNotFound for its directory.
Result<std::unique_ptr<BlockFile>> OpenBlockFile(const BlockFileOptions& options);

}  // namespace holdfast::disk
