// SPDX-License-Identifier: Apache-2.0
// A writer's shelf in the real world: memory that a bulk server shows to the nodes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "io/bulk/bulk_server.h"
#include "wire/local_reader.h"
#include "wire/shelf.h"

namespace holdfast::client {

// The address at which nodes reach this process: loopback when all of them are on it, else that of
// the interface that leads to the first one that is not. kUnavailable when there is no way.
Result<std::string> ShelfAddress(const std::vector<std::string>& control_endpoints);

class ShelfHost {
 public:
  struct Options {
    std::string address;  // "tcp://10.0.0.5:0"
    std::string cluster{};
    bulk::Token token{};
    uint32_t places = 0;
    uint64_t place_bytes = 0;
    Log* log = nullptr;
  };
  // kDenied beyond loopback without a token, kNoSpace without memory.
  static Result<std::unique_ptr<ShelfHost>> Open(const Options& options);
  ~ShelfHost();
  ShelfHost(const ShelfHost&) = delete;

  stream::Shelf& shelf() { return *shelf_; }
  const std::string& endpoint() const { return server_->endpoints().front(); }

 private:
  ShelfHost() = default;

  int fd_ = -1;
  ByteSpan region_;
  Buffer session_;
  std::unique_ptr<stream::Shelf> shelf_;
  std::unique_ptr<LocalReader> reader_;
  std::unique_ptr<bulk::BulkServer> server_;
};

}  // namespace holdfast::client
