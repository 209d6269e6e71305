// SPDX-License-Identifier: Apache-2.0
// The segments of a store as one who has a permit sees them: reads all, writes where it is permitted, syncs
// nothing. Here, in the server that has the files, or over a connection to it.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "io/net/event_loop.h"
#include "io/storage/remote_disk.h"
#include "io/storage/stores.h"

namespace holdfast::storage {

// While a call is under way the store is busy; then `ended` runs, if it is still there.
class PermittedFiles : public Disk {
 public:
  PermittedFiles(net::EventLoop* loop, Store* store, uint64_t key, std::shared_ptr<bool> alive,
                 std::function<void()> ended)
      : loop_(loop), store_(store), key_(key), alive_(std::move(alive)), ended_(std::move(ended)) {}

  uint32_t segments() const override { return store_->segments->segments(); }
  uint64_t segment_bytes() const override { return store_->segments->segment_bytes(); }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t hash)> done) override;
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override;
  void Sync(uint32_t segment, std::function<void(Status)> done) override;

 private:
  void Refuse(std::function<void(Status)> done);

  net::EventLoop* loop_;
  Store* store_;
  uint64_t key_;
  std::shared_ptr<bool> alive_;
  std::function<void()> ended_;
};

class PermittedRemote : public Disk {
 public:
  PermittedRemote(RemoteDisk* disk, uint64_t key) : disk_(disk), key_(key) {}

  uint32_t segments() const override { return disk_->segments(); }
  uint64_t segment_bytes() const override { return disk_->segment_bytes(); }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t hash)> done) override {
    disk_->Read(segment, offset, into, std::move(done));
  }
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override {
    disk_->WritePermitted(key_, segment, offset, std::move(parts), std::move(done));
  }
  void Sync(uint32_t segment, std::function<void(Status)> done) override {
    disk_->Sync(segment, std::move(done));  // which the server refuses
  }

 private:
  RemoteDisk* disk_;
  uint64_t key_;
};

}  // namespace holdfast::storage
