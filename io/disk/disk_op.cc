// SPDX-License-Identifier: Apache-2.0
#include "io/disk/disk_op.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace holdfast::disk {
namespace {

uint64_t Floor(uint64_t n, uint64_t align) { return n / align * align; }
uint64_t Ceil(uint64_t n, uint64_t align) { return Floor(n + align - 1, align); }

}  // namespace

DiskOp DiskOp::Read(int fd, uint64_t offset, ByteSpan into, uint64_t align, Done done) {
  DiskOp op(Kind::kRead, fd, offset, std::move(done));
  op.align_ = align;
  op.into_ = into;
  if (into.empty()) op.hash_ = Hash64({});
  return op;
}

DiskOp DiskOp::Write(int fd, uint64_t offset, std::vector<ByteView> parts, Done done) {
  DiskOp op(Kind::kWrite, fd, offset, std::move(done));
  op.parts_ = std::move(parts);
  return op;
}

DiskOp DiskOp::Sync(int fd, Done done) { return {Kind::kSync, fd, 0, std::move(done)}; }

std::optional<DiskOp::Call> DiskOp::Next(std::byte* buffer) {
  if (error_ != 0) return std::nullopt;
  if (kind_ == Kind::kSync) {
    if (synced_) return std::nullopt;
    return Call{kind_, fd_, nullptr, 0, 0};
  }
  if (at_ == bytes_ && !BeginChunk(buffer)) return std::nullopt;
  return Call{kind_, fd_, buffer + at_, bytes_ - at_, from_ + at_};
}

// False when nothing is left.
bool DiskOp::BeginChunk(std::byte* buffer) {
  buffer_ = buffer;
  at_ = bytes_ = 0;
  from_ = Floor(offset_, align_);
  if (kind_ == Kind::kRead) {
    bytes_ = std::min(Ceil(offset_ - from_ + into_.size(), align_), kBufferBytes);
    if (into_.empty()) bytes_ = 0;
    return bytes_ > 0;
  }
  uint64_t filled = 0;
  while (part_ < parts_.size() && filled < kBufferBytes) {
    ByteView& part = parts_[part_];
    const uint64_t n = std::min<uint64_t>(part.size(), kBufferBytes - filled);
    if (n > 0) std::memcpy(buffer + filled, part.data(), n);
    filled += n;
    part = part.subspan(n);
    if (part.empty()) ++part_;
  }
  bytes_ = Ceil(filled, align_);
  std::memset(buffer + filled, 0, bytes_ - filled);
  return bytes_ > 0;
}

void DiskOp::Took(int64_t result) {
  if (result == -EINTR || result == -EAGAIN) return;
  if (result < 0) {
    error_ = static_cast<int>(-result);
  } else if (kind_ == Kind::kSync) {
    synced_ = true;
  } else if (result == 0) {
    error_ = kShort;
  } else {
    at_ += static_cast<uint64_t>(result);
    if (at_ == bytes_) EndChunk();
  }
}

void DiskOp::EndChunk() {
  if (kind_ == Kind::kWrite) {
    offset_ = from_ + bytes_;
    return;
  }
  const uint64_t skip = offset_ - from_;
  const uint64_t useful = std::min(into_.size(), bytes_ - skip);
  std::memcpy(into_.data(), buffer_ + skip, useful);
  if (useful == into_.size() && !parts_read_) {
    hash_ = Hash64({buffer_ + skip, useful});
  } else {
    if (!parts_read_) parts_read_.emplace();
    parts_read_->Update({buffer_ + skip, useful});
  }
  into_ = into_.subspan(useful);
  offset_ += useful;
}

}  // namespace holdfast::disk
