// SPDX-License-Identifier: Apache-2.0
#include "tests/origin/loop.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "tests/origin/origin.h"

namespace holdfast::origin {
namespace {

constexpr size_t kMaxHead = 64 * 1024;
constexpr size_t kMaxParts = 4;
constexpr uint64_t kMaxSend = 1 << 20;  // at once, so that connections take turns
constexpr int64_t kRefillUs = 2'000;
constexpr std::string_view kChunkEnd = "\r\n0\r\n\r\n";

int64_t NowUs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
}

void Watch(int epoll, int fd, uint32_t events, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  HF_CHECK(epoll_ctl(epoll, operation, fd, &event) == 0);
}

}  // namespace

OriginLoop::~OriginLoop() {
  for (auto& connection : connections_) {
    if (connection != nullptr) close(connection->fd);
  }
  for (int fd : {listener_, timer_, stop_, epoll_}) {
    if (fd >= 0) close(fd);
  }
}

Result<uint16_t> OriginLoop::Listen(uint16_t port) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  stop_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  setsockopt(listener_, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 1024) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return Status::Unavailable("the origin cannot listen on port " + std::to_string(port) + ": " +
                               std::strerror(errno));
  }
  for (int fd : {listener_, timer_, stop_}) Watch(epoll_, fd, EPOLLIN, EPOLL_CTL_ADD);
  return ntohs(address.sin_port);
}

void OriginLoop::Stop() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = write(stop_, &one, sizeof(one));
}

void OriginLoop::Run() {
  std::array<epoll_event, 256> events;
  while (true) {
    const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < n; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      const int fd = event.data.fd;
      if (fd == stop_) return;
      if (fd == listener_) {
        Accept();
      } else if (fd == timer_) {
        RunDue();
      } else if (auto& connection = connections_[static_cast<size_t>(fd)]; connection != nullptr) {
        if (connection->state == State::kSending) {
          Send(*connection);
        } else {
          OnReadable(*connection);
        }
      }
    }
  }
}

void OriginLoop::Accept() {
  while (true) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connections_.size() <= static_cast<size_t>(fd))
      connections_.resize(static_cast<size_t>(fd) + 1);
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    connection->id = next_id_++;
    connections_[static_cast<size_t>(fd)] = std::move(connection);
    Watch(epoll_, fd, EPOLLIN, EPOLL_CTL_ADD);
    origin_->connections_.fetch_add(1, std::memory_order_relaxed);
  }
}

