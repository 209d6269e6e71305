// SPDX-License-Identifier: Apache-2.0
// A node with streams, and the sides of a writer and a reader.
#pragma once

#include "tests/unit/cached/node_fixture.h"
#include "tests/unit/cached/store/fake_disk.h"
#include "wire/stream_entry.h"

namespace holdfast::cached {

inline constexpr PeerId kWriterPeer = 9;
inline constexpr uint32_t kChunk = 50'000;

inline wire::StreamTerms Terms(uint64_t stream = 5) {
  return {.stream = stream,
          .memory_bytes = 1 * kMiB,
          .disk_bytes = 2 * kMiB,
          .writers = 1,
          .copies = 1,
          .expires_in = 60s};
}

// Bytes of value 7: the network of the fixture gives no others.
inline uint64_t HashOf(uint32_t bytes) {
  return Hash64(std::vector<std::byte>(bytes, std::byte{7}));
}

inline wire::StreamEntry Entry(uint32_t number, uint64_t writer = 3) {
  return wire::Sealed({.writer = writer,
                       .first_record = number * uint64_t{10},
                       .hash = 99,
                       .number = number,
                       .records = 10,
                       .bytes = 1'000,
                       .nodes = {0, kNoNode}});
}

class StreamsTest : public NodeTest {
 protected:
  ~StreamsTest() override { node_.reset(); }  // before its disk
  void StartWithDisk(uint32_t percent = 75) {
    NodeOptions options;
    options.stream_disk_percent = percent;
    node_.reset();
    world_ = std::make_unique<World>(8 * kMiB, options);
    disk_ = std::make_unique<store::FakeDisk>(&world_->clock, &image_);
    tier_ = std::make_unique<store::DiskTier>(
        world_->env, disk_.get(),
        store::DiskTierOptions{.identity = {0, "holdfast"}, .index_objects = 20'000});
    tier_->Recover([](const Status& status) { HF_CHECK(status.ok()); });
    world_->clock.RunFor(1s);
    world_->network.peers_give = true;
    node_ = std::make_unique<Node>(world_->env, world_->tier.get(), world_->context->options,
                                   tier_.get());
    node_->Start();
  }

  wire::StreamReply Open(const std::string& name, const wire::StreamTerms& terms,
                         bool create = true, uint64_t writer = 3) {
    world_->network.Deliver(kWriterPeer, wire::StreamOpen{.id = 1,
                                                          .name = name,
                                                          .terms = terms,
                                                          .create = create,
                                                          .writer = writer,
                                                          .lease = 10s});
    const auto* reply = world_->network.Last<wire::StreamReply>();
    return {.id = reply->id, .status = reply->status, .name = reply->name, .terms = reply->terms};
  }
  const wire::StreamAppended* Append(const std::vector<wire::StreamEntry>& entries,
                                     bool ended = false, uint64_t stream = 5) {
    world_->network.Deliver(
        kWriterPeer, wire::StreamAppend{.id = 2,
                                        .stream = stream,
                                        .writer = 3,
                                        .first = entries.empty() ? 0 : entries.front().number,
                                        .ended = ended,
                                        .lease = 10s,
                                        .entries = wire::RowsOf(std::span(entries))});
    return world_->network.Last<wire::StreamAppended>();
  }
  const wire::StreamReply* Query(uint64_t after = 0) {
    world_->network.Deliver(kJobPeer,
                            wire::StreamQuery{.id = 3, .name = "s", .stream = 0, .after = after});
    return world_->network.Last<wire::StreamReply>();
  }
  static wire::StreamWriterState WriterOf(const wire::StreamReply& reply) {
    return wire::RowsIn<wire::StreamWriterState>(reply.writers).at(0);
  }

  void SendKeep(uint32_t number, bool on_disk, uint32_t bytes = kChunk, uint64_t hash = 0,
                const wire::StreamTerms& terms = Terms()) {
    world_->network.Deliver(kWriterPeer, wire::StreamKeep{.id = 4,
                                                          .terms = terms,
                                                          .writer = 3,
                                                          .number = number,
                                                          .bytes = bytes,
                                                          .hash = hash != 0 ? hash : HashOf(bytes),
                                                          .on_disk = on_disk,
                                                          .shelf = "tcp://writer:1"});
  }
  const wire::StreamKept& Keep(uint32_t number, bool on_disk, uint32_t bytes = kChunk,
                               uint64_t hash = 0) {
    SendKeep(number, on_disk, bytes, hash);
    world_->clock.RunFor(10ms);
    Check();
    return *world_->network.Last<wire::StreamKept>();
  }
  static Oid OidOfChunk(uint32_t number) { return OidOf(wire::ChunkName(5, 3, number)); }
  bool InMemory(uint32_t number) const {
    return world_->tier->Find(OidOfChunk(number), HashOf(kChunk)).has_value();
  }
  Status Miss(uint32_t number) {
    bulk::ReadMiss miss;
    miss.oid = OidOfChunk(number);
    miss.version = HashOf(kChunk);
    std::optional<Status> got;
    node_->OnMiss(std::move(miss), [&](Status status) { got = std::move(status); });
    world_->clock.RunFor(100ms);
    HF_CHECK(got.has_value());
    return *got;
  }
  const wire::StreamDropped* Drop(const std::string& name, uint64_t stream = 0) {
    world_->network.Deliver(kJobPeer, wire::StreamDrop{.id = 5, .name = name, .stream = stream});
    world_->clock.RunFor(10ms);
    Check();
    return world_->network.Last<wire::StreamDropped>();
  }

  sim::DiskImage image_{16, 256 * kKiB};
  std::unique_ptr<store::FakeDisk> disk_;
  std::unique_ptr<store::DiskTier> tier_;
};

}  // namespace holdfast::cached
