// SPDX-License-Identifier: Apache-2.0
// A node among peers that have room, or need some.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/unit/cached/node_fixture.h"
#include "tests/unit/cached/store/fake_disk.h"
#include "tests/unit/cached/store/tier_fixture.h"

namespace holdfast::cached {

class SpillTest : public NodeTest {
 protected:
  ~SpillTest() override { node_.reset(); }  // before its disk
  static constexpr NodeId kPeers = 4;
  static constexpr uint64_t kBytes = 10'000;
  static constexpr PeerId ConnectionTo(NodeId node) { return 99 + node; }
  static constexpr PeerId InboundOf(NodeId node) { return 60 + node; }

  static NodeOptions Options() {
    NodeOptions options;
    for (NodeId node = 0; node <= kPeers; ++node)
      options.members.push_back({node, "tcp://node-" + std::to_string(node)});
    options.spill_peers = true;
    options.spill_bytes_per_s = 1'000'000'000;
    return options;
  }
  void StartNode(NodeOptions options = Options()) {
    Start(8 * kMiB, options);
    for (NodeId node = 1; node <= kPeers; ++node) {
      Greet(node, 0, 0);
      world_->network.Deliver(InboundOf(node),
                              wire::Hello{.cluster = "holdfast", .node = node, .incarnation = 5});
    }
    world_->network.peers_give = true;
  }
  void StartNodeWithDisk() {
    node_.reset();
    world_ = std::make_unique<World>(8 * kMiB, Options());
    disk_ = std::make_unique<store::FakeDisk>(&world_->clock, &image_);
    tier_ = std::make_unique<store::DiskTier>(
        world_->env, disk_.get(),
        store::DiskTierOptions{.identity = {0, "holdfast"}, .index_objects = 20'000});
    tier_->Recover([](const Status& status) { HF_CHECK(status.ok()); });
    world_->clock.RunFor(1s);
    node_ = std::make_unique<Node>(world_->env, world_->tier.get(), world_->context->options,
                                   tier_.get());
    node_->Start();
    for (NodeId node = 1; node <= kPeers; ++node) {
      Greet(node, 0, 0);
      world_->network.Deliver(InboundOf(node),
                              wire::Hello{.cluster = "holdfast", .node = node, .incarnation = 5});
    }
    world_->network.peers_give = true;
  }
  // A peer says how much room it has for guests.
  void Greet(NodeId node, uint64_t memory, uint64_t disk) {
    world_->network.Deliver(ConnectionTo(node),
                            wire::HelloReply{.node = node,
                                             .incarnation = 5,
                                             .capacity_bytes = world_->tier->Stats().object_bytes,
                                             .bulk_endpoint = "node " + std::to_string(node),
                                             .guest_bytes = memory,
                                             .guest_disk_bytes = disk});
  }
  // Own objects, `count` of them, each read once.
  void PutAndRead(uint32_t first, uint32_t count) {
    if (client_ == nullptr) {
      client_ = std::make_unique<store::Client>(1, world_->region.span(), world_->plan.segments,
                                                world_->sessions.get());
    }
    std::vector<std::byte> into(kBytes);
    for (uint32_t n = first; n < first + count; ++n) {
      world_->Put(n, kBytes);
      const ObjectKey key = KeyOfObject(n, kBytes);
      HF_CHECK((*client_)->Copy({key.oid, key.version, into}).code == Code::kOk);
    }
  }
  // Down to the low-water mark.
  void FillMemory() {
    for (uint32_t n = 0; world_->tier->Stats().free_segments > 3; ++n) PutAndRead(n, 1);
  }

  template <typename Message>
  std::vector<std::pair<PeerId, const Message*>> AllSent() const {
    std::vector<std::pair<PeerId, const Message*>> all;
    for (const RecordingNetwork::Sent& sent : world_->network.sent) {
      if (const Message* one = std::get_if<Message>(&sent.message)) all.emplace_back(sent.to, one);
    }
    return all;
  }

  // What another node gives: objects [first, first + count).
  static wire::SpillGive GiveOf(uint64_t id, uint32_t first, uint32_t count,
                                uint64_t size = kBytes) {
    std::vector<uint64_t> oids, versions, sizes;
    std::vector<uint32_t> ages, name_ends, etag_ends;
    std::string names, etags;
    for (uint32_t n = first; n < first + count; ++n) {
      const ObjectKey key = KeyOfObject(n, size);
      oids.insert(oids.end(), {key.oid.hi, key.oid.lo});
      versions.push_back(key.version);
      sizes.push_back(size);
      ages.push_back(5'000);
      names += NameOfObject(n);
      etags += EtagOfObject(n);
      name_ends.push_back(static_cast<uint32_t>(names.size()));
      etag_ends.push_back(static_cast<uint32_t>(etags.size()));
    }
    auto column = [](const auto& values) {
      return Buffer::CopyOf(std::as_bytes(std::span(values)));
    };
    return {.id = id,
            .oids = column(oids),
            .versions = column(versions),
            .sizes = column(sizes),
            .ages = column(ages),
            .name_ends = column(name_ends),
            .names = Buffer::CopyOf(AsBytes(names)),
            .etag_ends = column(etag_ends),
            .etags = Buffer::CopyOf(AsBytes(etags))};
  }
  const wire::SpillBid& Offer(NodeId from, uint64_t id, uint64_t bytes) {
    world_->network.Deliver(InboundOf(from),
                            wire::SpillOffer{.id = id, .bytes = bytes, .objects = 10});
    Check();
    return *world_->network.Last<wire::SpillBid>();
  }
  void Give(NodeId from, wire::SpillGive give) {
    world_->network.Deliver(InboundOf(from), std::move(give));
    Check();
    world_->clock.RunFor(10ms);
    Check();
  }
  bool InMemory(uint32_t n, uint64_t size = kBytes) const {
    const ObjectKey key = KeyOfObject(n, size);
    return world_->tier->Find(key.oid, key.version).has_value();
  }

  sim::DiskImage image_{16, 256 * kKiB};
  std::unique_ptr<store::FakeDisk> disk_;
  std::unique_ptr<store::DiskTier> tier_;
  std::unique_ptr<store::Client> client_;
};

}  // namespace holdfast::cached
