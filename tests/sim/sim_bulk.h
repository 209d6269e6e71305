// SPDX-License-Identifier: Apache-2.0
// Bulk reads: the server serves out of the node's segments by the rule of local reading, pins a
// record until its bytes are on the other side, and hands misses to the node; the client verifies
// XXH3 before it says that it has an object. A client on the node's own host reads the disk itself where
// the node has only told the place, some time later and with nothing to keep it, and asks for the bytes
// if they are not right.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "cached/node.h"
#include "tests/sim/disk_image.h"
#include "tests/sim/fabric.h"
#include "tests/sim/sim_memory.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

// One BulkRead of a client.
struct BulkRequest {
  ProcessId client = kWorld;
  HostId client_host = 0;
  HostId server_host = 0;
  std::string endpoint;
  BulkMode mode = BulkMode::kLook;
  std::vector<BulkItem> items;
  Time deadline{};  // of the world's time
  std::function<void(size_t, BulkOutcome)> each;
};

struct BulkTransfer;  // one BulkRequest under way

// Never calls `each` inside.
void StartBulkRead(Fabric* fabric, BulkRequest request);

// One per running daemon; it ends with the daemon.
class SimBulkServer {
 public:
  SimBulkServer(Fabric* fabric, ProcessId process, HostId host, std::string endpoint,
                std::shared_ptr<SessionFile> session, cached::Node* node,
                std::shared_ptr<const DiskImage> disk = nullptr);
  ~SimBulkServer();

  // On the server's process.
  void Serve(const std::shared_ptr<BulkTransfer>& transfer, size_t item);
  // A connection to this server: it breaks when the server ends.
  void Track(std::weak_ptr<BulkTransfer> transfer) { open_.push_back(std::move(transfer)); }

  ProcessId process() const { return process_; }
  HostId host() const { return host_; }
  // Misses that the node has not answered yet.
  size_t open_misses() const { return open_misses_->size(); }
  // The first of them, for people.
  std::string OldestMiss() const {
    return open_misses_->empty() ? "" : open_misses_->begin()->second;
  }

 private:
  void Look(const std::shared_ptr<BulkTransfer>& transfer, size_t item, int tries);
  void Miss(const std::shared_ptr<BulkTransfer>& transfer, size_t item, int tries);
  std::function<void(disk::Place)> OnDisk(const std::shared_ptr<BulkTransfer>& transfer,
                                          size_t item, std::function<void()> answered);
  void Send(const std::shared_ptr<BulkTransfer>& transfer, size_t item, LocalView view);

  Fabric* fabric_;
  World* world_;
  ProcessId process_;
  HostId host_;
  std::string endpoint_;
  std::shared_ptr<SessionFile> session_;
  cached::Node* node_;
  std::shared_ptr<const DiskImage> disk_;  // that readers on this host can read themselves; or null
  Random random_;
  using Misses = std::map<uint64_t, std::string>;  // what was asked, by number
  std::shared_ptr<Misses> open_misses_ = std::make_shared<Misses>();
  uint64_t last_miss_ = 0;
  std::vector<std::weak_ptr<BulkTransfer>> open_;
};

}  // namespace holdfast::sim
