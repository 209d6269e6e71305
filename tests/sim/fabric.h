// SPDX-License-Identifier: Apache-2.0
// The cables between hosts: who listens where, what is cut, and what happens to a control message
// on its way. Hosts are numbered; traffic inside a host is never cut or lost.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/env.h"
#include "tests/sim/world.h"
#include "wire/messages.h"

namespace holdfast::sim {

class SimNetwork;
class SimBulkServer;
using HostId = uint32_t;

// One direction of a control connection.
struct Link {
  uint32_t queued = 0;  // sent and not yet handled
  Time last_arrival{};  // later messages do not arrive before, unless they are reordered
};

// What checkers see: each control message when it is sent and when it is handled, just before.
// `message` is null for what does not decode.
struct Delivery {
  bool sent = false;  // leaves `from`; else it is handled by `to`
  ProcessId from = kWorld;
  ProcessId to = kWorld;
  bool garbled = false;
  const wire::Message* message = nullptr;
};

class Fabric {
 public:
  explicit Fabric(World* world) : world_(world), random_(world->Stream("fabric")) {}

  World* world() { return world_; }
  Random& random() { return random_; }
  void Join(ProcessId process, SimNetwork* network) { networks_[process] = network; }
  void Leave(ProcessId process) { networks_.erase(process); }
  SimNetwork* network(ProcessId process) const;

  void Listen(const std::string& endpoint, ProcessId process) { listeners_[endpoint] = process; }
  void Unlisten(const std::string& endpoint) { listeners_.erase(endpoint); }
  ProcessId Listener(const std::string& endpoint) const;
  void ListenBulk(const std::string& endpoint, SimBulkServer* server) { bulk_[endpoint] = server; }
  void UnlistenBulk(const std::string& endpoint) { bulk_.erase(endpoint); }
  SimBulkServer* BulkListener(const std::string& endpoint) const;

  // Nothing gets from `from` to `to` until Mend.
  void Cut(HostId from, HostId to) { cut_.insert({from, to}); }
  void Mend() { cut_.clear(); }
  bool IsCut(HostId from, HostId to) const { return from != to && cut_.contains({from, to}); }

  // Most messages that wait on one link.
  void set_queue_limit(uint32_t messages) { queue_limit_ = messages; }

  // Carries `frames` over connection `connection` from `sender` (to its listener, or back to the
  // client), or loses them.
  struct Route {
    uint64_t connection = 0;
    ProcessId sender = kWorld;
    HostId from = 0;
    HostId to = 0;
    bool to_listener = false;
    std::string endpoint;       // of the listener
    ProcessId client = kWorld;  // the other end
  };
  void Carry(const Route& route, const std::shared_ptr<Link>& link, const Frames& frames);
  uint64_t NewConnection() { return ++connections_; }

  void Observe(std::function<void(const Delivery&)> observer) { observer_ = std::move(observer); }
  uint64_t delivered() const { return delivered_; }
  uint32_t deepest_queue() const { return deepest_queue_; }

 private:
  Duration Latency(size_t bytes);
  void Launch(const Route& route, const std::shared_ptr<Link>& link, Frames frames, bool garbled);
  void Arrive(const Route& route, ProcessId meant_for, std::shared_ptr<void> slot, Frames frames,
              bool garbled);
  void HandOver(const Route& route, ProcessId to, Frames frames, bool garbled);
  void ShowObserver(Delivery delivery, const Frames& frames);
  Frames Garble(Frames frames);

  World* world_;
  Random random_;
  std::map<ProcessId, SimNetwork*> networks_;
  std::map<std::string, ProcessId> listeners_;
  std::map<std::string, SimBulkServer*> bulk_;
  std::set<std::pair<HostId, HostId>> cut_;
  std::function<void(const Delivery&)> observer_;
  uint64_t connections_ = 0;
  uint64_t delivered_ = 0;
  uint32_t queue_limit_ = 10'000;
  uint32_t deepest_queue_ = 0;
};

}  // namespace holdfast::sim
