// SPDX-License-Identifier: Apache-2.0
#include "io/storage/storage_server.h"

#include <sys/epoll.h>

#include <random>
#include <utility>

#include "base/hash.h"

namespace holdfast::storage {

Result<std::unique_ptr<StorageServer>> StorageServer::Start(net::EventLoop* loop,
                                                            StorageServerOptions options) {
  std::unique_ptr<StorageServer> server(new StorageServer(loop, std::move(options)));
  HF_RETURN_IF_ERROR(server->Open());
  return server;
}

Status StorageServer::Open() {
  std::random_device entropy;
  start_ = (uint64_t{entropy()} << 32 | entropy()) | 1;
  cluster_hash_ = Hash64(AsBytes(options_.cluster));
  Result<bulk::Endpoint> endpoint = bulk::ParseEndpoint(options_.endpoint);
  if (!endpoint.ok()) return endpoint.status();
  endpoint_ = *std::move(endpoint);
  if (!endpoint_.local() && !options_.token) {
    return Status::Denied(endpoint_.text +
                          " is reachable from elsewhere, which takes a cluster key: set "
                          "cluster_key_file, or listen on 127.0.0.1");
  }
  if (options_.stores) {
    Result<std::unique_ptr<Stores>> stores = Stores::Open(*options_.stores, loop_);
    if (!stores.ok()) return stores.status();
    stores_ = *std::move(stores);
  }
  Result<bulk::Fd> listener = bulk::Listen(&endpoint_);
  if (!listener.ok()) return listener.status();
  listener_ = *std::move(listener);
  Tick();
  return loop_->Watch(listener_.get(), EPOLLIN, [this](uint32_t) { Accept(); });
}

StorageServer::~StorageServer() {
  *alive_ = false;
  if (listener_) loop_->Unwatch(listener_.get());
  sessions_.clear();
}

void StorageServer::Accept() {
  while (true) {
    bulk::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;
    if (sessions_.size() >= kMaxSessions) continue;  // closed: it will ask again
    if (endpoint_.tcp()) bulk::SetUpTcp(fd.get());
    const uint64_t id = next_session_++;
    auto session = std::make_unique<StorageSession>(id, this, std::move(fd));
    sessions_.emplace(id, std::move(session));
  }
}

void StorageServer::Tick() {
  const Time now = loop_->Now();
  std::erase_if(sessions_, [now](const auto& session) { return session.second->Overdue(now); });
  loop_->At(now + 10s, [this, alive = alive_] {
    if (*alive) Tick();
  });
}

StorageSession* StorageServer::Find(uint64_t session) {
  auto found = sessions_.find(session);
  return found == sessions_.end() ? nullptr : found->second.get();
}

void StorageServer::End(uint64_t session, const Status& why) {
  if (sessions_.erase(session) == 0 || why.code() != Code::kCorrupt || options_.log == nullptr)
    return;
  ++ended_;
  if (loop_->Now() < quiet_until_) return;
  quiet_until_ = loop_->Now() + 1min;
  options_.log->Warn("a storage connection was ended: " + why.message() + " (" +
                     std::to_string(ended_) + " so far; said once a minute)");
}

Result<Store*> StorageServer::FindUsed(const std::string& name, NodeId node) {
  if (stores_ == nullptr) return Status::Invalid("it keeps no segments: it only moves records");
  return stores_->FindUsed(name, node);
}

void StorageServer::Ended(Store* store) {
  if (--store->busy > 0 || store->waiting == 0) return;
  StorageSession* next = Find(std::exchange(store->waiting, 0));
  if (next != nullptr) next->StoreIsIdle();
}

}  // namespace holdfast::storage
