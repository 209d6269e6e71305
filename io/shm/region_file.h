// SPDX-License-Identifier: Apache-2.0
// The file that holds a node's region (wire/shm_layout.h), and the directory that it lies in:
//
//   <directory>/lock                  flock of the daemon, with its process id in it
//   <directory>/attach.sock           where clients ask (io/shm/attach_server.h)
//   <directory>/memory/               a tmpfs of our own where mounting is allowed
//   <directory>/memory/region
//   <directory>/memory/sessions/      one file per client (io/shm/session_files.h)
//
// It is a named file and not a memfd, so that a daemon that was killed finds it again under the
// clients that still map it. All its pages are allocated before it is used and it is never
// truncated: a reader of a hole on a full tmpfs, or of what lies beyond the end, would be killed by
// SIGBUS.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/log.h"
#include "base/status.h"
#include "io/shm/fd.h"
#include "wire/shm_layout.h"

namespace holdfast::shm {

enum class HugePages {
  kAuto,
  kOn,
  kOff
};  // kOn differs from kAuto in that it warns when there are none

struct RegionFileOptions {
  std::string directory;  // "/dev/shm/holdfast-<cluster>-<node>" by default in the daemon
  std::string group;  // name or number of the group that may read; empty: only root and this user
  RegionPlan plan;
  HugePages huge = HugePages::kAuto;
  // Called after each slice of the preallocation, from inside Open. May be empty.
  std::function<void(uint64_t done_bytes, uint64_t total_bytes)> progress;
  Log* log = nullptr;  // may be null; outlives Open
};

class RegionFile {
 public:
  // kUnavailable when another daemon holds the directory (the text has its process id), kNoSpace
  // when the tmpfs is too full (path, needed and free bytes), kInvalid for a directory that has
  // other things in it, or is on a disk and could not be mounted over, kDenied for one that belongs to somebody else. A region of
  // the same plan is opened with what is in it; one of another plan, or version, is replaced by a new
  // file, which the log says, and its sessions are removed: clients keep the old pages until they go.
  static Result<std::unique_ptr<RegionFile>> Open(const RegionFileOptions& options);

  // Leaves the files as they are, as a kill would, and gives the lock back.
  ~RegionFile();
  // Removes and unmounts all of it: for a clean end when no session is left. Nothing else may be
  // called afterwards.
  void Remove();

  ByteSpan memory() const { return memory_; }
  // Open for reading only: what clients are given, and what sendfile reads.
  int read_only_fd() const { return read_only_.get(); }
  // An earlier daemon's region was found, whose sessions may still be alive.
  bool reused() const { return reused_; }
  // What people want to know: "4.00 GiB in 2 MiB pages (own tmpfs on ...)".
  const std::string& description() const { return description_; }
  std::optional<gid_t> group() const { return group_; }
  std::string session_directory() const { return directory_ + "/memory/sessions"; }
  std::string attach_path() const { return directory_ + "/attach.sock"; }

 private:
  RegionFile() = default;
  Status Lock();
  Status FindOld(const RegionPlan& plan, Log* log);
  void Discard();
  Status Place(const RegionFileOptions& options);
  Status Create(uint64_t bytes);
  Status Map(uint64_t bytes);
  Status Allocate(uint64_t bytes, const std::function<void(uint64_t, uint64_t)>& progress);
  Status Full(uint64_t needed, uint64_t free_bytes) const;
  std::string memory_directory() const { return directory_ + "/memory"; }
  std::string region_path() const { return directory_ + "/memory/region"; }

  std::string directory_;
  std::string description_;
  std::optional<gid_t> group_;
  bool reused_ = false;
  Fd lock_;
  Fd file_;
  Fd read_only_;
  ByteSpan memory_;
};

}  // namespace holdfast::shm
