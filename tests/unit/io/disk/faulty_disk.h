// SPDX-License-Identifier: Apache-2.0
// A disk in memory that keeps what was synced and may lose or tear the rest, part by part. It
// can be told to fail, to hold its writes, and to die at a given operation.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/random.h"
#include "io/disk/block_file.h"
#include "io/disk/log_format.h"

namespace holdfast::disk {

class FaultyDisk {
 public:
  static constexpr uint64_t kTornBytes = 64;  // less than any disk tears

  // As a new log finds it.
  explicit FaultyDisk(uint64_t ring_bytes) : cached_(kHeadsBytes + ring_bytes) {
    Buffer first = FirstBlocks(77, ring_bytes);
    std::copy_n(first.data(), first.size(), cached_.begin());
    durable_ = cached_;
  }

  // Each write and sync is an operation; from the n-th on they fail and do nothing.
  void DieAfter(uint64_t operations) {
    std::lock_guard lock(mutex_);
    operations_left_ = operations;
  }
  // Power fails: of what was not synced each part is kept with the chance `kept`.
  void LosePower(Random* random, double kept) {
    std::lock_guard lock(mutex_);
    for (uint64_t at : dirty_) {
      if (random->Chance(kept)) CopyPart(at, cached_, &durable_);
    }
    cached_ = durable_;
    dirty_.clear();
    operations_left_ = UINT64_MAX;
  }
  // The process dies and the machine goes on: what was written is still there, and not synced.
  void KillProcess() { DieAfter(UINT64_MAX); }
  // Writes wait while it is held.
  void Hold(bool on) {
    std::lock_guard lock(mutex_);
    held_ = on;
    changed_.notify_all();
  }
  void Flip(uint64_t at) {
    std::lock_guard lock(mutex_);
    cached_[at] ^= std::byte{1};
    durable_[at] ^= std::byte{1};
  }

 private:
  friend class FaultyFile;

  static void CopyPart(uint64_t at, const std::vector<std::byte>& from,
                       std::vector<std::byte>* to) {
    std::memcpy(to->data() + at, from.data() + at, kTornBytes);
  }
  bool Dies() { return operations_left_ == 0 || --operations_left_ == 0; }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::byte> cached_;
  std::vector<std::byte> durable_;
  std::vector<uint64_t> dirty_;  // offsets of parts, written and not synced
  uint64_t operations_left_ = UINT64_MAX;
  bool held_ = false;
};

class FaultyFile : public BlockFile {
 public:
  explicit FaultyFile(FaultyDisk* disk) : disk_(disk) {}

  Status Read(uint64_t at, ByteSpan into) override {
    std::lock_guard lock(disk_->mutex_);
    if (at + into.size() > disk_->cached_.size()) return Status::Corrupt("beyond the end");
    std::copy_n(disk_->cached_.begin() + static_cast<ptrdiff_t>(at), into.size(), into.begin());
    return {};
  }
  Status Write(uint64_t at, ByteView bytes) override {
    std::unique_lock lock(disk_->mutex_);
    disk_->changed_.wait(lock, [this] { return !disk_->held_; });
    HF_CHECK(at % kBlockBytes == 0 && bytes.size() % kBlockBytes == 0);
    HF_CHECK(at + bytes.size() <= disk_->cached_.size());
    if (disk_->Dies()) return Status::Unavailable("cannot write " + path_ + ": Input/output error");
    std::copy(bytes.begin(), bytes.end(), disk_->cached_.begin() + static_cast<ptrdiff_t>(at));
    for (uint64_t done = 0; done < bytes.size(); done += FaultyDisk::kTornBytes) {
      disk_->dirty_.push_back(at + done);
    }
    return {};
  }
  Status Sync() override {
    std::lock_guard lock(disk_->mutex_);
    if (disk_->Dies()) return Status::Unavailable("cannot sync " + path_ + ": Input/output error");
    for (uint64_t at : disk_->dirty_) {
      FaultyDisk::CopyPart(at, disk_->cached_, &disk_->durable_);
    }
    disk_->dirty_.clear();
    return {};
  }
  uint64_t bytes() const override { return disk_->cached_.size(); }
  const std::string& path() const override { return path_; }

 private:
  FaultyDisk* disk_;
  std::string path_ = "/faulty/journal";
};

}  // namespace holdfast::disk
