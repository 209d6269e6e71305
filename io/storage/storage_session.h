// SPDX-License-Identifier: Apache-2.0
// One node's connection, from the storage server's side:
//
//   hello → open → (what earlier connections began has ended) → opened → frames, until it breaks
//
// What is not about moves is in storage_session.cc, what is in session_moves.cc.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/net/event_loop.h"
#include "io/storage/frame_stream.h"
#include "io/storage/remote_disk.h"
#include "io/storage/stores.h"
#include "wire/segment_move.h"

namespace holdfast::storage {

class StorageServer;

// Belongs to the server's thread.
class StorageSession {
 public:
  static constexpr Duration kPatience = 60s;
  static constexpr uint64_t kMaxBusyBytes = 32 * kMiB;  // of reads and writes under way, and unsent
  static constexpr uint64_t kLeastBusyBytes = 4 * kKiB;  // of one of them, whatever it moves

  StorageSession(uint64_t id, StorageServer* server, bulk::Fd fd);
  ~StorageSession();
  StorageSession(const StorageSession&) = delete;

  // It has not opened anything, or has not taken what was said, for too long.
  bool Overdue(Time now) const { return (!open_ || ending_) && now - since_ > kPatience; }
  // Nothing that earlier sessions began with its store is under way any more.
  void StoreIsIdle();

 private:
  // Callbacks of operations may come when the session is gone.
  template <typename Answer>
  auto Ending(uint64_t bytes, Answer answer, std::shared_ptr<Permit> permit = nullptr);

  void Ready(uint32_t events);
  Status TakeHello();
  Status OnFrame(const FrameHead& head, ByteView body);
  ByteSpan PlaceOf(const FrameHead& head);
  Status OnOpen(const FrameHead& head, ByteView body);
  Status Opened();
  Status OnJournalFrame(const FrameHead& head, ByteView body);
  Status OnAppend(const FrameHead& head, ByteView body);
  Status OnReplay(const FrameHead& head);
  Status OnSegmentFrame(const FrameHead& head, ByteView body);
  void OnRead(const FrameHead& head);
  void OnWrite(const FrameHead& head, ByteView body);
  void OnSync(const FrameHead& head);
  // Moves.
  Status OnOpenMover(const FrameHead& head, ByteView body);
  Status OnOpenPermitted(const FrameHead& head, ByteView body);
  void OpenedBeside();
  void OnPermit(const FrameHead& head, ByteView body);
  void OnRevoke(const FrameHead& head);
  Status OnMove(const FrameHead& head, ByteView body);
  Result<std::shared_ptr<Disk>> DiskOfMove(uint64_t key);
  void SayMoved(uint64_t tag, uint64_t bytes, const Moved& moved);
  void SayFailed(uint64_t tag, const Status& why, uint64_t a = 0);
  void End(const Status& why);
  void FlushSoon();
  void Flush();
  void HoldIfBusy();
  void Watch();

  const uint64_t id_;
  StorageServer* const server_;
  const Time since_;
  std::vector<std::byte> hello_;
  bulk::Fd fd_;  // until the hello is there
  std::unique_ptr<FrameStream> stream_;
  uint32_t watched_ = 0;
  bool flushing_ = false;
  bool ending_ = false;  // when all is sent

  std::optional<Stores::Wanted> wanted_;
  Store* store_ = nullptr;
  uint64_t epoch_ = 0;
  bool open_ = false;
  bool refusing_ = false;  // append frames, until the next number comes again
  uint64_t acknowledged_ = 0;
  uint64_t busy_bytes_ = 0;
  Buffer placed_;                          // a long body on its way
  std::unique_ptr<RemoteDisk> elsewhere_;  // of a mover, if its segments are not here
};

}  // namespace holdfast::storage
