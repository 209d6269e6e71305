// SPDX-License-Identifier: Apache-2.0
// A node's segments on another machine: the remote implementation of Disk (base/env.h), beside
// io/disk/segment_files.h.
//
// Operations are cut into parts of at most 1 MiB, all of them in flight; what a broken connection has
// not answered is asked again. An operation that takes longer than `patience` fails with kTimeout, and
// so does every new one while the server has been gone for kGone: a cache goes on without it. After a
// failure for want of time the connection is given up, so that no late write falls upon a newer one.
// A sync fails when the server was started anew since the segment was written to, or a permit was given
// for it: its machine may have lost what was not synced.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/env.h"
#include "io/disk/deliveries.h"
#include "io/storage/storage_link.h"

namespace holdfast::storage {

// Used on the deciding thread; its work, the hashing of bytes included, is done on the loop `io`, which
// may be the same thread's. Destroyed on that thread, or when it has ended.
class RemoteDisk : public Disk {
 public:
  using Post = disk::Deliveries::Post;
  static constexpr Duration kGone = 1s;
  static constexpr size_t kMaxOperations = 65'536;  // beyond it they are refused

  RemoteDisk(net::EventLoop* io, RemoteOptions options, uint32_t segments, uint64_t segment_bytes,
             Post post);
  ~RemoteDisk() override;

  // Once, first, as RemoteJournal::Open.
  void Open(std::function<void(Status)> opened);

  uint32_t segments() const override { return segments_; }
  uint64_t segment_bytes() const override { return segment_bytes_; }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t hash)> done) override;
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override;
  void Sync(uint32_t segment, std::function<void(Status)> done) override;

  // Others who bring this key, which is random and not 0, may write to the place until it is revoked, or
  // the connection is made anew. When the revocation is done, nothing of theirs is under way.
  void Permit(uint64_t key, uint32_t segment, uint64_t offset, uint64_t bytes,
              std::function<void(Status)> done);
  void Revoke(uint64_t key, std::function<void(Status)> done);
  // As Write, of one who was opened as RemoteOptions::permitted.
  void WritePermitted(uint64_t key, uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
                      std::function<void(Status)> done);

 private:
  struct Operation {
    uint64_t id = 0;
    Kind kind = Kind::kRead;
    uint32_t segment = 0;
    uint64_t offset = 0;
    ByteSpan into{};
    std::vector<ByteView> from{};
    uint64_t key = 0;     // of a permit
    uint64_t length = 0;  // that is permitted
    Time until{};
    std::function<void(Status, uint64_t)> done{};
    size_t parts = 0;  // not answered
    uint64_t hash = 0;
    uint64_t unsynced_since = 0;  // of a sync: the server that the segment was written at
    Status status{};
  };
  struct Part {
    Operation* operation = nullptr;
    uint64_t at = 0;  // in the operation's bytes
    uint64_t bytes = 0;
  };

  void Add(std::unique_ptr<Operation> operation);
  // Of the loop `io`.
  void Take();
  void Begin(std::unique_ptr<Operation> operation);
  void Send(uint64_t tag, const Part& part);
  Status OnUp(const Opened& opened);
  ByteSpan PlaceOf(const FrameHead& head);
  Status OnFrame(const FrameHead& head, ByteView body);
  void Answered(std::map<uint64_t, Part>::iterator part, const Status& status);
  void Finish(Operation* operation);
  void OnTick(Time now);
  void FailAll(const Status& why);
  bool Gone(Time now) const;

  net::EventLoop* const io_;
  const RemoteOptions options_;
  const uint32_t segments_;
  const uint64_t segment_bytes_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::mutex mutex_;  // guards what follows
  std::vector<std::unique_ptr<Operation>> added_;
  size_t count_ = 0;  // of all operations
  bool taking_ = false;

  // The loop's.
  std::map<uint64_t, std::unique_ptr<Operation>> operations_;  // by id
  std::map<uint64_t, Part> parts_;  // by tag, in the order in which they are to be sent
  uint64_t next_id_ = 1;
  uint64_t next_tag_ = 1;
  uint64_t server_ = 0;
  std::map<uint32_t, uint64_t> unsynced_;  // segments that were written to, and the first server
  Status failure_;
  std::function<void(Status)> opened_;
  Time open_until_{};

  disk::Deliveries deliveries_;
  StorageLink link_;
};

}  // namespace holdfast::storage
