// SPDX-License-Identifier: Apache-2.0
// One object that nobody planned:
//
//   1. Look  where the snapshot log says that it is, if it was decided that this pays
//   2. Ask   its home, else its second pick: they have it, or fetch it and keep it
//   3. First nobody is there, or nobody could: unless the version is known, the first bytes come
//            from far away, and with them the version
//   4. Get   and the rest, if there is one, of exactly that version
//
// What is larger than a chunk is not read: as soon as that is known the read ends with its version, and
// its pieces are for the caller to read, each by its own name. (A node that has it whole gives it whole.)
//
// Steps 2 to 4 are the way far. In a race it is begun together with the look; what comes first is
// returned, and an error only when both have failed.
//
// On the loop's thread; owns itself through the callbacks that it waits for.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/env.h"
#include "holdfast/client.h"
#include "jobclient/client/cluster_view.h"
#include "jobclient/client/whereabouts.h"

namespace holdfast::client {

class SingleRead : public std::enable_shared_from_this<SingleRead> {
 public:
  struct Found {
    Buffer bytes{};
    ObjectSource source = ObjectSource::kFar;
    // It is larger than a chunk, and this is its version; no bytes were read.
    std::optional<FarInfo> larger{};
    uint64_t chunk = 0;  // then
  };
  using Done = std::function<void(Result<Found>)>;

  // What outlives the read.
  struct World {
    Env env;
    ClusterView* cluster;
    Whereabouts* whereabouts;
    uint64_t chunk = 0;  // as configured; 0: everything is read whole
  };
  struct Wanted {
    std::string uri{};
    std::optional<FarInfo> version{};  // this one or none
    Done done{};
    bool piece = false;  // of something larger: it is read as it is
  };
  // When the nodes have greeted and the snapshot log is here, decides for all of them at once, and
  // reads each.
  static void Start(const World& world, std::vector<Wanted> group, Time deadline);

 private:
  static constexpr uint64_t kFirstGuess = 256 * kKiB;

  static constexpr Duration kLookDeadline = 1s;
  static constexpr uint64_t kLeastBytesPerUs = 10;  // that a node brings: 10 MB/s

  SingleRead(const World& world, const Wanted& wanted, const snapshot::Decision& decision,
             uint64_t chunk, Time deadline)
      : env_(world.env),
        cluster_(world.cluster),
        whereabouts_(world.whereabouts),
        uri_(wanted.uri),
        wanted_(wanted.version),
        chunk_(wanted.piece || chunk == 0 ? UINT64_MAX : chunk),
        decision_(decision),
        deadline_(deadline),
        done_(wanted.done) {}

  static void StartNow(const World& world, const std::vector<Wanted>& group, Time deadline);

  void Begin();
  bool IsLarger();
  void FinishLarger(FarInfo version);
  void Look();
  void LookBy(Time deadline);
  void LookedAt(BulkOutcome outcome);
  void LookFailed();
  uint64_t FirstSize() const;
  void AskNext();
  void Read(NodeId node, BulkMode mode, Time deadline, ByteSpan into,
            std::function<void(BulkOutcome)> landed);
  bool MakeRoom(uint64_t size);
  void Finish(Buffer bytes, uint64_t size, ObjectSource source);
  void FailFar(Status status);
  void Landed(NodeId node, BulkOutcome outcome);
  void GetFirst();
  void Get(const FarInfo& info, const Buffer& first);
  void CameFromFar(uint64_t size);

  Env env_;
  ClusterView* cluster_;
  Whereabouts* whereabouts_;
  std::string uri_;
  std::optional<FarInfo> wanted_;
  uint64_t chunk_;
  snapshot::Decision decision_;
  Time deadline_;
  Done done_;
  std::vector<NodeId> nodes_;
  size_t next_ = 0;
  Time begun_{};         // the step under way: a look, or the way far
  bool racing_ = false;  // both are under way
  bool finished_ = false;
  std::optional<Status> far_failed_;  // while the look of a race is still out
  Buffer buffer_;                     // of the way far
  Buffer look_buffer_;
  uint64_t said_size_ = 0;  // by a node, of what is larger than there was room for
};

}  // namespace holdfast::client
