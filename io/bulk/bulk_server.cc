// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/bulk_server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <thread>

#include "io/bulk/descriptors.h"
#include "io/bulk/mailbox.h"
#include "io/bulk/server_connection.h"

namespace holdfast::bulk {
namespace {

constexpr int kTickMs = 100;
constexpr uint32_t kExtraToRefuse = 64;  // connections over the limit that are still told why

// What an epoll event is about: small numbers are the worker's own, the others are connections.
constexpr uint64_t kMailboxEvent = 0;
constexpr uint64_t kFirstListener = 1;
constexpr uint64_t kFirstConnection = 1024;

// sendfile knows no MSG_NOSIGNAL: a reader that leaves must not end the process.
void BlockSigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

struct Listener {
  Endpoint endpoint;
  Fd fd;
  bool resting = false;  // out of descriptors: not asked again until the next tick
};

// One I/O thread and its connections.
class Worker {
 public:
  explicit Worker(ServerShared* shared)
      : shared_(shared),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        mailbox_(std::make_shared<Mailbox>()) {
    HF_CHECK(static_cast<bool>(epoll_));
    Watch(EPOLL_CTL_ADD, mailbox_->fd(), EPOLLIN, kMailboxEvent);
  }
  ~Worker() {
    mailbox_->Post([this] { stopping_ = true; });
    if (thread_.joinable()) thread_.join();
    mailbox_->Close();
  }

  // Before Run. `adopt` gives a new connection to one of the workers.
  void ListenOn(std::vector<Listener>* listeners, std::function<void(Fd, bool tcp)> adopt) {
    listeners_ = listeners;
    adopt_ = std::move(adopt);
    for (size_t i = 0; i < listeners->size(); ++i) {
      Watch(EPOLL_CTL_ADD, (*listeners)[i].fd.get(), EPOLLIN, kFirstListener + i);
    }
  }
  void Run() {
    thread_ = std::thread([this] { Loop(); });
  }
  // From any thread.
  void Adopt(Fd fd, bool tcp) {
    // std::function wants copies: the descriptor travels as a number.
    int number = fd.Release();
    if (!mailbox_->Post([this, number, tcp] { Open(Fd(number), tcp); })) close(number);
  }

 private:
  struct Held {
    std::unique_ptr<ServerConnection> connection;
    uint32_t events = 0;
  };

  void Loop();
  void Accept(Listener* listener, uint64_t number);
  void Open(Fd fd, bool tcp);
  void Handle(uint64_t number, uint32_t events);
  void Settle(std::map<uint64_t, Held>::iterator it, bool alive);
  void Tick();
  void Watch(int operation, int fd, uint32_t events, uint64_t number) {
    epoll_event event{.events = events, .data = {.u64 = number}};
    HF_CHECK(epoll_ctl(epoll_.get(), operation, fd, &event) == 0);
  }

  ServerShared* shared_;
  Fd epoll_;
  std::shared_ptr<Mailbox> mailbox_;
  std::vector<Listener>* listeners_ = nullptr;
  std::function<void(Fd, bool)> adopt_;
  std::map<uint64_t, Held> connections_;
  uint64_t next_connection_ = kFirstConnection;
  Time now_;
  Time next_tick_;
  bool listener_rests_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

void Worker::Loop() {
  ::pthread_setname_np(::pthread_self(), "bulk-server");
  BlockSigpipe();
  std::array<epoll_event, 64> events;
  while (!stopping_) {
    bool ticking = !connections_.empty() || listener_rests_;
    int n = epoll_wait(epoll_.get(), events.data(), events.size(), ticking ? kTickMs : -1);
    now_ = {MonotonicUs()};
    for (int i = 0; i < n; ++i) {
      uint64_t number = events[static_cast<size_t>(i)].data.u64;
      if (number == kMailboxEvent) {
        mailbox_->RunAll();
      } else if (number < kFirstConnection) {
        Accept(&(*listeners_)[number - kFirstListener], number);
      } else {
        Handle(number, events[static_cast<size_t>(i)].events);
      }
    }
    if (now_ >= next_tick_) Tick();
  }
  connections_.clear();
}

void Worker::Accept(Listener* listener, uint64_t number) {
  for (;;) {
    Fd fd(accept4(listener->fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      adopt_(std::move(fd), listener->endpoint.tcp());
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      if (shared_->log != nullptr) shared_->log->Warn("bulk: cannot accept: " + ErrnoText(errno));
      listener->resting = listener_rests_ = true;
      Watch(EPOLL_CTL_MOD, listener->fd.get(), 0, number);
    }
    return;
  }
}

void Worker::Open(Fd fd, bool tcp) {
  uint32_t open = shared_->connections.load(std::memory_order_relaxed);
  uint32_t limit = shared_->options.max_connections;
  if (open >= limit + kExtraToRefuse) return;
  Status refusal;
  if (open >= limit) {
    refusal = Status::NoSpace("this node serves " + std::to_string(limit) +
                              " bulk connections already; try later or raise its limit");
  }
  if (tcp) SetUpTcp(fd.get());
  uint64_t number = next_connection_++;
  auto done = [mailbox = mailbox_, worker = this, number](uint64_t miss,
                                                          ServerConnection::MissOutcome outcome) {
    mailbox->Post([worker, number, miss, outcome = std::move(outcome)] {
      auto it = worker->connections_.find(number);
      if (it == worker->connections_.end()) return;
      worker->Settle(it, it->second.connection->OnMissDone(miss, outcome, worker->now_));
    });
  };
  int raw = fd.get();
  auto connection = std::make_unique<ServerConnection>(std::move(fd), tcp, std::move(refusal),
                                                       shared_, std::move(done), now_);
  connections_.emplace(number, Held{std::move(connection), EPOLLIN});
  Watch(EPOLL_CTL_ADD, raw, EPOLLIN, number);
}

void Worker::Handle(uint64_t number, uint32_t events) {
  auto it = connections_.find(number);
  if (it == connections_.end()) return;  // ended by an earlier event of this round
  ServerConnection* connection = it->second.connection.get();
  bool alive = true;
  if (events & EPOLLOUT) alive = connection->OnWritable(now_);
  if (alive && (events & EPOLLIN)) alive = connection->OnReadable(now_);
  if (alive && (events & (EPOLLERR | EPOLLHUP)) && !(events & EPOLLIN)) alive = false;
  Settle(it, alive);
}

// Destroys a connection that is over, and waits for what the others want.
void Worker::Settle(std::map<uint64_t, Held>::iterator it, bool alive) {
  if (!alive) {
    connections_.erase(it);
    return;
  }
  ServerConnection* connection = it->second.connection.get();
  uint32_t events = (connection->wants_to_read() ? uint32_t{EPOLLIN} : 0u) |
                    (connection->wants_to_write() ? uint32_t{EPOLLOUT} : 0u);
  if (events == it->second.events) return;
  it->second.events = events;
  Watch(EPOLL_CTL_MOD, connection->fd(), events, it->first);
}

void Worker::Tick() {
  next_tick_ = now_ + std::chrono::milliseconds(kTickMs);
  for (auto it = connections_.begin(); it != connections_.end();) {
    auto current = it++;
    Settle(current, current->second.connection->OnTick(now_));
  }
  if (!std::exchange(listener_rests_, false)) return;
  for (size_t i = 0; i < listeners_->size(); ++i) {
    Listener& listener = (*listeners_)[i];
    if (!std::exchange(listener.resting, false)) continue;
    Watch(EPOLL_CTL_MOD, listener.fd.get(), EPOLLIN, kFirstListener + i);
  }
}

}  // namespace

struct BulkServer::Impl {
  ServerShared shared;
  std::vector<Listener> listeners;
  std::vector<std::string> endpoints;
  size_t next_worker = 0;                        // the accepting thread's
  std::vector<std::unique_ptr<Worker>> workers;  // last: they use the others

