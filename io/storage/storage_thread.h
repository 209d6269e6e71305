// SPDX-License-Identifier: Apache-2.0
// The thread on which a node talks to its storage servers, so that bulk bytes do not pass through the
// deciding one. Stores are opened here at a node's start, as local ones are: it waits.
#pragma once

#include <memory>
#include <thread>

#include "io/storage/remote_disk.h"
#include "io/storage/remote_journal.h"
#include "io/storage/remote_mover.h"

namespace holdfast::storage {

class StorageThread {
 public:
  static Result<std::unique_ptr<StorageThread>> Start();
  ~StorageThread() { Stop(); }
  StorageThread(const StorageThread&) = delete;

  // Wait until the store is open, at most RemoteOptions::opening. What they give is destroyed after
  // Stop, and before this.
  Result<std::unique_ptr<RemoteJournal>> OpenJournal(const RemoteOptions& options, uint64_t bytes,
                                                     RemoteJournal::Post post,
                                                     uint64_t* real_bytes);
  Result<std::unique_ptr<RemoteDisk>> OpenDisk(const RemoteOptions& options, uint32_t segments,
                                               uint64_t segment_bytes, RemoteDisk::Post post);

  // Waits for nobody. The disk is one of OpenDisk, and outlives it.
  std::unique_ptr<RemoteMover> OpenMover(const RemoteOptions& options, std::string segments_at,
                                         Clock* clock, RemoteDisk* disk, RemoteMover::Post post);

  // Nothing is sent and no memory is touched from now on.
  void Stop();

 private:
  StorageThread() = default;
  // Destroys on the thread: it is still running.
  template <typename Store>
  void Discard(std::unique_ptr<Store> store);

  std::unique_ptr<net::EventLoop> loop_;
  std::thread thread_;
};

}  // namespace holdfast::storage
