// SPDX-License-Identifier: Apache-2.0
// The protocol from the job's side against nodes by script.
#include "jobclient/job.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "fake_world.h"

namespace holdfast::jobclient {
namespace {

uint64_t Holders(const FakeWorld& world, const Oid& oid) {
  uint64_t n = 0;
  for (const auto& [id, node] : world.nodes) n += node->holds.contains(oid);
  return n;
}

TEST(Job, PlansAColdList) {
  FakeWorld world;
  world.AddNodes(3);
  const ObjectList list = FakeWorld::List(1000);
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok()) << report.status().ToString();
  EXPECT_EQ(report->objects, 1000u);
  EXPECT_EQ(report->load_objects, 1000u);
  EXPECT_EQ(report->kept_objects, 0u);
  EXPECT_EQ(report->far_objects, 0u);
  EXPECT_EQ(report->calls, 1u);
  EXPECT_EQ(report->bytes, job.manifest().total_bytes());
  EXPECT_EQ(report->load_bytes, report->bytes);
  EXPECT_EQ(report->manifest_bytes_sent, 3 * job.manifest().memory_bytes());
  EXPECT_LE(report->bids, 2000u);
  EXPECT_GE(report->bids, 1000u);
  uint64_t loads = 0;
  for (const auto& node : report->nodes) {
    EXPECT_TRUE(node.answered);
    EXPECT_GT(node.loads, 200u);
    loads += node.loads;
  }
  EXPECT_EQ(loads, 1000u);
  // The last load at the busiest node: 10 ms, and a millisecond for each object.
  EXPECT_GT(report->ready, 300ms);
  EXPECT_LT(report->ready, 600ms);
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(Holders(world, job.manifest().oid(i)), 1u);
  ExpectBooksAgree(world, job);
}

TEST(Job, KeepsWhatIsThereAndSendsNoManifestTwice) {
  FakeWorld world;
  world.AddNodes(3);
  const ObjectList list = FakeWorld::List(70'000, 10);  // two chunks
  JobOptions options = world.options();
  {
    Job first(world.env(), options);
    ASSERT_TRUE(PlanNow(world, first, list).ok());
    first.End();
    world.clock.RunFor(10ms);
  }
  world.clock.DropAll();
  options.reader = 1;
  Job job(world.env(), options);
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->kept_objects, 70'000u);
  EXPECT_EQ(report->load_objects, 0u);
  EXPECT_EQ(report->manifest_bytes_sent, 0u);
  EXPECT_LE(report->bids, 3 * 70'000u);  // one holder, one home, one more
  EXPECT_EQ(report->local_objects, report->nodes[1].keeps);
  EXPECT_GT(report->local_objects, 15'000u);
  ExpectBooksAgree(world, job);
}

TEST(Job, PositionsAreMappedToObjects) {
  FakeWorld world;
  world.AddNode(0);
  ObjectList list;
  for (const char* name : {"file:///b", "file:///a", "file:///b"})
    ASSERT_TRUE(list.Add(name, 5, EtagOf(name)).ok());
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->objects, 2u);
  EXPECT_EQ(job.IndexOf(0), job.IndexOf(2));
  EXPECT_NE(job.IndexOf(0), job.IndexOf(1));
  EXPECT_EQ(job.manifest().oid(job.IndexOf(1)), Hash128(AsBytes("file:///a")));
}

TEST(Job, NeedByFollowsTheOrderOfReading) {
  FakeWorld world;
  FakeNode& node = world.AddNode(0);
  const ObjectList list = FakeWorld::List(100);
  JobOptions options = world.options();
  for (uint32_t i = 0; i < 100; ++i) options.read_order.push_back(99 - i);
  Job job(world.env(), options);
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  for (uint32_t position = 0; position < 100; ++position) {
    EXPECT_EQ(node.need_by.at(job.IndexOf(position)), 99 - position);
  }
}

TEST(Job, RefusesListsThatCannotBePlanned) {
  ObjectList empty, no_size, two_versions, good;
  ASSERT_TRUE(no_size.Add("file:///a").ok());
  ASSERT_TRUE(two_versions.Add("file:///a", 1, "x").ok());
  ASSERT_TRUE(two_versions.Add("file:///a", 1, "y").ok());
  for (const ObjectList* list : {&empty, &no_size, &two_versions}) {
    FakeWorld world;
    world.AddNode(0);
    Job job(world.env(), world.options());
    Result<PlanReport> report = PlanNow(world, job, *list);
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.status().code(), Code::kInvalid);
    world.clock.RunFor(10s);
  }
  FakeWorld world;
  JobOptions options = world.options();
  options.read_order = {5};
  ASSERT_TRUE(good.Add("file:///a", 1, "x").ok());
  Job job(world.env(), options);
  EXPECT_EQ(PlanNow(world, job, good).status().code(), Code::kInvalid);
}

TEST(Job, WithoutAnyNodeEverythingIsFar) {
  FakeWorld world;
  world.AddNodes(2);
  for (auto& [id, node] : world.nodes) node->dead = true;
  const ObjectList list = FakeWorld::List(10);
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->far_objects, 10u);
  EXPECT_EQ(report->calls, 0u);
  EXPECT_EQ(job.FetcherOf(0), kNoNode);
  EXPECT_FALSE(report->nodes[0].answered);
}

TEST(Job, ANodeOfAnotherClusterIsNotWaitedFor) {
  FakeWorld world;
  world.AddNode(0);
  world.AddNode(1).hello_error = Status::Denied("cluster a is not cluster b");
  const ObjectList list = FakeWorld::List(10);
  Job job(world.env(), world.options());
  const Time before = world.clock.Now();
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->nodes[0].loads, 10u);
  EXPECT_LT(world.clock.Now() - before, 500ms);
}

