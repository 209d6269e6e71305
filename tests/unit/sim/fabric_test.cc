// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/fabric.h"

#include <gtest/gtest.h>

#include "tests/sim/sim_far_store.h"
#include "tests/sim/sim_network.h"

namespace holdfast::sim {
namespace {

// The first seed from `from` on that has no faults, or has some.
uint64_t SeedWith(bool faultless, uint64_t from = 1) {
  while (Faults(from).none() != faultless) ++from;
  return from;
}

struct Host {
  Host(Fabric* fabric, HostId id, const std::string& endpoint)
      : process(fabric->world()->Spawn("host-" + std::to_string(id))),
        clock(fabric->world(), process, {}),
        network(fabric, process, id, &clock, endpoint) {}
  ProcessId process;
  SimClock clock;
  SimNetwork network;
};

Frames Text(std::string_view text) {
  return {.head = Buffer::CopyOf(AsBytes(text)), .columns = {}};
}

TEST(Fabric, CarriesBothWaysInOrder) {
  World world(SeedWith(true));
  Fabric fabric(&world);
  Host node(&fabric, 1, "tcp://node-1:1");
  Host job(&fabric, 2, "");
  std::string heard;
  node.network.OnMessage(
      [&](PeerId from, Frames frames) { node.network.Send({from}, std::move(frames)); });
  job.network.OnMessage([&](PeerId, Frames frames) { heard += AsText(frames.head.view()); });
  PeerId peer = job.network.Connect("tcp://node-1:1");
  for (char c : std::string("abcdefgh")) job.network.Send({peer}, Text(std::string(1, c)));
  while (world.Step()) {
  }
  EXPECT_EQ(heard, "abcdefgh");
}

TEST(Fabric, ACutOneWayLosesOnlyThatWay) {
  World world(SeedWith(true));
  Fabric fabric(&world);
  Host node(&fabric, 1, "tcp://node-1:1");
  Host job(&fabric, 2, "");
  int asked = 0;
  int answered = 0;
  node.network.OnMessage([&](PeerId from, Frames frames) {
    ++asked;
    node.network.Send({from}, std::move(frames));
  });
  job.network.OnMessage([&](PeerId, Frames) { ++answered; });
  PeerId peer = job.network.Connect("tcp://node-1:1");
  fabric.Cut(1, 2);
  job.network.Send({peer}, Text("x"));
  while (world.Step()) {
  }
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(answered, 0);
  fabric.Mend();
  job.network.Send({peer}, Text("x"));
  while (world.Step()) {
  }
  EXPECT_EQ(answered, 1);
}

TEST(Fabric, AFullQueueLosesWhatComesLater) {
  World world(SeedWith(true));
  Fabric fabric(&world);
  fabric.set_queue_limit(3);
  Host node(&fabric, 1, "tcp://node-1:1");
  Host job(&fabric, 2, "");
  int heard = 0;
  node.network.OnMessage([&](PeerId, Frames) { ++heard; });
  PeerId peer = job.network.Connect("tcp://node-1:1");
  for (int i = 0; i < 10; ++i) job.network.Send({peer}, Text("x"));
  while (world.Step()) {
  }
  EXPECT_EQ(heard, 3);
  EXPECT_EQ(world.faults().counts()[static_cast<size_t>(Fault::kNetQueueFull)], 7u);
  job.network.Send({peer}, Text("x"));
  while (world.Step()) {
  }
  EXPECT_EQ(heard, 4);
}

TEST(FarWorld, BytesAreAFunctionOfNameVersionAndOffset) {
  std::vector<std::byte> whole(1000);
  FarWorld::Fill("u", 7, 0, whole);
  for (uint64_t offset : {1u, 7u, 8u, 13u, 500u}) {
    std::vector<std::byte> part(300);
    FarWorld::Fill("u", 7, offset, part);
    EXPECT_EQ(std::memcmp(part.data(), whole.data() + offset, part.size()), 0) << offset;
  }
  EXPECT_TRUE(FarWorld::Right("u", 7, whole));
  EXPECT_FALSE(FarWorld::Right("u", 8, whole));
  EXPECT_FALSE(FarWorld::Right("v", 7, whole));
  whole[999] ^= std::byte{1};
  EXPECT_FALSE(FarWorld::Right("u", 7, whole));
}

TEST(SimFarStore, GivesThePlannedVersionOrSaysThatItChanged) {
  World world(SeedWith(true));
  FarWorld far;
  FarObject& object = far.object(far.Add("s3+http://far/b/k", 100, "e1"));
  object.changes_at = Time{10'000'000};
  object.later = {.size = 100, .etag = "e2"};
  ProcessId process = world.Spawn("p");
  SimClock clock(&world, process, {});
  SimFarStore store(&world, &far, process, &clock);
  std::vector<std::byte> into(100);
  std::vector<Code> codes;
  auto get = [&](std::string etag) {
    store.Get({.uri = object.uri,
               .etag = std::move(etag),
               .length = 100,
               .into = into,
               .deadline = clock.Now() + 10s},
              [&](Status status, FarInfo info, uint64_t) {
                codes.push_back(status.code());
                if (status.ok()) {
                  EXPECT_TRUE(FarWorld::Right(object.uri, HashVersion(info.etag, info.size), into));
                }
              });
    while (world.Step()) {
    }
  };
  get("e1");
  world.At(Time{10'000'000}, kWorld, [] {});
  while (world.Step()) {
  }
  get("e1");
  get("");
  EXPECT_EQ(codes, (std::vector<Code>{Code::kOk, Code::kChanged, Code::kOk}));
  EXPECT_TRUE(store.FailedWith(object.uri, Code::kChanged));
  EXPECT_EQ(far.gets().size(), 2u);
}

TEST(Faults, EveryKindIsEnabledBySomeSeedAndSomeSeedsHaveNone) {
  std::array<int, kFaultKinds> enabled{};
  int none = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Faults faults(seed);
    none += faults.none() ? 1 : 0;
    for (size_t k = 0; k < kFaultKinds; ++k)
      enabled[k] += faults.enabled(static_cast<Fault>(k)) ? 1 : 0;
  }
  EXPECT_GT(none, 3);
  EXPECT_LT(none, 30);
  for (size_t k = 0; k < kFaultKinds; ++k)
    EXPECT_GT(enabled[k], 10) << NameOf(static_cast<Fault>(k));
}

}  // namespace
}  // namespace holdfast::sim
