// SPDX-License-Identifier: Apache-2.0
// The parts of a node that may be elsewhere, as the configuration says: its segments on a disk of this
// machine or on a storage server, its journal likewise, and who moves the bytes that reclaim keeps.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cached/daemon_config.h"
#include "io/disk/segment_files.h"
#include "io/far/far_store.h"
#include "io/storage/storage_thread.h"

namespace holdfast::cached {

class Components {
 public:
  // Runs what ended on the deciding thread.
  using Post = std::function<void(std::function<void()>)>;

  // The configuration and the log outlive it.
  Components(const DaemonConfig* config, bulk::Token token, Log* log, Post post,
             disk::Watcher watcher)
      : config_(config),
        token_(token),
        log_(log),
        post_(std::move(post)),
        watcher_(std::move(watcher)) {}
  ~Components() { Stop(); }

  // Null when the node has none. They are destroyed after Stop and before this. The errors are those
  // of SegmentFiles, CommitLog and of opening a store elsewhere; they say what to do. `copies` is where
  // copies in the far store are read, or null when none are configured.
  Result<std::unique_ptr<Disk>> OpenDisk(Clock* clock, far::FarClient* far, SegmentReader** copies);
  // Who moves records of that disk beside this node; null: nobody.
  std::unique_ptr<SegmentMover> OpenMover(Clock* clock);
  // With the bytes that it has room for.
  Result<std::unique_ptr<Journal>> OpenJournal(uint64_t* bytes);
  // Nothing elsewhere is talked to any more, and what is to be read comes no more.
  void Stop();

  // Of the journal on this machine.
  static std::string JournalPath(const DaemonConfig& config);

 private:
  Result<std::unique_ptr<Disk>> OpenNearDisk();
  Result<std::unique_ptr<Journal>> OpenLocalJournal(uint64_t* bytes);
  storage::RemoteOptions Remote(const std::string& endpoint, Duration patience) const;
  Status StartThread();

  const DaemonConfig* config_;
  const bulk::Token token_;
  Log* log_;
  const Post post_;
  const disk::Watcher watcher_;
  std::unique_ptr<storage::StorageThread> thread_;
  storage::RemoteDisk* remote_disk_ = nullptr;  // if it is elsewhere
};

}  // namespace holdfast::cached
