// SPDX-License-Identifier: Apache-2.0
#include "io/net/zmq_monitor.h"

#include <sys/epoll.h>
#include <zmq.h>

#include <utility>

namespace holdfast::net {
namespace {

constexpr int kHandshakeFailed = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                                 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
constexpr int kEvents = kHandshakeFailed | ZMQ_EVENT_CONNECTED | ZMQ_EVENT_CONNECT_RETRIED |
                        ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED;
constexpr Duration kQuiet = 60s;

}  // namespace

Result<std::unique_ptr<ZmqMonitor>> ZmqMonitor::Start(EventLoop* loop, void* context,
                                                      ZmqSocket* socket, Side side,
                                                      std::string name, Duration handshake,
                                                      Log* log) {
  Result<ZmqSocket> events = ZmqSocket::Open(context, ZMQ_PAIR);
  if (!events.ok()) return events.status();
  events->Set(ZMQ_LINGER, 0);
  // A socket's descriptor is a name that no other open socket of the process has.
  std::string at = "inproc://monitor-" + std::to_string(socket->Fd());
  if (zmq_socket_monitor(socket->raw(), at.c_str(), kEvents) != 0) {
    return Status::Unavailable(std::string("a control socket cannot be watched: ") +
                               zmq_strerror(errno));
  }
  HF_CHECK(events->Connect(at) == 0);
  std::unique_ptr<ZmqMonitor> monitor(
      new ZmqMonitor(loop, socket, std::move(*events), side, std::move(name), handshake, log));
  HF_RETURN_IF_ERROR(
      loop->Watch(monitor->events_.Fd(), EPOLLIN, [m = monitor.get()](uint32_t) { m->ReadAll(); }));
  monitor->ReadAll();  // from here on the descriptor tells
  return monitor;
}

ZmqMonitor::ZmqMonitor(EventLoop* loop, ZmqSocket* watched, ZmqSocket events, Side side,
                       std::string name, Duration handshake, Log* log)
    : loop_(loop),
      watched_(watched),
      events_(std::move(events)),
      side_(side),
      name_(std::move(name)),
      handshake_(handshake),
      log_(log) {}

ZmqMonitor::~ZmqMonitor() {
  // In this order: ZeroMQ's threads would wait for ever to tell an event to nobody.
  zmq_socket_monitor(watched_->raw(), nullptr, 0);
  loop_->Unwatch(events_.Fd());
}

void ZmqMonitor::ReadAll() {
  std::vector<Buffer> parts;
  while (events_.Receive(&parts, 2) == ZmqSocket::Received::kMessage) {
    if (parts.empty() || parts[0].size() < sizeof(uint16_t)) continue;
    auto event = LoadAs<uint16_t>(parts[0].data());
    if ((event & kHandshakeFailed) != 0) ++refused_;
    side_ == Side::kClient ? OnClientEvent(event) : OnServerEvent(event);
  }
}

void ZmqMonitor::OnClientEvent(uint16_t event) {
  if (event == ZMQ_EVENT_CONNECTED) {
    connected_ = loop_->Now();
  } else if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
    if (state_ != State::kNew) log_->Info("connected to " + name_);
    state_ = State::kUp;
  } else if ((event & kHandshakeFailed) != 0) {
    OnFailedHandshake();
  } else if (event == ZMQ_EVENT_DISCONNECTED && state_ == State::kUp) {
    state_ = State::kDown;
    log_->Warn("the connection to " + name_ + " broke; it is tried again until it is there");
  } else if (event == ZMQ_EVENT_CONNECT_RETRIED && state_ == State::kNew) {
    state_ = State::kDown;
    log_->Warn("no connection to " + name_ +
               ": is a cached running there? It is tried again until it is there");
  }
}

// ZeroMQ's event is the same for a peer that hangs up and one that never speaks, such as a process
// that is stopped: only the time tells. Half of it, because we may be late.
void ZmqMonitor::OnFailedHandshake() {
  const bool silent = loop_->Now() - connected_ > handshake_ / 2;
  const State now = silent ? State::kSilent : State::kRefused;
  if (std::exchange(state_, now) == now) return;
  log_->Warn(name_ + (silent ? " takes the connection and does not answer: is the cached there "
                               "running? It is tried again until it answers"
                             : " refuses the connection: give both sides the same cluster key, and "
                               "check that this is the control address of a cached"));
}

void ZmqMonitor::OnServerEvent(uint16_t event) {
  if ((event & kHandshakeFailed) == 0 || loop_->Now() < quiet_until_) return;
  quiet_until_ = loop_->Now() + kQuiet;
  log_->Warn("a client of " + name_ +
             " was refused: it has another cluster key or none, or is no Holdfast program (" +
             std::to_string(refused_) + " so far; said once a minute)");
}

}  // namespace holdfast::net