  Impl(BulkServerOptions options, LocalReader* reader, int region_fd, MissHandler on_miss, Log* log)
      : shared(std::move(options), reader, region_fd, std::move(on_miss), log) {}
};

BulkServer::BulkServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

BulkServer::~BulkServer() {
  impl_->workers.clear();
  for (Listener& listener : impl_->listeners) {
    if (listener.endpoint.tcp()) continue;
    unlink(reinterpret_cast<const sockaddr_un*>(&listener.endpoint.address)->sun_path);
  }
}

const std::vector<std::string>& BulkServer::endpoints() const { return impl_->endpoints; }

Result<std::unique_ptr<BulkServer>> BulkServer::Start(BulkServerOptions options,
                                                      LocalReader* reader, int region_fd,
                                                      MissHandler on_miss, Log* log) {
  if (options.threads == 0 || options.threads > 64) {
    return Status::Invalid("bulk threads: " + std::to_string(options.threads) +
                           " is not between 1 and 64");
  }
  if (options.endpoints.empty() || options.endpoints.size() > 16) {
    return Status::Invalid("a bulk server listens on 1 to 16 endpoints");
  }
  // Before anything stands in the file system.
  HF_RETURN_IF_ERROR(CheckDescriptors(2 * options.threads));
  auto impl =
      std::make_unique<Impl>(std::move(options), reader, region_fd, std::move(on_miss), log);
  const BulkServerOptions& have = impl->shared.options;
  for (const std::string& text : have.endpoints) {
    auto endpoint = ParseEndpoint(text);
    HF_RETURN_IF_ERROR(endpoint.status());
    if (!endpoint->local() && TokensEqual(have.token, Token{})) {
      return Status::Denied("bulk endpoint '" + text +
                            "' is not a loopback address; configure a cluster key first");
    }
    auto fd = Listen(&*endpoint);
    HF_RETURN_IF_ERROR(fd.status());
    impl->endpoints.push_back(endpoint->text);
    impl->listeners.push_back({.endpoint = *std::move(endpoint), .fd = *std::move(fd)});
  }
  for (uint32_t i = 0; i < have.threads; ++i) {
    impl->workers.push_back(std::make_unique<Worker>(&impl->shared));
  }
  Impl* raw = impl.get();
  impl->workers[0]->ListenOn(&impl->listeners, [raw](Fd fd, bool tcp) {
    raw->workers[raw->next_worker++ % raw->workers.size()]->Adopt(std::move(fd), tcp);
  });
  for (auto& worker : impl->workers) worker->Run();
  return std::unique_ptr<BulkServer>(new BulkServer(std::move(impl)));
}

BulkServerStats BulkServer::Stats() const {
  const ServerShared& s = impl_->shared;
  return {.connections = s.connections.load(),
          .refused = s.refused.load(),
          .items = s.items.load(),
          .hits = s.hits.load(),
          .bytes = s.bytes.load(),
          .misses = s.misses.load(),
          .places = s.places.load(),
          .timed_out = s.timed_out.load()};
}

}  // namespace holdfast::bulk
