// SPDX-License-Identifier: Apache-2.0
// A node with a journal that can be killed and started again.
#pragma once

#include <cstring>

#include "tests/unit/cached/fake_journal.h"
#include "tests/unit/cached/node_fixture.h"

namespace holdfast::cached {

class JournalTest : public NodeTest {
 protected:
  static constexpr uint64_t kMemory = 8 * kMiB;
  static constexpr uint32_t kCount = 200;

  void Begin() { Run(std::make_unique<World>(kMemory, options_)); }

  // As kill -9. `warm`: the memory is still there.
  void Restart(bool warm = true, Duration down = 1s) {
    std::unique_ptr<World> old = Kill();
    options_.boot_ahead += (old->clock.Now() - Time{1'000'000}) + down;
    auto world = std::make_unique<World>(kMemory, options_);
    if (warm) {
      std::memcpy(world->region.data(), old->region.data(), old->region.size());
      store::MemoryTierOptions tier;
      tier.memory_bytes = kMemory;
      tier.incarnation = incarnation_ + 1;
      world->tier = std::make_unique<store::MemoryTier>(world->region.span(), world->plan, tier,
                                                        world->sessions.get());
    }
    Run(std::move(world));
  }
  std::unique_ptr<World> Kill() {
    node_.reset();
    journal_.reset();
    return std::move(world_);
  }

  // A call of everything, confirmed as bid.
  const wire::Ack* Plan(const planner::Manifest& manifest, JobId job = 1, uint32_t call = 1) {
    world_->network.sent.clear();
    const wire::Bids* bids = Call(manifest, job, call);
    if (bids == nullptr || !bids->status.ok()) return nullptr;
    const Bitmap keep = Bitmap::FromBytes(bids->keep.view(), manifest.size());
    const Bitmap load = Bitmap::FromBytes(bids->load.view(), manifest.size());
    wire::Confirm confirm = ConfirmOf(manifest, keep, load, job, call);
    confirm.incarnation = incarnation_;
    world_->network.Deliver(kJobPeer, std::move(confirm));
    world_->clock.RunFor(2ms);
    return world_->network.Last<wire::Ack>();
  }

  NodeOptions options_ = [] {
    NodeOptions options;
    options.boot = 1;
    return options;
  }();
  FakeJournal::Image image_;
  std::unique_ptr<FakeJournal> journal_;
  Incarnation incarnation_ = 0;
  Status damaged_;

 private:
  void Run(std::unique_ptr<World> world) {
    world_ = std::move(world);
    journal_ = std::make_unique<FakeJournal>(&world_->clock, &image_);
    journal_->damaged = damaged_;
    NodeOptions options = world_->context->options;
    options.incarnation = ++incarnation_;
    node_ =
        std::make_unique<Node>(world_->env, world_->tier.get(), options, nullptr, journal_.get());
    node_->Start();
    world_->clock.RunFor(5ms);
  }
};

}  // namespace holdfast::cached
