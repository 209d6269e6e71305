// SPDX-License-Identifier: Apache-2.0
// A log with group commit: many threads append records, one thread writes them to a file of fixed
// size in groups, and a record is acknowledged when its group is durable. The local implementation
// of the component "journal"; docs/formats.md has its bytes.
//
//   append    room in the open group is taken with one compare-and-swap, the copy is made outside
//             of any lock (io/disk/staging.h)
//   seal      the writer closes the open group, opens the next one, and waits for the copies
//   write     whole blocks, past the kernel's cache, at the next place in the ring
//   sync      then the group is durable; meanwhile the next one fills
//   ack       all who sleep on the group wake by one system call; callbacks run on the writer's
//             thread
//
// So the device sees one write and one sync at a time, each as large as what was appended during the
// one before: with few writers small groups at once, with many large ones, and nothing to tune.
//
// What is promised: after a crash at any instant the log holds a prefix of what was appended, and
// in it everything that was acknowledged. A sequence number is a record's position; it rises, is
// never given again, and is enough to read the record. The file is a ring: Truncate gives space
// back, and without it a full log refuses records and loses none. When the device fails, everything
// that was not acknowledged fails with its error, as does every later append: what a failed sync
// left behind is not known, so the log is read anew by the next process instead of being written
// on. A record that failed so may be found there all the same.
//
// Limits: a record has at most kMaxRecordBytes and fits the ring, and at most two groups of kMaxGroupBytes are in
// memory. A thread that appends to a full group waits for the writer; the form with a callback
// never waits.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "io/disk/block_file.h"
#include "io/disk/log_format.h"
#include "io/disk/staging.h"

namespace holdfast::disk {

struct CommitLogOptions {
  std::string path;
  uint64_t bytes = 64 * kMiB;  // of a new file; one that is there keeps its size
  // Durable means: after a loss of power. Otherwise: after the death of this process; groups are
  // given to the device and not synced, and after a loss of power the log may be refused as damaged.
  bool sync = true;
};

// Any thread may call anything but the destructor.
class CommitLog {
 public:
  using Visit = std::function<void(uint64_t sequence, ByteView record)>;
  using Done = std::function<void(Status, uint64_t sequence)>;

  // Opens the log or makes a new one; the errors of OpenBlockFile, kInvalid for a file of something
  // else or of a newer version, kCorrupt for a damaged one. A torn end is not an error: it was not
  // acknowledged.
  static Result<std::unique_ptr<CommitLog>> Open(const CommitLogOptions& options);
  static Result<std::unique_ptr<CommitLog>> Open(std::unique_ptr<BlockFile> file, bool sync);
  // What was appended is written first.
  ~CommitLog();

  // Appends one record, `record` and `more` without a gap, and returns its sequence number. kNoSpace
  // when the ring is full, kInvalid for a record that is too long. Waits only for room in memory.
  Result<uint64_t> Append(ByteView record, ByteView more = {});
  // Returns when this record, which was appended, is durable.
  Status Wait(uint64_t sequence);
  // Both.
  Result<uint64_t> AppendAndWait(ByteView record, ByteView more = {});
  // Does not wait: kUnavailable when too much is in flight, and the errors of Append; then `done`
  // is dropped. Otherwise it runs once, on the writer's thread, in the order of the sequence
  // numbers, and must not call back into the log.
  Status AppendThen(ByteView record, Done done);

  // From now on the writer waits for a Go before each group: whoever appends decides what goes
  // together. Before anything is appended.
  void WaitForGo() { paced_ = true; }
  // What is appended by now is written, or, while a group is being written, after that.
  void Go();

  // Visits the durable records that are still wanted, in order. Not while Truncate runs. kCorrupt
  // when something acknowledged cannot be read; what was visited before it is right.
  Status Replay(const Visit& visit);
  // Reads the first bytes of a record into `into` and the next ones into `more`, when it is durable.
  // They are not checked: whoever reads single records keeps a checksum in them. kNotFound when its
  // space was given back.
  Status Read(uint64_t sequence, ByteSpan into, ByteSpan more = {});
  // Records before `before` are not wanted any more, and their space may be used. It is at most
  // end(): what is not durable cannot be given back.
  Status Truncate(uint64_t before);
  // What is durable has lower sequence numbers, what is appended later higher ones.
  uint64_t end() const { return durable_.load(std::memory_order_acquire); }

 private:
  CommitLog(std::unique_ptr<BlockFile> file, bool sync, const LogHead& head,
            std::deque<uint64_t> groups);
  uint64_t RingEnd() const { return head_.start + head_.ring_bytes; }
  bool Failed() const { return failed_.load(std::memory_order_acquire); }
  Status Failure();
  Status CheckSize(uint64_t bytes) const;
  Status RingFull() const;
  void Run();
  Status CommitGroup();
  Status WriteHead();
  Status WriteGroup(const Staging::Sealed& group);
  void Acknowledge(const Staging::Sealed& group);
  void Fail(const Status& why);

  const std::unique_ptr<BlockFile> file_;
  const bool sync_;
  Buffer head_block_ = BlockBuffer(kBlockBytes);  // the writer's
  std::atomic<uint64_t> durable_;                 // position after the last durable group
  std::atomic<uint64_t> wanted_;                  // head_.first
  std::atomic<bool> failed_{false};
  std::atomic<bool> stop_{false};
  bool paced_ = false;
  FutexWord go_{0};                       // 1: the next group may be written
  std::atomic<bool> head_is_new_{false};  // head_ is to be written

  std::mutex mutex_;  // guards what follows
  LogHead head_;
  std::deque<uint64_t> groups_;  // positions of the groups in use
  std::vector<std::pair<uint64_t, Done>> waiting_;
  Status failure_;

  Staging staging_;
  std::thread writer_;
};

}  // namespace holdfast::disk
