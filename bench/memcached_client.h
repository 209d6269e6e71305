// SPDX-License-Identifier: Apache-2.0
// A client for memcached that is as good as ours: pipelined, many values per system call where they
// are small, received in place where they are large, verified with XXH3.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/units.h"
#include "bench/peer_node.h"

namespace holdfast::bench {

struct MemcachedOptions {
  uint32_t connections = 1;
  uint32_t window = 64;       // keys in flight, over all connections
  uint32_t keys_per_get = 1;  // of one "get" command
};

class MemcachedClient {
 public:
  MemcachedClient(const std::string& endpoint, MemcachedOptions options);
  ~MemcachedClient();

  // Stores the whole set.
  void Store(const ObjectSet& set);
  // Reads set[order[i]] for every i into one of `buffers`, over and over, and checks each against
  // hashes[order[i]].
  void Read(const ObjectSet& set, const std::vector<uint32_t>& order,
            const std::vector<ByteSpan>& buffers, const std::vector<uint64_t>& hashes);

 private:
  class Connection;
  MemcachedOptions options_;
  int epoll_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace holdfast::bench
