// SPDX-License-Identifier: Apache-2.0
#include "bench/memcached_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>

#include "base/hash.h"

namespace holdfast::bench {
namespace {

constexpr size_t kStagingBytes = 128 * kKiB;
constexpr uint64_t kInPlaceBytes = 16 * kKiB;
constexpr size_t kAheadBytes = 64;  // about the line between two values

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "bench: memcached: %s\n", what.c_str());
  std::exit(1);
}

}  // namespace

// One connection. Values come in the order in which they were asked for.
class MemcachedClient::Connection {
 public:
  struct Wanted {
    ByteSpan into;
    uint64_t hash = 0;
    uint32_t ends = 0;  // "END" lines after it
  };

  explicit Connection(const std::string& endpoint) : staging_(kStagingBytes) {
    auto parsed = bulk::ParseEndpoint(endpoint);
    if (!parsed.ok()) Die(parsed.status().ToString());
    fd_ = bulk::Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd_.get(), reinterpret_cast<sockaddr*>(&parsed->address), parsed->length) != 0) {
      Die("cannot connect");
    }
    bulk::SetUpTcp(fd_.get());
  }
  int fd() const { return fd_.get(); }
  size_t in_flight() const { return wanted_.size(); }

  void SendAll(const void* data, size_t n) {
    auto* bytes = static_cast<const char*>(data);
    while (n > 0) {
      ssize_t sent = send(fd_.get(), bytes, n, MSG_NOSIGNAL);
      if (sent <= 0) Die("the connection broke");
      bytes += sent;
      n -= static_cast<size_t>(sent);
    }
  }
  void Append(std::string_view key, Wanted wanted, bool first, bool last) {
    out_ += first ? "get " : " ";
    out_ += key;
    if (last) out_ += "\r\n";
    wanted.ends = last ? 1 : 0;
    wanted_.push_back(wanted);
  }
  void Flush() {
    SendAll(out_.data(), out_.size());
    out_.clear();
  }
  // Takes what is there; how many values have ended.
  size_t Receive() {
    size_t ended = 0;
    for (bool more = true; more;) {
      more = Fill();
      while (Step(&ended)) {
      }
    }
    return ended;
  }

 private:
  // False when the socket has no more now.
  bool Fill() {
    if (end_ > begin_ && begin_ > 0) {
      std::memmove(staging_.data(), staging_.data() + begin_, end_ - begin_);
    }
    end_ -= std::exchange(begin_, 0);
    uint64_t missing = in_body_ ? wanted_.front().into.size() - taken_ : 0;
    std::array<iovec, 2> iov;
    int iovs = 0;
    bool in_place = missing >= kInPlaceBytes;
    if (in_place) iov[0] = {wanted_.front().into.data() + taken_, missing}, iovs = 1;
    size_t ahead = in_place ? kAheadBytes : staging_.size() - end_;
    iov[static_cast<size_t>(iovs++)] = {staging_.data() + end_, ahead};
    msghdr message{};
    message.msg_iov = iov.data();
    message.msg_iovlen = static_cast<size_t>(iovs);
    ssize_t n = recvmsg(fd_.get(), &message, MSG_DONTWAIT);
    if (n == 0) Die("the connection broke");
    if (n < 0) return false;
    auto got = static_cast<size_t>(n);
    bool full = got == ahead + (in_place ? missing : 0);
    if (in_place) {
      size_t placed = std::min<size_t>(got, missing);
      taken_ += placed;
      got -= placed;
    }
    end_ += got;
    return full;
  }
  // One step of the protocol out of the staging buffer; false when it takes more bytes.
  bool Step(size_t* ended) {
    std::string_view rest(staging_.data() + begin_, end_ - begin_);
    if (in_body_) {
      Wanted& wanted = wanted_.front();
      size_t n = std::min<uint64_t>(rest.size(), wanted.into.size() - taken_);
      if (n > 0) std::memcpy(wanted.into.data() + taken_, rest.data(), n);
      begin_ += n;
      taken_ += n;
      rest.remove_prefix(n);
      if (taken_ < wanted.into.size() || rest.size() < 2) return false;
      begin_ += 2;
      if (Hash64(wanted.into) != wanted.hash) Die("wrong bytes");
      in_body_ = false;
      ends_ += wanted.ends;
      wanted_.pop_front();
      ++*ended;
      return true;
    }
    size_t line = rest.find("\r\n");
    if (line == std::string_view::npos) return false;
    begin_ += line + 2;
    rest = rest.substr(0, line);
    if (rest == "END" && ends_ > 0) {
      --ends_;
      return true;
    }
    uint64_t bytes = 0;
    size_t last = rest.rfind(' ');
    if (!rest.starts_with("VALUE ") || last == std::string_view::npos) {
      Die("unexpected answer '" + std::string(rest.substr(0, 80)) + "'");
    }
    std::from_chars(rest.data() + last + 1, rest.data() + rest.size(), bytes);
    if (wanted_.empty() || bytes != wanted_.front().into.size()) Die("a value of another length");
    in_body_ = true;
    taken_ = 0;
    return true;
  }

  bulk::Fd fd_;
  std::string out_;
  std::vector<char> staging_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool in_body_ = false;
  uint64_t taken_ = 0;
  uint32_t ends_ = 0;
  std::deque<Wanted> wanted_;
};

