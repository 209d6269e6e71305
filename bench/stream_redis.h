// SPDX-License-Identifier: Apache-2.0
// Records through redis, as its users would: pipelined over a unix socket, the best of the commands
// that append.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::bench {

// RPUSH of many records a command and LRANGE; XADD of one record and XRANGE; APPEND of a buffer of
// records (whose ends redis does not know) and GETRANGE.
enum class RedisWay { kRpush, kXadd, kAppend };
const char* NameOf(RedisWay way);

class Redis {
 public:
  // Starts a server of its own, without persistence; ends this program with a message where it is
  // not installed. `directory` is for its socket.
  explicit Redis(const std::string& directory);
  ~Redis();
  Redis(const Redis&) = delete;

  void Clear();
  // `record(i)` for i in [0, count), all of `bytes`.
  using Record = std::function<std::string_view(uint64_t)>;
  void Append(RedisWay way, uint64_t count, uint64_t bytes, const Record& record);
  // Calls `take` with the records in order, or with pieces of their bytes when the way is kAppend. How
  // many bytes came.
  uint64_t Read(RedisWay way, uint64_t count, uint64_t bytes,
                const std::function<void(std::string_view)>& take);

 private:
  void Send(const std::string& bytes);
  void Receive();           // more into the buffer
  std::string_view Line();  // without its end; valid until the next call
  std::string_view Bulk();  // likewise
  void Header(std::string* out, size_t words);
  void Word(std::string* out, std::string_view word);

  pid_t pid_ = 0;
  int fd_ = -1;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
};

}  // namespace holdfast::bench
