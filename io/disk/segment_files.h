// SPDX-License-Identifier: Apache-2.0
// A node's segments in files of a local directory: the local implementation of Disk (base/env.h).
// docs/formats.md, "Segments on disk", says what lies in the directory.
//
// Files are opened with O_DIRECT where the file system knows it, so that what is kept on disk does not
// fill the page cache that the node's memory limit pays for. Operations are done many at a time by an
// engine (disk_engine.h), through aligned buffers: what has no alignment may be read and written.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "io/disk/disk_engine.h"
#include "io/shm/fd.h"

namespace holdfast::disk {

struct SegmentFilesOptions {
  std::string directory;  // made if it is not there; must be this user's
  std::string cluster;
  NodeId node = 0;
  uint32_t segments = 0;
  uint64_t segment_bytes = 0;  // a multiple of 4096
  uint32_t depth = 32;         // operations at a time
  bool io_uring = true;        // where the kernel has it; threads otherwise
  Log* log = nullptr;          // may be null; outlives it
};

class SegmentFiles : public Disk {
 public:
  // Callbacks come through `post`, which has them run on the deciding thread. Takes the lock,
  // allocates what is missing, removes segments beyond `segments`. kUnavailable when another daemon
  // uses the directory, kNoSpace when the disk is too full (path, needed and free bytes), kInvalid for
  // a directory that is something else, or of another node, cluster, version or size of segments.
  static Result<std::unique_ptr<SegmentFiles>> Open(
      const SegmentFilesOptions& options, std::function<void(std::function<void()>)> post);
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
  Status CheckLayout(const SegmentFilesOptions& options);
  Status OpenFiles(const SegmentFilesOptions& options);
  Status OpenFile(uint32_t segment);
  Status RemoveBeyond(uint32_t segments);
  Status RaiseDescriptors(uint32_t segments) const;
  std::string PathOf(uint32_t segment) const;

  Status StatusOf(const char* doing, uint32_t segment, int error) const;

  std::string directory_;
  uint64_t segment_bytes_ = 0;
  bool direct_ = true;
  shm::Fd lock_;
  std::vector<shm::Fd> files_;
  std::function<void(std::function<void()>)> post_;
  std::unique_ptr<DiskEngine> engine_;  // the first to go: it uses the files
};

}  // namespace holdfast::disk
