// SPDX-License-Identifier: Apache-2.0
// A whole node in the world of fixture.h, and a job's side of the protocol.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cached/node.h"
#include "tests/unit/cached/fixture.h"

namespace holdfast::cached {

inline constexpr PeerId kJobPeer = 7;
inline constexpr uint64_t kSize = 1000;

// A call for the whole list.
inline wire::Call CallFor(const planner::Manifest& manifest, JobId job, uint32_t call = 1) {
  Bitmap all(manifest.size(), true);
  wire::Call message;
  message.job = job;
  message.call = call;
  message.digest = manifest.digest();
  message.count = manifest.size();
  message.name_bytes = 64;
  message.hold = 60s;
  message.lease = 30s;
  message.offer = Buffer::CopyOf(all.bytes());
  message.home = Buffer::CopyOf(all.bytes());
  return message;
}

class NodeTest : public testing::Test {
 protected:
  void Start(uint64_t memory_bytes = 8 * kMiB, NodeOptions options = {},
             uint64_t index_objects = 0) {
    world_ = std::make_unique<World>(memory_bytes, options, index_objects);
    node_ = std::make_unique<Node>(world_->env, world_->tier.get(), world_->context->options);
    node_->Start();
  }

  void Check() {
    Status status = node_->CheckInvariants();
    EXPECT_TRUE(status.ok()) << status.ToString();
  }

  // Calls for `manifest`, sends the manifest when asked, and returns the bids of the first chunk.
  const wire::Bids* Call(const planner::Manifest& manifest, JobId job = 1, uint32_t call = 1,
                         bool dry = false) {
    wire::Call message = CallFor(manifest, job, call);
    message.dry_run = dry;
    world_->network.Deliver(kJobPeer, std::move(message));
    if (world_->network.Last<wire::NeedManifest>() != nullptr &&
        world_->network.Last<wire::Bids>() == nullptr) {
      SendManifest(manifest);
    }
    world_->clock.RunFor(1ms);
    return world_->network.Last<wire::Bids>();
  }

  void SendManifest(const planner::Manifest& manifest) {
    wire::Manifest message;
    message.digest = manifest.digest();
    message.columns.count = manifest.size();
    message.columns.size_width = manifest.size_width();
    message.columns.oids = Buffer::CopyOf(manifest.oid_column());
    message.columns.sizes = Buffer::CopyOf(manifest.size_column());
    message.columns.versions = Buffer::CopyOf(manifest.version_column());
    world_->network.Deliver(kJobPeer, std::move(message));
  }

  // Confirms exactly these bits; names are looked up among objects [0, 100'000).
  const wire::Ack* Confirm(const planner::Manifest& manifest, const Bitmap& keep,
                           const Bitmap& load, JobId job = 1, uint32_t call = 1,
                           bool wrong_names = false) {
    world_->network.Deliver(kJobPeer, ConfirmOf(manifest, keep, load, job, call, wrong_names));
    return world_->network.Last<wire::Ack>();
  }
  static wire::Confirm ConfirmOf(const planner::Manifest& manifest, const Bitmap& keep,
                                 const Bitmap& load, JobId job = 1, uint32_t call = 1,
                                 bool wrong_names = false) {
    std::map<Oid, uint32_t> numbers;
    for (uint32_t n = 0; n < 5000; ++n) numbers[OidOf(NameOfObject(n))] = n;
    std::string names, etags;
    std::vector<uint32_t> name_ends, etag_ends;
    load.ForEach([&](size_t i) {
      uint32_t n = numbers.at(manifest.oid(static_cast<uint32_t>(i)));
      names += wrong_names ? "file:///other" : NameOfObject(n);
      etags += EtagOfObject(n);
      name_ends.push_back(static_cast<uint32_t>(names.size()));
      etag_ends.push_back(static_cast<uint32_t>(etags.size()));
    });
    wire::Confirm message;
    message.job = job;
    message.call = call;
    message.incarnation = 1;
    message.count = manifest.size();
    message.keep = Buffer::CopyOf(keep.bytes());
    message.load = Buffer::CopyOf(load.bytes());
    message.names = Buffer::CopyOf(AsBytes(names));
    message.etags = Buffer::CopyOf(AsBytes(etags));
    message.name_ends = Buffer::CopyOf(std::as_bytes(std::span(name_ends)));
    message.etag_ends = Buffer::CopyOf(std::as_bytes(std::span(etag_ends)));
    return message;
  }

  nlohmann::json State() const { return nlohmann::json::parse(node_->StatusJson()); }
  wire::Progress Progress(JobId job = 1) {
    world_->network.Deliver(kJobPeer, wire::Heartbeat{.job = job, .lease = 30s});
    return *world_->network.Last<wire::Progress>();
  }
  static size_t BitsOf(const Buffer& buffer, size_t count) {
    return Bitmap::FromBytes(buffer.view(), count).Count();
  }

  std::unique_ptr<World> world_;
  std::unique_ptr<Node> node_;
};

}  // namespace holdfast::cached
