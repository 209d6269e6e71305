// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/collector.h"

#include <algorithm>
#include <utility>

#include "jobclient/client/parts.h"

namespace holdfast {
namespace {

std::vector<NodeId> NodesOf(const ClientOptions& options) {
  std::vector<NodeId> nodes;
  for (const ClientOptions::Node& node : options.nodes) nodes.push_back(node.id);
  return nodes;
}

}  // namespace

Result<Collected> SnapshotCollector::Collect(snapshot::Stamp stamp, Duration deadline, bool full) {
  Client::Parts& parts = *client_->parts_;
  const std::vector<NodeId> nodes = NodesOf(parts.options);
  if (nodes.empty()) return Status::Invalid("no nodes are configured: there is nothing to collect");
  const Time started = parts.loop->Now();
  client::Promised<client::Listings> arrived;
  parts.thread->Post([&] {
    client::AskForListings(parts.cluster.get(), nodes, log_->sequence(), started + deadline,
                           [&](client::Listings listings) { arrived.Set(std::move(listings)); });
  });
  const client::Listings listings = arrived.Wait();
  const Duration took = parts.loop->Now() - started;
  Result<Collected> collected = client::MakeFrame(nodes, listings, stamp, full, log_);
  if (collected.ok()) collected->took = took;
  return collected;
}

uint32_t SnapshotCollector::Broadcast(const Collected& collected,
                                      const std::function<std::vector<std::byte>()>& since_full,
                                      Duration deadline) {
  Client::Parts& parts = *client_->parts_;
  std::vector<NodeId> nodes = NodesOf(parts.options);
  std::erase_if(nodes, [&](NodeId node) {
    return std::find(collected.absent.begin(), collected.absent.end(), node) !=
           collected.absent.end();
  });
  client::Promised<uint32_t> all;
  parts.thread->Post([&] {
    client::BroadcastFrame(parts.cluster.get(), nodes, collected.frame, since_full,
                           parts.loop->Now() + deadline, [&](uint32_t have) { all.Set(have); });
  });
  return all.Wait();
}

}  // namespace holdfast
