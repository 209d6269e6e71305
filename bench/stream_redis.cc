// SPDX-License-Identifier: Apache-2.0
#include "bench/stream_redis.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace holdfast::bench {
namespace {

constexpr const char* kServer = "/usr/bin/redis-server";
constexpr size_t kBuffer = 4 << 20;
constexpr size_t kSendBytes = 1 << 20;       // of a pipeline before its answers are read
constexpr uint64_t kValueBytes = 256 << 20;  // of one string; redis allows 512 MiB

// Records of a pipeline.
uint64_t Together(uint64_t bytes) { return std::max<uint64_t>(1, kSendBytes / (bytes + 16)); }

[[noreturn]] void Die(const char* text) {
  std::fprintf(stderr, "bench_stream: %s\n", text);
  std::_Exit(3);
}

}  // namespace

const char* NameOf(RedisWay way) {
  constexpr const char* kNames[] = {"rpush", "xadd", "append"};
  return kNames[static_cast<size_t>(way)];
}

Redis::Redis(const std::string& directory) : buffer_(kBuffer) {
  if (::access(kServer, X_OK) != 0) Die("redis is not installed: apt-get install redis-server");
  const std::string path = directory + "/redis.sock";
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::execl(kServer, kServer, "--port", "0", "--unixsocket", path.c_str(), "--save", "",
            "--appendonly", "no", "--dir", directory.c_str(), "--loglevel", "warning", nullptr);
    std::_Exit(3);
  }
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  for (int tries = 0; tries < 1'000; ++tries) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return;
    ::close(fd_);
    ::usleep(10'000);
  }
  Die("redis did not start");
}

Redis::~Redis() {
  ::close(fd_);
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

// --- Its protocol --------------------------------------------------------------------------------

void Redis::Send(const std::string& bytes) {
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t n = ::write(fd_, bytes.data() + sent, bytes.size() - sent);
    if (n <= 0) Die("redis closed the connection");
    sent += static_cast<size_t>(n);
  }
}

void Redis::Receive() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
  const ssize_t n = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
  if (n <= 0) Die("redis closed the connection");
  end_ += static_cast<size_t>(n);
}

std::string_view Redis::Line() {
  size_t searched = 0;
  while (true) {
    const std::string_view have(buffer_.data() + begin_, end_ - begin_);
    const size_t at = have.find("\r\n", searched);
    if (at != std::string_view::npos) {
      begin_ += at + 2;
      if (have.front() == '-') Die(std::string(have.substr(0, at)).c_str());
      return have.substr(0, at);
    }
    searched = have.size() > 0 ? have.size() - 1 : 0;
    Receive();
  }
}

std::string_view Redis::Bulk() {
  const auto length = static_cast<size_t>(std::atoll(Line().data() + 1));
  while (end_ - begin_ < length + 2) Receive();
  const std::string_view value(buffer_.data() + begin_, length);
  begin_ += length + 2;
  return value;
}

void Redis::Header(std::string* out, size_t words) { *out += "*" + std::to_string(words) + "\r\n"; }

void Redis::Word(std::string* out, std::string_view word) {
  *out += "$" + std::to_string(word.size()) + "\r\n";
  *out += word;
  *out += "\r\n";
}

// --- Appends and reads ---------------------------------------------------------------------------

void Redis::Clear() {
  std::string out;
  Header(&out, 2);
  Word(&out, "FLUSHALL");
  Word(&out, "SYNC");
  Send(out);
  Line();
}

void Redis::Append(RedisWay way, uint64_t count, uint64_t bytes, const Record& record) {
  const uint64_t together = Together(bytes);  // two such pipelines are under way
  std::string out;
  size_t owed = 0;
  for (uint64_t first = 0; first < count; first += together) {
    const uint64_t n = std::min(together, count - first);
    out.clear();
    size_t answers = 1;
    if (way == RedisWay::kXadd) {
      answers = n;
      for (uint64_t i = 0; i < n; ++i) {
        Header(&out, 5);
        for (const char* word : {"XADD", "s", "*", "r"}) Word(&out, word);
        Word(&out, record(first + i));
      }
    } else if (way == RedisWay::kRpush) {
      Header(&out, 2 + n);
      Word(&out, "RPUSH");
      Word(&out, "s");
      for (uint64_t i = 0; i < n; ++i) Word(&out, record(first + i));
    } else {
      Header(&out, 3);
      Word(&out, "APPEND");
      Word(&out, "s" + std::to_string(first * bytes / kValueBytes));
      out += "$" + std::to_string(n * bytes) + "\r\n";
      for (uint64_t i = 0; i < n; ++i) out += record(first + i);
      out += "\r\n";
    }
    Send(out);
    for (; owed > 0; --owed) way == RedisWay::kXadd ? Bulk() : Line();
    owed = answers;
  }
  for (; owed > 0; --owed) way == RedisWay::kXadd ? Bulk() : Line();
}

uint64_t Redis::Read(RedisWay way, uint64_t count, uint64_t bytes,
                     const std::function<void(std::string_view)>& take) {
  const uint64_t together = Together(bytes);
  uint64_t got = 0;
  auto give = [&](std::string_view value) {
    got += value.size();
    take(value);
  };
  std::string from = "-";
  for (uint64_t first = 0; first < count;) {
    const uint64_t n = std::min(together, count - first);
    std::string out;
    if (way == RedisWay::kAppend) {
      const uint64_t value = first * bytes / kValueBytes;
      // Values begin with the chunk that was first over the mark.
      const uint64_t begin =
          (value * kValueBytes + bytes * together - 1) / (bytes * together) * together * bytes;
      Header(&out, 4);
      Word(&out, "GETRANGE");
      Word(&out, "s" + std::to_string(value));
      Word(&out, std::to_string(first * bytes - begin));
      Word(&out, std::to_string(first * bytes - begin + n * bytes - 1));
      Send(out);
      give(Bulk());
    } else if (way == RedisWay::kRpush) {
      Header(&out, 4);
      Word(&out, "LRANGE");
      Word(&out, "s");
      Word(&out, std::to_string(first));
      Word(&out, std::to_string(first + n - 1));
      Send(out);
      for (int64_t left = std::atoll(Line().data() + 1); left > 0; --left) give(Bulk());
    } else {
      Header(&out, 6);
      for (const char* word : {"XRANGE", "s"}) Word(&out, word);
      Word(&out, from);
      for (const char* word : {"+", "COUNT"}) Word(&out, word);
      Word(&out, std::to_string(n));
      Send(out);
      for (int64_t left = std::atoll(Line().data() + 1); left > 0; --left) {
        Line();  // an entry of two
        from = "(" + std::string(Bulk());
        Line();  // its one field
        Bulk();
        give(Bulk());
      }
    }
    first += n;
  }
  return got;
}

}  // namespace holdfast::bench
