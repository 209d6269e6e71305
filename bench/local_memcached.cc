// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>

#include "base/status.h"
#include "bench/local_system.h"

namespace holdfast::bench {
namespace {

constexpr char kProgram[] = "/usr/bin/memcached";
// Requests go out in two halves of a batch, so that the server works on one while the other is
// received.
constexpr size_t kHalf = kBatch / 2;

std::string KeyOf(bool large, uint32_t index) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx",
                static_cast<unsigned long long>(OidAt(large, index).lo));
  return text;
}

struct Address {
  std::string unix_path;  // empty: TCP on loopback
  uint16_t port = 0;
};

int Connected(const Address& to) {
  int fd;
  int result;
  if (!to.unix_path.empty()) {
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof(address.sun_path), "%s", to.unix_path.c_str());
    fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    result = ::connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address));
  } else {
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(to.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    result = ::connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address));
  }
  if (result == 0) return fd;
  ::close(fd);
  return -1;
}

// Received bytes: the rest of a value goes straight into its destination, and what follows it comes
// with the same call.
class Stream {
 public:
  explicit Stream(int fd) : fd_(fd), buffer_(256 * kKiB) {}
  ~Stream() { ::close(fd_); }
  void Write(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      HF_CHECK(n > 0);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  // Up to and without "\r\n"; valid until the next call.
  std::string_view Line() {
    while (true) {
      auto* found = static_cast<std::byte*>(::memchr(buffer_.data() + begin_, '\n', end_ - begin_));
      if (found != nullptr) {
        std::string_view line = AsText({buffer_.data() + begin_, found - 1});
        begin_ = static_cast<size_t>(found - buffer_.data()) + 1;
        return line;
      }
      Fill({});
    }
  }
  void Value(ByteSpan into) {
    size_t have = std::min(into.size(), end_ - begin_);
    std::memcpy(into.data(), buffer_.data() + begin_, have);
    begin_ += have;
    while (have < into.size()) have += Fill(into.subspan(have));
    while (end_ - begin_ < 2) Fill({});
    begin_ += 2;
  }

 private:
  // Returns how much went into `into`; the rest is in the buffer.
  size_t Fill(ByteSpan into) {
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ == buffer_.size()) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    struct iovec parts[2] = {{into.data(), into.size()},
                             {buffer_.data() + end_, buffer_.size() - end_}};
    ssize_t n =
        into.empty() ? ::recv(fd_, parts[1].iov_base, parts[1].iov_len, 0) : ::readv(fd_, parts, 2);
    HF_CHECK(n > 0);
    size_t direct = std::min(static_cast<size_t>(n), into.size());
    end_ += static_cast<size_t>(n) - direct;
    return direct;
  }

  int fd_;
  Buffer buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

class MemcachedClient : public LocalClient {
 public:
  explicit MemcachedClient(const Address& address) : stream_(Connected(address)) {}

  void Run(Read how, std::span<const uint32_t> which, Destination* into) override {
    size_t step = how == Read::kSingle1k ? 1 : kHalf;
    for (size_t at = 0; at < which.size(); at += step) {
      size_t n = std::min(step, which.size() - at);
      Ask(how, which.subspan(at, n));
      if (how == Read::kSingle1k || in_flight_.count != 0) {
        if (how == Read::kSingle1k) in_flight_ = {how, n, at};
        Take(into);
      }
      if (how != Read::kSingle1k) in_flight_ = {how, n, at};
    }
  }
  void Drain(Destination* into) override { Take(into); }

  void Store(bool large, uint32_t index, ByteView payload) {
    Stream& s = stream_;
    s.Write("set " + KeyOf(large, index) + " 0 0 " + std::to_string(payload.size()) +
            " noreply\r\n");
    s.Write(AsText(payload));
    s.Write("\r\n");
  }
  void WaitForStores() {
    stream_.Write("mn\r\n");
    HF_CHECK(stream_.Line() == "MN");
  }

