// SPDX-License-Identifier: Apache-2.0
// The network of one simulated process: control messages over the fabric, bulk reads from the
// others' bulk servers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "tests/sim/fabric.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

class SimNetwork : public Network {
 public:
  // `endpoint` is empty for a process that does not listen.
  SimNetwork(Fabric* fabric, ProcessId process, HostId host, const SimClock* clock,
             std::string endpoint);
  ~SimNetwork() override;

  PeerId Connect(const std::string& endpoint) override;
  void Disconnect(PeerId peer) override;
  void Send(const std::vector<PeerId>& peers, Frames frames) override;
  void OnMessage(std::function<void(PeerId, Frames)> handler) override {
    handler_ = std::move(handler);
  }
  void BulkRead(const std::string& bulk_endpoint, BulkMode mode, std::vector<BulkItem> items,
                Time deadline, std::function<void(size_t, BulkOutcome)> each) override;

  // From the fabric.
  void Receive(const Fabric::Route& route, Frames frames);

  ProcessId process() const { return process_; }
  HostId host() const { return host_; }
  // Where host `endpoint` is: endpoints are "tcp://node-7:7070", and the number is the host's.
  static HostId HostOf(const std::string& endpoint);

 private:
  struct Peer {
    Fabric::Route route;
    std::shared_ptr<Link> link;
  };
  PeerId PeerOf(const Fabric::Route& route);

  Fabric* fabric_;
  ProcessId process_;
  HostId host_;
  const SimClock* clock_;
  std::string endpoint_;
  std::function<void(PeerId, Frames)> handler_;
  PeerId last_peer_ = kNoPeer;
  std::map<PeerId, Peer> peers_;
  std::map<uint64_t, PeerId> by_connection_;
};

}  // namespace holdfast::sim
