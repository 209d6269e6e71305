// SPDX-License-Identifier: Apache-2.0
// Has a reclaim worker, or the storage server itself, move records of a node's segments that lie at that
// storage server: the remote implementation of SegmentMover (wire/segment_move.h), beside RecordMover.
//
//   permit   the segments' server notes a key for the place, and says so
//   move     the worker is asked, with the key
//   revoke   after its answer, or without one: the segments' server says that nobody writes there any more
//
// While the worker is not connected a move fails at once; else it fails after `patience`, and whatever a
// broken connection has not answered fails, too. Nobody waits for a worker at a node's start.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "io/storage/remote_disk.h"
#include "wire/segment_move.h"

namespace holdfast::storage {

// Used on the deciding thread, whose clock it has; the connection is of the loop `io`. Destroyed before
// the disk, on that thread, or when it has ended.
class RemoteMover : public SegmentMover {
 public:
  using Post = disk::Deliveries::Post;
  static constexpr Duration kBetweenRevocations = 100ms;  // of one that could not be asked for

  // `options` say where the worker is. `segments_at` is empty when that is where the segments are.
  RemoteMover(net::EventLoop* io, RemoteOptions options, std::string segments_at, Clock* clock,
              RemoteDisk* disk, Post post);
  ~RemoteMover() override;

  void Start();
  void Move(SegmentMove move, std::function<void(Moved)> done) override;

 private:
  struct Job {
    uint64_t key = 0;
    SegmentMove move{};
    std::function<void(Moved)> done{};
    Moved moved{};
  };
  struct Call {  // of the loop
    FrameHead head{};
    Buffer body{};
    size_t records = 0;
    Time until{};
  };

  void Permitted(uint64_t id, const Status& status);
  void Answered(uint64_t id, Moved moved);
  void Revoke(uint64_t id);
  void Finish(uint64_t id);
  // Of the loop.
  void Ask(uint64_t id, Call call);
  Status OnFrame(const FrameHead& head, ByteView body);
  void OnTick(Time now);
  void FailAll(const Status& why);
  void Deliver(uint64_t id, Moved moved);

  net::EventLoop* const io_;
  const RemoteOptions options_;
  Clock* const clock_;
  RemoteDisk* const disk_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::atomic<bool> up_{false};

  std::map<uint64_t, Job> jobs_;  // by id, from 1
  uint64_t next_id_ = 1;

  std::map<uint64_t, Call> calls_;  // the loop's, by id, which is the tag
  disk::Deliveries deliveries_;
  StorageLink link_;
};

}  // namespace holdfast::storage