void OriginLoop::OnReadable(Connection& connection) {
  std::array<char, 16 * 1024> buffer;
  const ssize_t n = recv(connection.fd, buffer.data(), buffer.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return Close(connection, false);
  connection.input.append(buffer.data(), static_cast<size_t>(n));
  if (connection.input.size() > kMaxHead) return Close(connection, false);
  if (connection.state == State::kReading) NextRequest(connection);
}

void OriginLoop::NextRequest(Connection& connection) {
  const size_t end = connection.input.find("\r\n\r\n");
  if (end == std::string::npos) return;
  Request request;
  if (!ParseRequest(std::string_view(connection.input).substr(0, end + 4), &request)) {
    return Close(connection, false);
  }
  connection.input.erase(0, end + 4);
  origin_->requests_.fetch_add(1, std::memory_order_relaxed);
  bool hang = false;
  connection.response = origin_->Answer(request, &hang);
  connection.sent = 0;
  if (hang) {
    connection.state = State::kHanging;
    return;
  }
  const Duration delay = origin_->options_.delay;
  if (delay.count() == 0) {
    connection.state = State::kSending;
    return Send(connection);
  }
  connection.state = State::kDelayed;
  due_.push({NowUs() + delay.count(), connection.fd, connection.id});
  ArmTimer();
}

size_t OriginLoop::Gather(Connection& connection, uint64_t most, iovec* parts) {
  const Response& response = connection.response;
  size_t count = 0;
  const auto add = [&](const void* data, size_t size) {
    parts[count++] = {const_cast<void*>(data), size};
  };
  uint64_t at = connection.sent;
  if (at < response.head.size()) {
    add(response.head.data() + at, response.head.size() - at);
    at = response.head.size();
  }
  at -= response.head.size();
  thread_local std::array<std::byte, kOwnBytes> own;
  while (at < response.send_bytes && most > 0 && count < kMaxParts) {
    uint64_t n = std::min(response.send_bytes - at, most);
    if (!response.content) {
      add(response.text.data() + at, n);
    } else {
      const uint64_t offset = response.offset + at;
      const auto wrong = static_cast<uint64_t>(response.wrong_at);
      const std::byte* data = own.data();
      if (response.wrong_at >= 0 && wrong == offset) {
        // The byte is sent alone and once, so it lies in a place of its own.
        thread_local std::byte inverted;
        response.content->Read(offset, {&inverted, 1});
        inverted = ~inverted;
        data = &inverted;
        n = 1;
      } else if (offset < kOwnBytes) {
        n = std::min(n, kOwnBytes - offset);
        response.content->Read(offset, std::span(own).first(n));
      } else {
        const ByteView run = response.content->Run(offset);
        n = std::min<uint64_t>(n, run.size());
        data = run.data();
      }
      if (response.wrong_at >= 0 && wrong > offset) n = std::min(n, wrong - offset);
      add(data, n);
    }
    at += n;
    most -= n;
  }
  if (response.chunked && at >= response.send_bytes && count < kMaxParts) {
    const uint64_t done = at - response.send_bytes;
    if (done < kChunkEnd.size()) add(kChunkEnd.data() + done, kChunkEnd.size() - done);
  }
  return count;
}

void OriginLoop::Send(Connection& connection) {
  while (true) {
    const uint64_t allowed = TakeAllowance(kMaxSend);
    if (allowed == 0) {
      WatchWrites(connection, false);
      connection.state = State::kDelayed;
      due_.push({NowUs() + kRefillUs, connection.fd, connection.id});
      return ArmTimer();
    }
    std::array<iovec, kMaxParts + 2> parts;
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = Gather(connection, allowed, parts.data());
    if (message.msg_iovlen == 0) {
      tokens_ += allowed;
      return FinishResponse(connection);
    }
    const ssize_t n = sendmsg(connection.fd, &message, MSG_NOSIGNAL);
    const uint64_t sent = n > 0 ? static_cast<uint64_t>(n) : 0;
    tokens_ += allowed - std::min(allowed, sent);
    if (n < 0 && errno == EAGAIN) return WatchWrites(connection, true);
    if (n < 0) return Close(connection, false);
    connection.sent += sent;
    origin_->body_bytes_.fetch_add(sent, std::memory_order_relaxed);
  }
}

void OriginLoop::FinishResponse(Connection& connection) {
  WatchWrites(connection, false);
  switch (connection.response.ending) {
    case Ending::kClose:
      return Close(connection, false);
    case Ending::kReset:
      return Close(connection, true);
    case Ending::kHang:
      connection.state = State::kHanging;
      return;
    case Ending::kKeepAlive:
      break;
  }
  connection.state = State::kReading;
  if (!connection.input.empty()) NextRequest(connection);
}

void OriginLoop::WatchWrites(Connection& connection, bool on) {
  if (connection.wants_write == on) return;
  connection.wants_write = on;
  Watch(epoll_, connection.fd, on ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

void OriginLoop::Close(Connection& connection, bool reset) {
  if (reset) {
    const linger now{.l_onoff = 1, .l_linger = 0};
    setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  }
  const auto index = static_cast<size_t>(connection.fd);
  close(connection.fd);
  connections_[index].reset();
}

OriginLoop::Connection* OriginLoop::Find(int fd, uint64_t id) {
  Connection* connection = connections_[static_cast<size_t>(fd)].get();
  return connection != nullptr && connection->id == id ? connection : nullptr;
}

void OriginLoop::ArmTimer() {
  if (due_.empty()) {
    armed_us_ = 0;
    return;
  }
  const int64_t when = std::max<int64_t>(due_.top().when_us, 1);
  if (armed_us_ != 0 && armed_us_ <= when) return;
  armed_us_ = when;
  itimerspec spec{};
  spec.it_value = {.tv_sec = when / 1'000'000, .tv_nsec = when % 1'000'000 * 1000};
  timerfd_settime(timer_, TFD_TIMER_ABSTIME, &spec, nullptr);
}

void OriginLoop::RunDue() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t ignored = read(timer_, &count, sizeof(count));
  armed_us_ = 0;
  const int64_t now = NowUs();
  while (!due_.empty() && due_.top().when_us <= now) {
    const Due due = due_.top();
    due_.pop();
    Connection* connection = Find(due.fd, due.id);
    if (connection == nullptr || connection->state != State::kDelayed) continue;
    connection->state = State::kSending;
    Send(*connection);
  }
  ArmTimer();
}

// A bucket that holds at most ten refills, so that a pause is not made up for.
uint64_t OriginLoop::TakeAllowance(uint64_t wanted) {
  const uint64_t rate = origin_->options_.rate_bytes_per_s;
  if (rate == 0) return wanted;
  const int64_t now = NowUs();
  const int64_t passed = std::min<int64_t>(now - refilled_us_, 10 * kRefillUs);
  const uint64_t fresh = rate * static_cast<uint64_t>(passed) / 1'000'000;
  if (fresh > 0) {
    tokens_ = std::min(tokens_ + fresh, rate * 10 * kRefillUs / 1'000'000 + 1);
    refilled_us_ = now;
  }
  const uint64_t taken = std::min(wanted, tokens_);
  tokens_ -= taken;
  return taken;
}

}  // namespace holdfast::origin
