// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/client_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

#include "io/bulk/mailbox.h"

namespace holdfast::bulk {
namespace {

constexpr uint64_t kWatchedFd = 0;  // in epoll's data; others are connections
constexpr Duration kTick = std::chrono::milliseconds(250);  // connecting and idling for too long
constexpr Duration kOwedTick = std::chrono::milliseconds(20);
constexpr size_t kSmallestShare = 16;  // of a call, to one of several connections

void FailAll(size_t items, const Status& why,
             const std::function<void(size_t, BulkOutcome)>& each) {
  for (size_t i = 0; i < items; ++i) each(i, {.status = why, .version = 0, .size = 0, .hash = 0});
}

Status DeadlinePassed(const std::string& endpoint) {
  return Status::Timeout(endpoint + ": the deadline passed before the object was here");
}

}  // namespace

ClientLoop::ClientLoop(BulkClientOptions options)
    : options_(std::move(options)), epoll_(epoll_create1(EPOLL_CLOEXEC)), now_{MonotonicUs()} {
  HF_CHECK(static_cast<bool>(epoll_));
  options_.window_items = std::max(options_.window_items, 1u);
  options_.connections_per_endpoint = std::max(options_.connections_per_endpoint, 1u);
}

ClientLoop::~ClientLoop() {
  Status why = Status::Unavailable("the reader is shutting down");
  for (auto& [endpoint, node] : nodes_) {
    while (!node.connections.empty()) Break(&node, node.connections.back().get(), why);
    FailQueue(&node, why);
  }
}

void ClientLoop::Watch(int fd, std::function<void()> run) {
  on_watched_fd_ = std::move(run);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWatchedFd}};
  HF_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
}

// Writers of streams come and go, each at a port of its own.
void ClientLoop::ForgetIdle() {
  std::set<const Node*> busy;
  for (const auto& [number, open] : calls_) busy.insert(open.node);
  std::erase_if(nodes_, [&](const auto& entry) {
    const Node& node = entry.second;
    return node.connections.empty() && node.queue.empty() && now_ >= node.retry_at &&
           !busy.contains(&node);
  });
}

Result<ClientLoop::Node*> ClientLoop::NodeOf(const std::string& endpoint) {
  auto found = nodes_.find(endpoint);
  if (found != nodes_.end()) return &found->second;
  if (nodes_.size() >= options_.max_endpoints) ForgetIdle();
  if (nodes_.size() >= options_.max_endpoints) {
    return Status::NoSpace("bulk reads from more than " + std::to_string(options_.max_endpoints) +
                           " endpoints at a time");
  }
  auto parsed = ParseEndpoint(endpoint);
  HF_RETURN_IF_ERROR(parsed.status());
  Node* node = &nodes_[endpoint];
  node->endpoint = *std::move(parsed);
  next_tick_ = std::min(next_tick_, now_ + kTick);
  return node;
}

void ClientLoop::Submit(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                        Time deadline, std::function<void(size_t, BulkOutcome)> each,
                        std::function<void(size_t, disk::Place)> placed) {
  now_ = {MonotonicUs()};
  auto node = NodeOf(endpoint);
  Status refusal = node.status();
  if (items_left_ + items.size() > options_.max_queued_items) {
    refusal = Status::NoSpace("more than " + std::to_string(options_.max_queued_items) +
                              " bulk reads are queued");
  } else if (deadline <= now_) {
    refusal = DeadlinePassed(endpoint);
  } else if (refusal.ok() && (*node)->connections.empty() && now_ < (*node)->retry_at) {
    refusal = (*node)->last_error;
  }
  if (!refusal.ok() || items.empty()) return FailAll(items.size(), refusal, each);

  auto call = std::make_unique<ClientCall>();
  call->number = next_call_++;
  call->mode = mode;
  call->items = std::move(items);
  call->states.resize(call->items.size());
  call->deadline = deadline;
  call->each = std::move(each);
  call->placed = std::move(placed);
  call->left = call->items.size();
  call->items_left = &items_left_;
  call->queued = true;
  items_left_ += call->left;
  for (size_t i = 0; mode == BulkMode::kFetch && i < call->items.size(); ++i) {
    const BulkItem& item = call->items[i];
    if (item.name.size() <= kMaxBulkNameBytes && item.etag.size() <= kMaxBulkEtagBytes) continue;
    call->Finish(i, {.status = Status::Invalid("an object's name or ETag is too long"),
                     .version = 0,
                     .size = 0,
                     .hash = 0});
  }
  deadlines_.insert({deadline, call->number});
  (*node)->queue.push_back(call.get());
  uint64_t number = call->number;
  calls_[number] = {.node = *node, .call = std::move(call)};
  Serve(*node);
}