MemcachedClient::MemcachedClient(const std::string& endpoint, MemcachedOptions options)
    : options_(options), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  for (uint32_t i = 0; i < options.connections; ++i) {
    connections_.push_back(std::make_unique<Connection>(endpoint));
    epoll_event event{.events = EPOLLIN, .data = {.u32 = i}};
    HF_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_[i]->fd(), &event) == 0);
  }
}

MemcachedClient::~MemcachedClient() { close(epoll_); }

void MemcachedClient::Store(const ObjectSet& set) {
  std::vector<std::byte> bytes(set.size);
  for (uint32_t i = 0; i < set.count; ++i) {
    set.Fill(i, bytes);
    std::string head = "set " + set.KeyOf(i) + " 0 0 " + std::to_string(set.size) + " noreply\r\n";
    connections_[0]->SendAll(head.data(), head.size());
    connections_[0]->SendAll(bytes.data(), bytes.size());
    connections_[0]->SendAll("\r\n", 2);
  }
}

void MemcachedClient::Read(const ObjectSet& set, const std::vector<uint32_t>& order,
                           const std::vector<ByteSpan>& buffers,
                           const std::vector<uint64_t>& hashes) {
  size_t next = 0;
  size_t done = 0;
  const size_t share = options_.window / options_.connections;
  // Buffers are a connection's own: one that lags must not find its buffer taken by another.
  const size_t own = buffers.size() / options_.connections;
  std::vector<size_t> asked(options_.connections);
  auto ask = [&](uint32_t c) {
    Connection* connection = connections_[c].get();
    size_t room = share - connection->in_flight();
    // Refills of a quarter of the window: fewer system calls on both sides.
    if (room < std::min(share / 4, order.size() - next)) return;
    for (size_t i = 0; i < room && next < order.size(); ++i, ++next) {
      bool first = i % options_.keys_per_get == 0;
      bool last = (i + 1) % options_.keys_per_get == 0 || i + 1 == room || next + 1 == order.size();
      ByteSpan into = buffers[c * own + asked[c]++ % own].first(set.size);
      connection->Append(set.KeyOf(order[next]), {.into = into, .hash = hashes[order[next]]}, first,
                         last);
    }
    connection->Flush();
  };
  for (uint32_t c = 0; c < options_.connections; ++c) ask(c);
  std::array<epoll_event, 16> events;
  while (done < order.size()) {
    int n = epoll_wait(epoll_, events.data(), events.size(), 10'000);
    if (n <= 0) Die("no answer");
    for (int i = 0; i < n; ++i) {
      uint32_t c = events[static_cast<size_t>(i)].data.u32;
      done += connections_[c]->Receive();
      ask(c);
    }
  }
}

}  // namespace holdfast::bench
