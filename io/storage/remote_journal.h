// SPDX-License-Identifier: Apache-2.0
// The core's journal on another machine: the remote implementation of Journal (base/env.h), beside
// io/disk/local_journal.h.
//
//   append   the record goes into the open frame, on the deciding thread
//   flush    what came in one pass of the loop is one frame, and one record of the server's journal
//   ack      the server says up to which number all is durable; callbacks go to the deciding thread
//   resend   after a reconnect the server says the next number: what is below it is acknowledged,
//            the frames from it on are sent again as they were
//
// When the server is gone for longer than `patience`, what was not acknowledged fails, and so does
// everything later: it is not known what of it is durable, and the next process will find out.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/env.h"
#include "io/disk/deliveries.h"
#include "io/storage/storage_link.h"

namespace holdfast::storage {

// Used on the deciding thread; its work is done on the loop `io`, which may be the same thread's.
// Destroyed on that thread, or when it has ended.
class RemoteJournal : public Journal {
 public:
  using Post = disk::Deliveries::Post;
  static constexpr uint64_t kMaxInFlight = 16 * kMiB;  // beyond it appends are refused

  // `bytes`: of a new journal; one that is there keeps its size.
  RemoteJournal(net::EventLoop* io, RemoteOptions options, uint64_t bytes, Post post);
  ~RemoteJournal() override;

  // Once, first. `opened` runs on the loop `io` when the journal may be used, with its bytes, or when
  // it never may: kDenied when it is another node's or newer opener's, kInvalid, kNoSpace, kTimeout.
  void Open(std::function<void(Result<uint64_t> bytes)> opened);

  void Append(ByteView record, std::function<void(Status, uint64_t sequence)> done) override;
  Status Truncate(uint64_t before) override;
  void Replay(std::function<void(uint64_t sequence, ByteView record)> each,
              std::function<void(Status)> done) override;

 private:
  using Done = std::function<void(Status, uint64_t)>;
  struct Frame {
    uint64_t first = 0;
    Time since{};
    Buffer memory{};  // head and records
    size_t bytes = kHeadBytes;
    std::vector<Done> done{};
    bool closed = false;  // takes no more records
    ByteView records() const { return memory.view().subspan(kHeadBytes, bytes - kHeadBytes); }
    uint64_t end() const { return first + done.size(); }
  };
  struct Replaying {
    std::function<void(uint64_t, ByteView)> each;
    std::function<void(Status)> done;
    uint64_t next = 0;
    Time until{};
  };

  Frame* FrameFor(size_t bytes);
  void SendClosed();
  void FlushLater();
  void Flush();
  void Deliver(std::deque<std::unique_ptr<Frame>> frames, const Status& status);
  // Of the loop `io`.
  Status OnUp(const Opened& opened);
  Status OnFrame(const FrameHead& head, ByteView body);
  Status Acknowledge(uint64_t next);
  Status Refuse(uint64_t first, const Status& why);
  Status OnReplayed(const FrameHead& head, ByteView body);
  void AskReplay();
  void EndReplay(const Status& status);
  void OnTick(Time now);
  void Fail(const Status& why);

  net::EventLoop* const io_;
  const RemoteOptions options_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::mutex mutex_;  // guards what follows
  Status failure_;
  std::deque<std::unique_ptr<Frame>> frames_;  // not acknowledged, in order
  std::vector<Buffer> spare_;
  uint64_t in_flight_ = 0;  // bytes
  uint64_t next_ = 1;       // number of the next record
  uint64_t durable_ = 1;    // lower ones are
  uint64_t truncate_ = 0;
  bool flushing_ = false;

  // The loop's.
  size_t sent_ = 0;  // of frames_, by this connection or the one before
  uint64_t truncate_sent_ = 0;
  bool open_ = false;
  Time open_until_{};
  std::function<void(Result<uint64_t>)> opened_;
  uint64_t wanted_ = 0;
  std::unique_ptr<Replaying> replaying_;

  std::thread::id thread_{};  // that the loop runs on, once it is known

  disk::Deliveries deliveries_;
  StorageLink link_;
};

}  // namespace holdfast::storage
