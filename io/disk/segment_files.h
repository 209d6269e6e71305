// SPDX-License-Identifier: Apache-2.0
// A node's segments in files of a local directory: the local implementation of Disk (base/env.h).
// docs/formats.md, "Segments on disk", says what lies in the directory.
//
// Files are opened with O_DIRECT where the file system knows it, so that what is kept on disk does not
// fill the page cache that the node's memory limit pays for. All passes through aligned buffers: what
// has no alignment may be read and written. Small reads go through io_uring (read_ring.h), all else is
// done by threads, and small reads are, too, where the kernel has no io_uring or does not allow it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/env.h"
#include "io/disk/disk_threads.h"
#include "io/disk/read_ring.h"
#include "io/shm/fd.h"

namespace holdfast::disk {

struct SegmentFilesOptions {
  std::string directory;  // made if it is not there; must be this user's
  std::string cluster;
  NodeId node = 0;
  uint32_t segments = 0;
  uint64_t segment_bytes = 0;  // a multiple of 4096
  uint32_t depth = 32;         // small reads at a time; a quarter as many operations of other kinds
  std::string group{};         // whose members may read the segments; a name or number, or nobody
  Log* log = nullptr;          // may be null; outlives it
};

// How the deciding thread is told that a descriptor can be read.
struct Watcher {
  std::function<Status(int fd, std::function<void()> ready)> watch;
  std::function<void(int fd)> unwatch;
};

// The deciding thread's.
class SegmentFiles : public Disk {
 public:
  // Callbacks come through `post`, which has them run on the deciding thread, or out of `watcher`; without
  // one there is no io_uring. Takes the lock,
  // allocates what is missing, removes segments beyond `segments`. kUnavailable when another daemon
  // uses the directory, kNoSpace when the disk is too full (path, needed and free bytes), kInvalid for
  // a directory that is something else, or of another node, cluster, version or size of segments.
  static Result<std::unique_ptr<SegmentFiles>> Open(const SegmentFilesOptions& options,
                                                    std::function<void(std::function<void()>)> post,
                                                    std::optional<Watcher> watcher = {});
  // Operations under way end, those that wait are dropped.
  ~SegmentFiles() override;

  uint32_t segments() const override { return static_cast<uint32_t>(files_.size()); }
  uint64_t segment_bytes() const override { return segment_bytes_; }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t hash)> done) override;
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override;
  void Sync(uint32_t segment, std::function<void(Status)> done) override;

  bool direct() const { return direct_; }

 private:
  SegmentFiles() = default;
  Status Lock();
  // Whether it is still to be written.
  Result<bool> CheckLayout(const SegmentFilesOptions& options) const;
  Status CheckRoom(uint32_t segments) const;
  Status OpenFiles(const SegmentFilesOptions& options);
  Status OpenFile(uint32_t segment);
  uint64_t FindReadAlign() const;
  Status RemoveBeyond(uint32_t segments);
  void OpenRing(const SegmentFilesOptions& options, std::optional<Watcher> watcher);
  Status RaiseDescriptors(uint32_t segments) const;
  std::string PathOf(uint32_t segment) const;

  DiskOp::Done Posting(const char* doing, uint32_t segment, std::function<void(Status)> done);
  Status StatusOf(const char* doing, uint32_t segment, int error) const;

  std::string directory_;
  uint64_t segment_bytes_ = 0;
  bool direct_ = true;
  uint64_t read_align_ = Disk::kBlock;  // of calls
  std::optional<gid_t> group_;
  shm::Fd lock_;
  std::vector<shm::Fd> files_;
  std::function<void(std::function<void()>)> post_;
  Watcher watcher_;
  std::unique_ptr<ReadRing> ring_;  // null: the threads read all
  std::unique_ptr<DiskThreads> threads_;
};

}  // namespace holdfast::disk