// The first call of the queue with items that were not asked for; nullptr when there is none.
ClientCall* ClientLoop::NextCall(Node* node) {
  while (!node->queue.empty()) {
    ClientCall* call = node->queue.front();
    if (!call->finished() && call->next < call->items.size()) return call;
    node->queue.pop_front();
    call->queued = false;
    Settle(call);
  }
  return nullptr;
}

// How many of the call's items one connection may take at a time.
size_t ClientLoop::ShareOf(const ClientCall& call) const {
  size_t left = call.items.size() - call.next;
  return std::max(kSmallestShare, left / options_.connections_per_endpoint);
}

// Asks for as much of the queue as the windows allow.
void ClientLoop::Serve(Node* node) {
  while (ClientCall* call = NextCall(node)) {
    bool may_connect = node->connections.size() < options_.connections_per_endpoint;
    ClientConnection* connection = Roomiest(node, *call);
    if (connection == nullptr) {
      if (may_connect && Connect(node)) continue;
      break;
    }
    if (connection->items_in_flight() > 0 && may_connect && Connect(node)) continue;
    connection->Ask(call, ShareOf(*call), now_);
  }
  FlushAll(node);
}

// The same for one connection, which flushes itself.
void ClientLoop::Refill(Node* node, ClientConnection* connection) {
  while (ClientCall* call = NextCall(node)) {
    if (!connection->HasRoom(*call)) return;
    connection->Ask(call, ShareOf(*call), now_);
  }
}

ClientConnection* ClientLoop::Roomiest(Node* node, const ClientCall& call) const {
  ClientConnection* best = nullptr;
  for (auto& connection : node->connections) {
    if (!connection->HasRoom(call)) continue;
    if (best == nullptr || connection->items_in_flight() < best->items_in_flight()) {
      best = connection.get();
    }
  }
  return best;
}

void ClientLoop::FlushAll(Node* node) {
  for (size_t i = 0; i < node->connections.size();) {
    ClientConnection* connection = node->connections[i].get();
    if (Status status = connection->Flush(now_); !status.ok()) {
      Break(node, connection, status);  // takes it out of the vector
      continue;
    }
    ++i;
    Watched& watched = watched_[connection->number()];
    uint32_t events = EPOLLIN | (connection->wants_to_write() ? uint32_t{EPOLLOUT} : 0u);
    if (watched.events == events) continue;
    watched.events = events;
    epoll_event event{.events = events, .data = {.u64 = connection->number()}};
    HF_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection->fd(), &event) == 0);
  }
}

bool ClientLoop::Connect(Node* node) {
  auto fd = Dial(node->endpoint);
  if (!fd.ok()) {
    CountFailure(node, fd.status());
    if (node->connections.empty()) FailQueue(node, fd.status());
    return false;
  }
  uint64_t number = next_connection_++;
  epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.u64 = number}};
  HF_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd->get(), &event) == 0);
  node->connections.push_back(std::make_unique<ClientConnection>(
      options_, node->endpoint, *std::move(fd), number, now_,
      [this](ClientCall* call) { Settle(call); },
      [this, node](ClientConnection* c) { Refill(node, c); }));
  watched_[number] = {node, node->connections.back().get(), event.events};
  return true;
}

void ClientLoop::CountFailure(Node* node, const Status& why) {
  Duration wait = options_.backoff_min * (1 << std::min(node->failures, 16));
  ++node->failures;
  node->retry_at = now_ + std::min(wait, options_.backoff_max);
  node->last_error = why;
}

std::unique_ptr<ClientConnection> ClientLoop::Drop(Node* node, ClientConnection* connection) {
  auto place = std::find_if(node->connections.begin(), node->connections.end(),
                            [&](const auto& c) { return c.get() == connection; });
  std::unique_ptr<ClientConnection> taken = std::move(*place);
  node->connections.erase(place);
  watched_.erase(taken->number());
  return taken;
}

