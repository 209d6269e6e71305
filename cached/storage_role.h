// SPDX-License-Identifier: Apache-2.0
// `cached --role storage`: keeps journals and segments for nodes without a disk for them. `cached --role
// reclaim`: moves records between such segments, and keeps nothing. No nodes of the cluster: they hold no
// objects of their own, and decide nothing.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "io/config/config_file.h"
#include "io/storage/storage_server.h"

namespace holdfast::cached {

struct StorageConfig {
  std::string cluster = "holdfast";
  std::string cluster_key_file;
  std::string endpoint = "tcp://127.0.0.1:7072";
  std::string directory;  // empty: a reclaim worker
  uint64_t limit = 0;
  uint64_t threads = 4;
  LogLevel log_level = LogLevel::kInfo;
};

// kInvalid names the key.
Result<StorageConfig> ReadStorageConfig(config::ConfigFile* file);
Result<StorageConfig> ReadWorkerConfig(config::ConfigFile* file);

class StorageRole {
 public:
  // Takes its directory and its port. The error says what is in the way and what to do.
  static Result<std::unique_ptr<StorageRole>> Open(const StorageConfig& config, Log* log);
  // Returns after SIGTERM or SIGINT.
  void Run();

 private:
  StorageRole() = default;

  Log* log_ = nullptr;
  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<storage::StorageServer> server_;
};

}  // namespace holdfast::cached
