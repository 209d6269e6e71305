// SPDX-License-Identifier: Apache-2.0
// Brings chunks of streams from the disk into memory, where readers find them:
//
//   1. Want  by a reader who missed it; several readers of one wait for one read
//   2. Read  straight into the ring; many at a time, the others wait
//   3. Done  the readers look again
//
// In memory such a chunk is an object that nobody holds, and goes when its room is needed.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "cached/stream_rooms.h"

namespace holdfast::cached {

class StreamLoads {
 public:
  static constexpr size_t kAtOnce = 8;
  static constexpr size_t kMostWaiting = 4'096;

  StreamLoads(const Context* context, StreamRooms* rooms) : context_(context), rooms_(rooms) {}

  // False: it is no chunk on this node's disk. Else `done` runs once, never from inside.
  bool Want(const ObjectKey& key, const std::function<void(Status)>& done);

 private:
  using Waiters = std::vector<std::function<void(Status)>>;
  void Next();
  void Read(const ObjectKey& key);
  void End(const ObjectKey& key, const Status& status);

  const Context* context_;
  StreamRooms* rooms_;
  std::deque<ObjectKey> queue_;
  std::map<ObjectKey, Waiters> waiting_;  // queued or being read
  size_t reading_ = 0;
};

}  // namespace holdfast::cached
