// SPDX-License-Identifier: Apache-2.0
// Keeps journals and segments for nodes that have no disk for them, and moves records between segments for
// their reclaim: what `cached --role storage` is, and, without a directory, `cached --role reclaim`. One
// thread receives and answers, the disks' threads read, write and sync; it decides nothing.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "io/net/event_loop.h"
#include "io/storage/storage_session.h"
#include "io/storage/stores.h"

namespace holdfast::storage {

struct StorageServerOptions {
  std::string endpoint;  // "tcp://10.0.0.9:7072"; port 0 takes any
  std::string cluster;
  std::optional<bulk::Token> token{};     // from the cluster key; without one only loopback
  std::optional<StoresOptions> stores{};  // none: it keeps nothing
  Log* log = nullptr;                     // may be null; outlives it
};

// Belongs to the thread of its loop, which outlives it.
class StorageServer {
 public:
  static constexpr size_t kMaxSessions = 1'024;

  static Result<std::unique_ptr<StorageServer>> Start(net::EventLoop* loop,
                                                      StorageServerOptions options);
  ~StorageServer();

  const std::string& endpoint() const { return endpoint_.text; }  // with its real port

 private:
  friend class StorageSession;

  StorageServer(net::EventLoop* loop, StorageServerOptions options)
      : loop_(loop), options_(std::move(options)) {}
  Status Open();
  void Accept();
  void Tick();
  // A session has nothing more to do; not from inside of its stream.
  void End(uint64_t session, const Status& why);
  StorageSession* Find(uint64_t session);
  // One operation less is under way.
  void Ended(Store* store);
  Result<Store*> FindUsed(const std::string& name, NodeId node);

  net::EventLoop* const loop_;
  const StorageServerOptions options_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  uint64_t start_ = 0;  // random: which start of the server this is
  uint64_t cluster_hash_ = 0;
  bulk::Endpoint endpoint_;
  bulk::Fd listener_;
  std::unique_ptr<Stores> stores_;  // null: none
  std::map<uint64_t, std::unique_ptr<StorageSession>> sessions_;
  uint64_t next_session_ = 1;
  uint64_t ended_ = 0;  // because of what they sent
  Time quiet_until_{};  // of them
};

}  // namespace holdfast::storage