TEST(Job, WhatOneNodeHasNoRoomForGoesToAnotherInASecondCall) {
  FakeWorld world;
  world.AddNodes(3);
  const ObjectList list = FakeWorld::List(3000, 100);
  for (auto& [id, node] : world.nodes) node->boast = 1 << 20;  // others took room since the hello
  world.node(0).free = 10'000;
  world.node(1).free = 100'000;
  world.node(2).free = 700'000;
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->load_objects, 3000u);
  EXPECT_GE(report->calls, 2u);
  EXPECT_LE(report->calls, 4u);
  ExpectBooksAgree(world, job);
}

TEST(Job, AFullClusterLeavesTheRestFarWithinItsRounds) {
  FakeWorld world;
  world.AddNodes(2);
  for (auto& [id, node] : world.nodes) node->free = 50'000;
  const ObjectList list = FakeWorld::List(1000, 100);
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_GT(report->far_objects, 300u);
  EXPECT_GT(report->load_objects, 400u);
  EXPECT_EQ(report->far_objects + report->load_objects, 1000u);
  EXPECT_LE(report->calls, 4u);
  ExpectBooksAgree(world, job);
}

TEST(Job, ObjectsOverEverySegmentAreCountedAndNotAskedFor) {
  FakeWorld world;
  world.AddNodes(2);
  for (auto& [id, node] : world.nodes) node->max_object = 50;
  const ObjectList list = FakeWorld::List(200, 100);
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_GT(report->too_large_objects, 50u);
  EXPECT_EQ(report->far_objects, report->too_large_objects);
  EXPECT_EQ(report->calls, 1u);
  const wire::Call& call = world.node(0).calls.at(1);
  EXPECT_EQ(Bitmap::FromBytes(call.asked.view(), 200).Count(), 200 - report->too_large_objects);
}

TEST(Job, ADryRunReservesNothing) {
  FakeWorld world;
  world.AddNodes(2);
  const ObjectList list = FakeWorld::List(500);
  JobOptions options = world.options();
  options.dry_run = true;
  Job job(world.env(), options);
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->load_objects, 500u);
  EXPECT_GT(report->ready, 10ms);
  world.clock.RunFor(30s);
  for (const auto& [id, node] : world.nodes) {
    EXPECT_TRUE(node->calls.at(1).dry_run);
    EXPECT_EQ(node->confirms_received, 0u);
    EXPECT_EQ(node->heartbeats, 0u);
  }
}

}  // namespace
}  // namespace holdfast::jobclient
