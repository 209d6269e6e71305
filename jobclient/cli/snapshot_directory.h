// SPDX-License-Identifier: Apache-2.0
// The snapshot log on disk, written by one collector at a time (snapshot_files.h has the files).
//
// Only the newest file is appended to, and synced after every frame. A frame that cannot be written
// whole is cut off again, so that the log is what it was. A torn end is cut off before anything is
// written behind it; a newest file that is damaged within stays as it is, and a new one is begun.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/shm/fd.h"
#include "jobclient/cli/snapshot_files.h"
#include "snapshot/log.h"

namespace holdfast::cli {

struct DirectoryOptions {
  std::string path;
  uint64_t cluster = 0;
  uint32_t full_every = 64;  // frames, a full one among them
  Duration keep_for = std::chrono::hours(24 * 7);
  uint64_t max_bytes = kGiB;
};

class SnapshotDirectory {
 public:
  // Makes the directory if there is none, and reads the log. `warn` is told what is wrong in it.
  // Null when another collector is at work there. kInvalid for the log of another cluster or
  // version, kDenied and kNoSpace as the system says.
  static Result<std::unique_ptr<SnapshotDirectory>> Open(
      DirectoryOptions options, std::function<void(const std::string&)> warn);

  // As it is on disk. Whoever makes the next frame of it writes that one by Append.
  snapshot::SnapshotLog* log() { return &log_; }
  // The next frame should be a full one: there is none, or nothing can be put behind what there is,
  // or reading all differences would take longer than a full one.
  bool WantsFull() const;

  // Writes the frame that log() made. When that fails, log() is as it is on disk again.
  Status Append(ByteView frame);
  // All frames from the last full one on: for those who know nothing.
  Result<Buffer> SinceFull() const { return ReadLogFile(newest_.path); }

  // What could not be kept is not in the log either, but if reading it again failed as well: then
  // this reads it, before anything else is made of it.
  Status Refresh();
  // Deletes files whose last frame is older than `keep_for`, and the oldest ones of more than
  // `max_bytes` together, and with `more_bytes`; never the newest one. How many. Append begins with
  // it, so that a full disk has room again.
  Result<uint32_t> Retire(uint64_t more_bytes = 0);

  uint64_t bytes() const;  // of all files

 private:
  SnapshotDirectory(DirectoryOptions options, std::function<void(const std::string&)> warn)
      : options_(std::move(options)), warn_(std::move(warn)), log_(options_.cluster) {}

  Result<bool> Lock();
  Status Load();
  Status CutOff(const LogFault& torn);
  Status Begin(uint64_t number, ByteView frame);
  Status SetAside(uint64_t number);
  Status Extend(ByteView frame);
  Status SyncDirectory() const;

  DirectoryOptions options_;
  std::function<void(const std::string&)> warn_;
  shm::Fd lock_;
  snapshot::SnapshotLog log_;
  bool stale_ = false;  // log_ is not what is on the disk
  LogFile newest_{};
  bool extendable_ = false;  // the newest file has no fault
  uint32_t frames_ = 0;      // in it
  uint64_t full_bytes_ = 0;  // of its full frame
};

// Is a collector at work there?
bool IsBeingWritten(const std::string& directory);

}  // namespace holdfast::cli
