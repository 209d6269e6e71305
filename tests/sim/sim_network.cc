// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_network.h"

#include <charconv>

#include "tests/sim/sim_bulk.h"

namespace holdfast::sim {

SimNetwork::SimNetwork(Fabric* fabric, ProcessId process, HostId host, const SimClock* clock,
                       std::string endpoint)
    : fabric_(fabric),
      process_(process),
      host_(host),
      clock_(clock),
      endpoint_(std::move(endpoint)) {
  fabric_->Join(process, this);
  if (!endpoint_.empty()) fabric_->Listen(endpoint_, process);
}

SimNetwork::~SimNetwork() {
  fabric_->Leave(process_);
  if (!endpoint_.empty() && fabric_->Listener(endpoint_) == process_) fabric_->Unlisten(endpoint_);
}

HostId SimNetwork::HostOf(const std::string& endpoint) {
  size_t dash = endpoint.find('-');
  HostId host = 0;
  if (dash != std::string::npos) {
    std::from_chars(endpoint.data() + dash + 1, endpoint.data() + endpoint.size(), host);
  }
  return host;
}

PeerId SimNetwork::Connect(const std::string& endpoint) {
  Fabric::Route route = {.connection = fabric_->NewConnection(),
                         .sender = process_,
                         .from = host_,
                         .to = HostOf(endpoint),
                         .to_listener = true,
                         .endpoint = endpoint,
                         .client = process_};
  PeerId peer = ++last_peer_;
  by_connection_[route.connection] = peer;
  peers_.emplace(peer, Peer{std::move(route), std::make_shared<Link>()});
  return peer;
}

void SimNetwork::Disconnect(PeerId peer) {
  auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  by_connection_.erase(it->second.route.connection);
  peers_.erase(it);
}

void SimNetwork::Send(const std::vector<PeerId>& peers, Frames frames) {
  for (PeerId peer : peers) {
    auto it = peers_.find(peer);
    if (it != peers_.end()) fabric_->Carry(it->second.route, it->second.link, frames);
  }
}

PeerId SimNetwork::PeerOf(const Fabric::Route& route) {
  if (auto it = by_connection_.find(route.connection); it != by_connection_.end())
    return it->second;
  if (!route.to_listener) return kNoPeer;  // the client has closed this connection
  Fabric::Route back = route;
  back.sender = process_;
  back.from = host_;
  back.to = route.from;
  back.to_listener = false;
  PeerId peer = ++last_peer_;
  by_connection_[route.connection] = peer;
  peers_.emplace(peer, Peer{std::move(back), std::make_shared<Link>()});
  return peer;
}

void SimNetwork::Receive(const Fabric::Route& route, Frames frames) {
  PeerId from = PeerOf(route);
  if (from != kNoPeer && handler_) handler_(from, std::move(frames));
}

void SimNetwork::BulkRead(const std::string& bulk_endpoint, BulkMode mode,
                          std::vector<BulkItem> items, Time deadline,
                          std::function<void(size_t, BulkOutcome)> each) {
  StartBulkRead(fabric_, {.client = process_,
                          .client_host = host_,
                          .server_host = HostOf(bulk_endpoint),
                          .endpoint = bulk_endpoint,
                          .mode = mode,
                          .items = std::move(items),
                          .deadline = clock_->WorldAt(deadline),
                          .each = std::move(each)});
}

}  // namespace holdfast::sim
