// SPDX-License-Identifier: Apache-2.0
// A node's segments in files of a local directory: the local implementation of Disk (base/env.h).
// docs/formats.md, "Segments on disk", says what lies in the directory.
//
// Files are opened with O_DIRECT where the file system knows it, so that what is kept on disk does not
// fill the page cache that the node's memory limit pays for. Every operation is done by one of a few
// threads, through an aligned buffer of its own: what has no alignment may be read and written.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/env.h"
#include "io/shm/fd.h"

namespace holdfast::disk {

struct SegmentFilesOptions {
  std::string directory;  // made if it is not there; must be this user's
  std::string cluster;
  NodeId node = 0;
  uint32_t segments = 0;
  uint64_t segment_bytes = 0;  // a multiple of 4096
  uint32_t threads = 4;        // operations at a time
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
  class Bounce;  // a thread's aligned buffer
  using Task = std::function<void(Bounce&)>;

  SegmentFiles() = default;
  Status Lock();
  Status CheckLayout(const SegmentFilesOptions& options);
  Status OpenFiles(const SegmentFilesOptions& options);
  Status OpenFile(uint32_t segment);
  Status RemoveBeyond(uint32_t segments);
  Status RaiseDescriptors(uint32_t segments) const;
  std::string PathOf(uint32_t segment) const;

  void Enqueue(Task task, bool read);
  void Work(bool writes_first);
  Status DoRead(Bounce& bounce, uint32_t segment, uint64_t offset, ByteSpan into, uint64_t* hash);
  Status DoWrite(Bounce& bounce, uint32_t segment, uint64_t offset,
                 const std::vector<ByteView>& parts);

  std::string directory_;
  uint64_t segment_bytes_ = 0;
  bool direct_ = true;
  shm::Fd lock_;
  std::vector<shm::Fd> files_;
  std::function<void(std::function<void()>)> post_;

  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Task> reads_;
  std::deque<Task> writes_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace holdfast::disk