 private:
  struct Flight {
    Read how = Read::kBatch1k;
    size_t count = 0;
    size_t place = 0;
  };
  void Ask(Read how, std::span<const uint32_t> which) {
    text_ = "get";
    for (uint32_t index : which) text_ += " " + KeyOf(IsLarge(how), index);
    text_ += "\r\n";
    stream_.Write(text_);
  }
  void Take(Destination* into) {
    for (size_t i = 0; i < in_flight_.count; ++i) {
      std::string_view line = stream_.Line();  // VALUE key flags bytes
      uint64_t bytes = 0;
      std::string_view number = line.substr(line.rfind(' ') + 1);
      std::from_chars(number.data(), number.data() + number.size(), bytes);
      ByteSpan place = into->At(in_flight_.how, in_flight_.place + i);
      HF_CHECK(line.starts_with("VALUE ") && bytes == place.size());
      stream_.Value(place);
    }
    if (in_flight_.count != 0) HF_CHECK(stream_.Line() == "END");
    in_flight_.count = 0;
  }

  Stream stream_;
  Flight in_flight_;
  std::string text_;
};

class Memcached : public LocalSystem {
 public:
  Memcached(const LocalSet& set, bool unix_socket) {
    if (unix_socket)
      address_.unix_path = "/tmp/holdfast-bench-" + std::to_string(::getpid()) + ".sock";
    if (!unix_socket) address_.port = FreePort();
    Start(set);
    Load(set);
  }
  ~Memcached() override {
    ::kill(process_, SIGTERM);
    ::waitpid(process_, nullptr, 0);
    if (!address_.unix_path.empty()) ::unlink(address_.unix_path.c_str());
  }
  std::string name() const override {
    return address_.unix_path.empty() ? "memcached, TCP" : "memcached, unix";
  }
  bool Can(Read how) const override { return how != Read::kView100k; }
  std::unique_ptr<LocalClient> Connect() override {
    return std::make_unique<MemcachedClient>(address_);
  }

 private:
  static uint16_t FreePort() {
    int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    HF_CHECK(::bind(fd, reinterpret_cast<struct sockaddr*>(&address), size) == 0);
    HF_CHECK(::getsockname(fd, reinterpret_cast<struct sockaddr*>(&address), &size) == 0);
    ::close(fd);
    return ntohs(address.sin_port);
  }

  // Its best settings: memory to spare, large pages (-L), a thread per client, a hash table that
  // need not grow, and no threads of its own that walk over the memory meanwhile.
  void Start(const LocalSet& set) {
    std::string megabytes = std::to_string(set.bytes() * 3 / 2 / kMiB + 256);
    std::string port = std::to_string(address_.port);
    process_ = ::fork();
    if (process_ == 0) {
      if (address_.unix_path.empty()) {
        ::execl(kProgram, kProgram, "-u", "root", "-m", megabytes.c_str(), "-I", "2m", "-t", "2",
                "-L", "-o", "hashpower=20,no_lru_crawler", "-l", "127.0.0.1", "-p", port.c_str(),
                "-U", "0", nullptr);
      } else {
        ::execl(kProgram, kProgram, "-u", "root", "-m", megabytes.c_str(), "-I", "2m", "-t", "2",
                "-L", "-o", "hashpower=20,no_lru_crawler", "-s", address_.unix_path.c_str(),
                nullptr);
      }
      ::_exit(127);
    }
    for (int i = 0; i < 5000; ++i) {
      int fd = Connected(address_);
      if (fd >= 0) {
        ::close(fd);
        return;
      }
      HF_CHECK(::waitpid(process_, nullptr, WNOHANG) == 0);
      ::usleep(1000);
    }
    HF_CHECK(false && "memcached does not answer");
  }
  void Load(const LocalSet& set) const {
    MemcachedClient client(address_);
    Buffer payload(set.large_bytes);
    for (uint32_t i = 0; i < set.small_count; ++i) {
      FillObject(false, i, payload.span().first(set.small_bytes));
      client.Store(false, i, payload.view().first(set.small_bytes));
    }
    for (uint32_t i = 0; i < set.large_count; ++i) {
      FillObject(true, i, payload.span());
      client.Store(true, i, payload.view());
    }
    client.WaitForStores();
  }

  Address address_;
  pid_t process_ = 0;
};

}  // namespace

std::unique_ptr<LocalSystem> StartMemcached(const LocalSet& set, bool unix_socket) {
  if (::access(kProgram, X_OK) != 0) return nullptr;
  return std::make_unique<Memcached>(set, unix_socket);
}

}  // namespace holdfast::bench
