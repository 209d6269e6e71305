// SPDX-License-Identifier: Apache-2.0
// A node while it reads its journal, and one that cannot.
#include "tests/unit/cached/journal_fixture.h"

namespace holdfast::cached {
namespace {

TEST_F(JournalTest, WhatComesTooEarlyWaits) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));
  world_->clock.RunFor(5s);
  std::unique_ptr<World> old = Kill();
  world_ = std::make_unique<World>(kMemory, options_);
  journal_ = std::make_unique<FakeJournal>(&world_->clock, &image_);
  node_ = std::make_unique<Node>(world_->env, world_->tier.get(), world_->context->options, nullptr,
                                 journal_.get());
  node_->Start();
  Status got = Status::Unavailable("not yet");
  bulk::ReadMiss miss;
  miss.oid = KeyOfObject(9'000, kSize).oid;
  miss.version = KeyOfObject(9'000, kSize).version;
  miss.mode = BulkMode::kFetch;
  miss.size = kSize;
  miss.name = NameOfObject(9'000);
  miss.etag = EtagOfObject(9'000);
  node_->OnMiss(miss, [&](Status status) { got = std::move(status); });
  world_->network.Deliver(kJobPeer, wire::Heartbeat{.job = 1, .lease = 30s});
  EXPECT_EQ(world_->network.Last<wire::Progress>(), nullptr);
  world_->clock.RunFor(1s);
  ASSERT_NE(world_->network.Last<wire::Progress>(), nullptr);
  EXPECT_TRUE(world_->network.Last<wire::Progress>()->known);
  EXPECT_TRUE(got.ok()) << got.ToString();
  EXPECT_TRUE(Progress().known);
}

TEST_F(JournalTest, WhatADamagedJournalPromisedIsVoidAndItIsWrittenAnew) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));
  damaged_ = Status::Corrupt("torn");
  Restart();
  EXPECT_FALSE(Progress().known);
  EXPECT_EQ(State()["journal"]["failed"], false);
  EXPECT_NE(Plan(ManifestOf(0, kCount, kSize), 2), nullptr);
  world_->clock.RunFor(3s);
  damaged_ = {};
  Restart();
  EXPECT_FALSE(Progress(1).known);
  EXPECT_EQ(Progress(2).kept_objects, kCount);
  Check();
}

TEST_F(JournalTest, AJournalThatCannotBeReadMakesNoPromises) {
  Begin();
  Plan(ManifestOf(0, kCount, kSize));
  damaged_ = Status::Unavailable("Input/output error");
  Restart();
  EXPECT_FALSE(Progress().known);
  EXPECT_EQ(State()["journal"]["failed"], true);
  EXPECT_EQ(Plan(ManifestOf(0, kCount, kSize)), nullptr);
  Check();
}

}  // namespace
}  // namespace holdfast::cached
