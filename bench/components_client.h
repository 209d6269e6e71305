// SPDX-License-Identifier: Apache-2.0
// The processes of bench/components, each pinned to one core: clients that put and get through the
// components of a node, and the storage server that has them when they are elsewhere. They are forked,
// so no thread may run in this process yet.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/units.h"

namespace holdfast::bench {

struct ComponentsSpec {
  std::string directory;  // of this client's files, when `storage` is empty
  std::string storage;    // the endpoint of a storage server
  std::string reclaim{};  // of who moves what reclaim keeps there; empty: the client
  uint32_t node = 0;      // the first of some numbers for its stores
  int core = 0;
  uint64_t objects = 0;    // to be read
  uint32_t in_flight = 0;  // puts
};

enum class Work : uint32_t { kPuts, kPutsAndReclaim, kGets, kCachedGets, kEnd };

// What one round was.
struct Outcome {
  uint64_t operations = 0;
  double seconds = 0;
  double p95_us = 0, p99_us = 0, p999_us = 0;
  double cpu_s = 0;    // of the client
  double hits = 0;     // share of gets
  double kept_mb = 0;  // written again by reclaim
  uint64_t moves_here = 0, moves_elsewhere = 0;
};

// Ends with the variable.
class ClientProcess {
 public:
  explicit ClientProcess(const ComponentsSpec& spec);
  ~ClientProcess();
  ClientProcess(const ClientProcess&) = delete;
  // Several may be begun at once, in different processes.
  void Begin(Work work, Duration span);
  Outcome Await();
  Outcome Run(Work work, Duration span) { return Begin(work, span), Await(); }

 private:
  pid_t pid_ = 0;
  int to_ = -1, from_ = -1;
};

// Of an empty directory: a reclaim worker.
class StorageProcess {
 public:
  StorageProcess(const std::string& directory, int core);
  ~StorageProcess();
  StorageProcess(const StorageProcess&) = delete;
  const std::string& endpoint() const { return endpoint_; }
  double CpuSeconds() const;

 private:
  pid_t pid_ = 0;
  std::string endpoint_;
};

}  // namespace holdfast::bench
