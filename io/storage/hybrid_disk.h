// SPDX-License-Identifier: Apache-2.0
// Segments twice: on a near disk, and, once they are sealed, as one object each in the far store.
//
//   write   near; the seal of a segment (wire/disk_segment.h) is the last write to it
//   copy    the sealed segment is read near and put far away, one at a time; when that fails, which the
//           log says, again after a rest
//   read    near; from the copy where that fails
//   clean   a segment that is written to again has no copy until its next seal
//   check   after a start: a sealed segment whose copy is not there, or has another seal, is copied
//
// Until it was checked it is not known which copies there are: they are asked for. docs/formats.md,
// "Segments on disk", has their names.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/segment_reader.h"

namespace holdfast::storage {

// The deciding thread's, as the near disk and the far store. All outlive what was asked of them.
class HybridDisk : public Disk, public SegmentReader {
 public:
  static constexpr Duration kReadDeadline = std::chrono::seconds(30);
  static constexpr Duration kCopyDeadline = std::chrono::minutes(10);
  static constexpr uint32_t kMostRests = 256;  // as long as the first one

  struct Options {
    std::string prefix;  // canonical, with '/' at its end
    NodeId node = 0;
    Clock* clock = nullptr;
    FarStore* far = nullptr;
    FarWriter* writer = nullptr;
    Log* log = nullptr;
    // After a copy that could not be written; doubled from one to the next.
    Duration rest = std::chrono::seconds(1);
  };
  struct Counters {
    uint64_t copies = 0;
    uint64_t failed_copies = 0;
    uint64_t far_reads = 0;     // of ranges
    uint64_t far_requests = 0;  // several of which may share one
  };

  HybridDisk(std::unique_ptr<Disk> near, Options options);
  ~HybridDisk() override;

  // Checks the copies of earlier starts, one after the other. Once, before or after anything else.
  void Check() { CheckNext(0); }

  uint32_t segments() const override { return near_->segments(); }
  uint64_t segment_bytes() const override { return near_->segment_bytes(); }
  void Read(uint32_t segment, uint64_t offset, ByteSpan into,
            std::function<void(Status, uint64_t hash)> done) override;
  void Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
             std::function<void(Status)> done) override;
  void Sync(uint32_t segment, std::function<void(Status)> done) override;

  // Of the copies alone. What is asked for in one pass of the loop shares a request.
  SegmentReader* copies() { return &copies_; }
  std::string NameOf(uint32_t segment) const;
  const Counters& counters() const { return counters_; }

 private:
  struct Copies : SegmentReader {
    explicit Copies(HybridDisk* d) : disk(d) {}
    void Read(uint32_t segment, uint64_t offset, ByteSpan into,
              std::function<void(Status, uint64_t)> done) override {
      disk->ReadCopy(segment, offset, into, std::move(done));
    }
    HybridDisk* disk;
  };
  struct Wanted {
    uint64_t offset = 0;
    ByteSpan into{};
    std::function<void(Status, uint64_t)> done{};
  };

  void ReadCopy(uint32_t segment, uint64_t offset, ByteSpan into,
                std::function<void(Status, uint64_t)> done);
  void Ask();
  void AskFor(uint32_t segment, std::vector<Wanted> wanted);
  void CopyLater(uint32_t segment, uint64_t write);
  void CopyNext();
  void Unread(uint32_t segment, uint64_t write, const Status& read);
  void Copied(uint32_t segment, uint64_t write, const Status& status);
  void After(Duration rest, std::function<void()> run);
  void CheckNext(uint32_t segment);
  void CheckLater(uint32_t segment);
  void CheckCopy(uint32_t segment);

  std::unique_ptr<Disk> near_;
  const Options options_;
  Copies copies_{this};
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  uint64_t writes_ = 0;
  std::map<uint32_t, uint64_t> without_copy_;  // segments, with the last write to them
  std::map<uint32_t, uint64_t> queued_;        // the write of its seal
  std::deque<uint32_t> queue_;                 // to be copied
  Buffer copying_;                             // not empty while one is
  Duration rest_{};                            // zero: the last copy was written
  bool resting_ = false;
  Buffer checking_;                                 // two blocks: of the segment, and of its copy
  std::map<uint32_t, std::vector<Wanted>> wanted_;  // by segment
  Counters counters_;
};

}  // namespace holdfast::storage
