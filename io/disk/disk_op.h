// SPDX-License-Identifier: Apache-2.0
// One operation on a file as a sequence of system calls that somebody else makes: what is read or
// written passes through an aligned buffer, since O_DIRECT wants that and callers' memory has no
// alignment.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "wire/disk_segment.h"

namespace holdfast::disk {

class DiskOp {
 public:
  // 256 KiB from any offset on are one call.
  static constexpr uint64_t kBufferBytes = uint64_t{264} << 10;
  static constexpr int kShort = -1;  // the file ended before its time

  enum class Kind : uint8_t { kRead, kWrite, kSync };
  // `error` is 0, an errno, or kShort; `hash` is the XXH3-64 of what was read.
  using Done = std::function<void(int error, uint64_t hash)>;

  // Of `into.size()` bytes from any offset on; `align` is what the file wants of the calls, at most a
  // block.
  static DiskOp Read(int fd, uint64_t offset, ByteSpan into, uint64_t align, Done done);
  // Of the parts, one after the other, from a block's offset on; the last block is filled with zeros.
  static DiskOp Write(int fd, uint64_t offset, std::vector<ByteView> parts, Done done);
  static DiskOp Sync(int fd, Done done);

  struct Call {
    Kind kind;
    int fd;
    std::byte* data;  // in the buffer
    uint64_t bytes;
    uint64_t offset;
  };
  // The call to make next, through a buffer at a multiple of the block, the same one for the whole
  // operation, of kBufferBytes or what is read and two blocks; nullopt when there is nothing more to do.
  std::optional<Call> Next(std::byte* buffer);
  // What that call returned, or -errno.
  void Took(int64_t result);
  void Finish() { done_(error_, parts_read_ ? parts_read_->Digest() : hash_); }

  bool reads() const { return kind_ == Kind::kRead; }
  uint64_t bytes_left() const { return into_.size(); }  // of a read

 private:
  DiskOp(Kind kind, int fd, uint64_t offset, Done done)
      : kind_(kind), fd_(fd), offset_(offset), done_(std::move(done)) {}
  bool BeginChunk(std::byte* buffer);
  void EndChunk();

  Kind kind_;
  int fd_;
  uint64_t offset_;  // of what was not read or written yet
  uint64_t align_ = kBlock;
  ByteSpan into_{};
  std::vector<ByteView> parts_{};
  size_t part_ = 0;
  Done done_;
  uint64_t hash_ = 0;                     // of a read of one chunk, or of none
  std::optional<Hasher64> parts_read_{};  // of one of several
  int error_ = 0;
  // The chunk that lies in the buffer, aligned at both ends.
  std::byte* buffer_ = nullptr;
  uint64_t from_ = 0;
  uint64_t bytes_ = 0;
  uint64_t at_ = 0;  // of them done
  bool synced_ = false;
};

}  // namespace holdfast::disk
