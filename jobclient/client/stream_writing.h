// SPDX-License-Identifier: Apache-2.0
// One writer of a stream, from its opening to its end; each chunk:
//
//   1. Open    at the stream's catalogues (stream_opening.h)
//   2. Place   one node, or two for two copies, of those that have room (stream_placing.h)
//   3. Keep    the node takes the chunk from this writer's shelf, and says so
//   4. List    in every catalogue that still answers, in the order of the chunks (stream_listing.h)
//   5. Acknowledge
//   6. End     when all is acknowledged
//
// After the first failure nothing is taken any more, and what was not acknowledged by then never will
// be. On the deciding thread; callbacks run on it, never from inside a call.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/env.h"
#include "jobclient/client/cluster_view.h"
#include "jobclient/client/stream_listing.h"
#include "jobclient/client/stream_placing.h"
#include "wire/stream_entry.h"

namespace holdfast::client {

struct StreamWritingOptions {
  std::string name{};
  wire::StreamTerms terms{};
  bool create = true;           // else join the one that is there; its terms count
  uint64_t writer = 0;          // random, not 0
  NodeId own = kNoNode;         // this host's node
  std::string shelf{};          // bulk endpoint where chunks are shown
  Duration lease = 15s;         // readers are told that the writer is gone after so long a silence
  Duration patience = 30s;      // with nodes that do not answer
  Duration full_patience = 5s;  // with nodes that are full
};

class StreamWriting {
 public:
  struct Chunk {
    uint32_t place = 0;         // on the shelf, where it is shown
    wire::StreamEntry entry{};  // all but the nodes; numbers rise by one from 0
  };
  struct Events {
    std::function<void(uint32_t place)> released;        // no node reads it from now on
    std::function<void(uint64_t records)> acknowledged;  // so many, from the first on
    std::function<void(const Status&)> failed;           // once, the last event
    std::function<void()> ended;                         // or this one
  };

  // Everything outlives it.
  StreamWriting(const Env& env, ClusterView* cluster, StreamWritingOptions options, Events events);
  ~StreamWriting() { *alive_ = false; }

  // `done` has the stream's terms. kInvalid: the name is taken, kNotFound: there is nothing to join,
  // kUnavailable: no node that keeps its catalogue answers.
  void Open(std::function<void(Result<wire::StreamTerms>)> done);
  void Put(Chunk chunk);
  // After the last Put.
  void End();
  // Instead of End: readers are told that the writer is gone.
  void Abandon();

 private:
  struct Placing {
    Chunk chunk;
    StreamTarget target{};
    Time begun;
    uint32_t silent = 0;
  };
  bool Place(uint32_t number);
  void PlaceWaiting();
  void WaitForRoom(uint32_t number);
  void CheckPatience(const Placing& placing);
  void Keep(uint32_t number);
  void OnKept(uint32_t number, const StreamTarget& target, Result<wire::Message> answer);
  void NotKept(uint32_t number, const StreamTarget& target, const Status& why);
  void HasCopy(uint32_t number);
  void Tick();
  void Fail(Status status);
  void OnListed();
  template <typename Run>
  auto WhileAlive(Run run);

  Env env_;
  ClusterView* cluster_;
  StreamWritingOptions options_;
  Events events_;
  StreamPlacing placing_;
  StreamListing listing_;
  std::map<uint32_t, Placing> chunks_;            // being placed
  std::set<uint32_t> waiting_;                    // of them, for room; the first one goes first
  std::map<uint32_t, wire::StreamEntry> placed_;  // before one that is not
  uint32_t next_to_list_ = 0;
  Time expires_{};
  Time full_since_{};  // nobody has taken anything from then on; Time{}: somebody has
  uint64_t acknowledged_ = 0;
  bool ending_ = false;
  bool over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace holdfast::client
