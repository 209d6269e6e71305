// SPDX-License-Identifier: Apache-2.0
// One object that nobody planned:
//
//   1. Ask   its home, else its second pick: they have it, or fetch it and keep it
//   2. Head  nobody is there, or nobody could: look it up far away, unless the version is known
//   3. Get   and read exactly that version
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

namespace holdfast::client {

class SingleRead : public std::enable_shared_from_this<SingleRead> {
 public:
  struct Found {
    Buffer bytes;
    ObjectSource source = ObjectSource::kFar;
  };
  using Done = std::function<void(Result<Found>)>;

  // `wanted`: this version or none.
  static void Start(const Env& env, ClusterView* cluster, std::string uri,
                    std::optional<FarInfo> wanted, Time deadline, Done done);

 private:
  static constexpr uint64_t kFirstGuess = 256 * kKiB;

  SingleRead(const Env& env, ClusterView* cluster, std::string uri, std::optional<FarInfo> wanted,
             Time deadline, Done done)
      : env_(env),
        cluster_(cluster),
        uri_(std::move(uri)),
        wanted_(std::move(wanted)),
        deadline_(deadline),
        done_(std::move(done)) {}

  void AskNext();
  bool MakeRoom(uint64_t size);
  void Landed(NodeId node, BulkOutcome outcome);
  void Head();
  void Get(const FarInfo& info);

  Env env_;
  ClusterView* cluster_;
  std::string uri_;
  std::optional<FarInfo> wanted_;
  Time deadline_;
  Done done_;
  std::vector<NodeId> nodes_;
  size_t next_ = 0;
  Buffer buffer_;
};

}  // namespace holdfast::client
