// SPDX-License-Identifier: Apache-2.0
// A journal that a storage server keeps for a node: append frames, each a record of a CommitLog as it
// came, so that what arrives together shares one write and one sync with what arrives meanwhile.
//
// Pacing. A node that is told what is durable answers with as much that is new, a round trip later. A
// group that was begun meanwhile would have the rest only, and from then on two halves would take turns,
// each with a sync of its own. So a group is begun when about as much has come as the one before it had,
// or when a quarter of a sync, at most a millisecond, has passed since that one ended: at once, where
// little is going on.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "io/disk/commit_log.h"
#include "io/disk/deliveries.h"
#include "io/net/event_loop.h"
#include "wire/storage_format.h"

namespace holdfast::storage {

// Belongs to the thread of its loop.
class JournalStore {
 public:
  // More is not to be appended, until some of it is durable: what the log takes without waiting.
  static constexpr uint64_t kMaxInFlight = 2 * kMiB;
  static constexpr Duration kLongestWait = 1ms;

  // Makes it, with so many bytes, if it is not there. The errors of CommitLog::Open, and kCorrupt when
  // it has something else in it than frames. Blocks while it is read.
  static Result<std::unique_ptr<JournalStore>> Open(net::EventLoop* loop, const std::string& path,
                                                    uint64_t bytes);
  ~JournalStore() { *alive_ = false; }

  uint64_t bytes() const { return bytes_; }  // that it has room for
  uint64_t next() const { return next_; }    // number of the next record
  uint64_t wanted() const { return wanted_; }
  uint64_t durable() const { return durable_; }  // lower numbers are
  uint64_t in_flight() const { return in_flight_; }
  // Not ok: the log has failed, and is to be opened anew.
  const Status& failure() const { return failure_; }

  // A whole append frame that has been checked, whose first number is next(). `done` runs when
  // durable() has passed it, or with the failure. kNoSpace: it is not taken.
  Status Append(const FrameHead& head, ByteView frame, std::function<void(const Status&)> done);
  // kCorrupt for what is not durable.
  Status Truncate(uint64_t before);
  // Stored frames from that with the number `from` on, about `bytes` of them; what is not durable is
  // left out. Returns the number to go on from.
  Result<uint64_t> Replay(uint64_t from, uint64_t bytes, const std::function<void(Buffer)>& each);

 private:
  struct Place {  // of an append frame
    uint64_t first = 0;
    uint64_t end = 0;
    uint64_t position = 0;
    uint64_t bytes = 0;
  };
  explicit JournalStore(net::EventLoop* loop)
      : loop_(loop),
        deliveries_([loop](std::function<void()> run) { loop->Post(std::move(run)); }) {}
  Status Load();
  Status LoadFrame(uint64_t position, ByteView frame);
  Status Log(ByteView frame, std::function<void(const Status&, uint64_t position)> done);
  void PaceLater();
  void Pace();
  void Ended(uint64_t bytes);

  net::EventLoop* const loop_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  uint64_t bytes_ = 0;
  uint64_t next_ = 1;
  uint64_t wanted_ = 1;
  uint64_t durable_ = 1;
  uint64_t in_flight_ = 0;
  Status failure_;

  bool going_ = false;        // a group is being written
  bool pacing_ = false;       // Pace will run in this pass
  uint64_t group_bytes_ = 0;  // of the last one, as far as it was reported
  uint64_t worth_ = 0;        // bytes for which the next one is begun at once
  Time began_{}, ended_{};    // the last group
  Duration sync_{};           // that a group takes, smoothed
  std::deque<Place> places_;  // durable ones; the last one is never given back: it says the number
  disk::Deliveries deliveries_;
  std::unique_ptr<disk::CommitLog> log_;
};

}  // namespace holdfast::storage