void ClientLoop::Break(Node* node, ClientConnection* connection, const Status& why) {
  std::unique_ptr<ClientConnection> taken = Drop(node, connection);
  // A node that closes a connection on which nothing is awaited is no failure.
  if (!taken->open() || !taken->idle()) CountFailure(node, why);
  taken->Fail(why);
  if (node->connections.empty()) FailQueue(node, why);
}

void ClientLoop::FailQueue(Node* node, const Status& why) {
  auto queue = std::exchange(node->queue, {});
  for (ClientCall* call : queue) {
    call->queued = false;
    FinishRest(call, why);
    Settle(call);
  }
}

void ClientLoop::FinishRest(ClientCall* call, const Status& why) {
  call->next = call->items.size();
  for (size_t i = 0; i < call->items.size(); ++i) {
    if (call->states[i] & ClientCall::kDone) continue;
    call->Finish(i, {.status = why, .version = 0, .size = 0, .hash = 0});
  }
}

void ClientLoop::Settle(ClientCall* call) {
  if (!call->finished()) return;
  if (call->in_flight > 0 || call->queued) return;
  deadlines_.erase({call->deadline, call->number});
  calls_.erase(call->number);
}

void ClientLoop::RunOnce(Duration most) {
  now_ = {MonotonicUs()};
  Time until = std::min(now_ + std::max(most, Duration(0)), next_tick_);
  if (!deadlines_.empty()) until = std::min(until, deadlines_.begin()->first);
  auto wait_us = std::clamp<int64_t>((until - now_).count(), 0, 60'000'000);
  std::array<epoll_event, 64> events;
  int n = epoll_wait(epoll_.get(), events.data(), events.size(),
                     static_cast<int>((wait_us + 999) / 1000));
  now_ = {MonotonicUs()};
  for (int i = 0; i < n; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.u64 == kWatchedFd) {
      on_watched_fd_();
    } else {
      Handle(event.data.u64, event.events);
    }
  }
  Expire();
  if (now_ >= next_tick_) Tick();
}

void ClientLoop::Handle(uint64_t number, uint32_t events) {
  auto found = watched_.find(number);
  if (found == watched_.end()) return;  // broken by an earlier event of this round
  auto [node, connection, watched_events] = found->second;
  bool trouble = events & (EPOLLERR | EPOLLHUP);
  bool was_open = connection->open();
  Status status =
      connection->OnEvent(trouble || (events & EPOLLIN), trouble || (events & EPOLLOUT), now_);
  if (!status.ok()) {
    Break(node, connection, status);
  } else {
    if (!was_open && connection->open()) node->failures = 0;
    if (connection->owes_acknowledgement()) next_tick_ = std::min(next_tick_, now_ + kOwedTick);
  }
  Serve(node);
}

void ClientLoop::Expire() {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now_) {
    auto found = calls_.find(deadlines_.begin()->second);
    deadlines_.erase(deadlines_.begin());
    Node* node = found->second.node;
    ClientCall* call = found->second.call.get();
    for (auto& connection : node->connections) connection->LetGo(call);
    FinishRest(call, DeadlinePassed(node->endpoint.text));
    Settle(call);
    // Where nobody waits any more, the node is stuck or slow: a new connection is cheaper than what
    // is still to come.
    for (size_t i = node->connections.size(); i-- > 0;) {
      ClientConnection* connection = node->connections[i].get();
      if (!connection->idle() && !connection->AnyoneWaits()) {
        Drop(node, connection)->Fail(DeadlinePassed(node->endpoint.text));
      }
    }
    Serve(node);
  }
}

void ClientLoop::Tick() {
  next_tick_ = Time::Max();
  for (auto it = nodes_.begin(); it != nodes_.end();) {
    Node* node = &it->second;
    for (size_t i = node->connections.size(); i-- > 0;) {
      ClientConnection* connection = node->connections[i].get();
      Status status = connection->OnTick(now_);
      if (!status.ok()) Break(node, connection, status);
    }
    FlushAll(node);
    bool forgotten = node->connections.empty() && node->queue.empty() && now_ >= node->retry_at;
    it = forgotten ? nodes_.erase(it) : std::next(it);
  }
  if (!nodes_.empty()) next_tick_ = now_ + kTick;
}

}  // namespace holdfast::bulk
