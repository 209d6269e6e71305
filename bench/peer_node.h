// SPDX-License-Identifier: Apache-2.0
// The two servers of the peer benchmark as child processes: a node's memory tier behind a bulk
// server, and memcached.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"
#include "io/bulk/socket.h"

namespace holdfast::bench {

// The objects that both serve: `count` of `size` bytes each.
struct ObjectSet {
  uint64_t size = 0;
  uint32_t count = 0;
  uint64_t first = 0;  // their numbers are first, first + 1, ...

  Oid OidOf(uint32_t i) const;
  std::string KeyOf(uint32_t i) const;
  void Fill(uint32_t i, ByteSpan into) const;  // the only right bytes
};

// A child process that ends with its owner.
class Child {
 public:
  Child() = default;
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(Child&& o) noexcept : pid_(std::exchange(o.pid_, 0)) {}
  Child& operator=(Child&& o) noexcept {
    std::swap(pid_, o.pid_);
    return *this;
  }
  ~Child();
  double CpuSeconds() const;  // so far, all threads

 private:
  pid_t pid_ = 0;
};

// Forks: call it before there are threads. The objects are in the node's memory when it returns;
// `memory` says what that is made of.
Result<Child> StartNode(const std::vector<ObjectSet>& sets, std::string* endpoint,
                        std::string* memory);

// /usr/bin/memcached with `threads` threads on a free port of loopback, empty.
Result<Child> StartMemcached(uint32_t threads, uint64_t memory_bytes, std::string* endpoint);

}  // namespace holdfast::bench
