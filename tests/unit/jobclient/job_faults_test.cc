// SPDX-License-Identifier: Apache-2.0
// The protocol from the job's side when messages are lost, nodes die and nobody keeps to the rules.
#include <gtest/gtest.h>

#include <algorithm>

#include "fake_world.h"
#include "jobclient/job.h"

namespace holdfast::jobclient {
namespace {

TEST(JobFaults, LostMessagesAreSentAgain) {
  FakeWorld world;
  world.AddNodes(3);
  world.node(0).lose_acks = 2;
  world.node(1).lose_bids = 1;
  const ObjectList list = FakeWorld::List(1000);
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->load_objects, 1000u);
  EXPECT_EQ(report->calls, 1u);
  EXPECT_EQ(world.node(0).confirms_received, 3u);
  EXPECT_EQ(world.node(1).calls_received, 2u);
  EXPECT_LT(report->planned_in, 5s);
  ExpectBooksAgree(world, job);
}

TEST(JobFaults, WhoNeverBidsOrNeverAcknowledgesIsReplaced) {
  for (bool bids : {false, true}) {
    FakeWorld world;
    world.AddNodes(3);
    (bids ? world.node(1).deaf_to_confirms : world.node(1).silent_calls) = true;
    const ObjectList list = FakeWorld::List(1000);
    Job job(world.env(), world.options());
    Result<PlanReport> report = PlanNow(world, job, list);
    ASSERT_TRUE(report.ok());
    EXPECT_EQ(report->load_objects, 1000u);
    EXPECT_EQ(report->nodes[1].loads, 0u);
    EXPECT_GE(report->planned_in, 5s);
    EXPECT_LT(report->planned_in, 12s);
    ExpectBooksAgree(world, job);
  }
}

// Its journal is away, say: what it had promised before is still read there.
TEST(JobFaults, WhoLivesAndCannotPromiseKeepsWhatItPromised) {
  FakeWorld world;
  world.AddNodes(3);
  const ObjectList list = FakeWorld::List(900);
  JobOptions options = world.options();
  options.lease = 10min;  // no heartbeat tells that it lives
  Job job(world.env(), options);
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  const uint64_t loads = job.Report().nodes[1].loads, calls = world.node(1).calls_received;
  ASSERT_GT(loads, 100u);
  world.node(1).deaf_to_confirms = true;
  world.node(2).dead = true;
  job.NodeFailed(2);
  for (int i = 0; i < 300; ++i) {
    world.clock.RunFor(50ms);
    ASSERT_NE(job.BulkEndpoint(1), nullptr);
    ASSERT_EQ(job.Report().nodes[1].loads, loads);
  }
  EXPECT_EQ(job.Report().nodes[0].loads, 900 - loads);
  EXPECT_LE(world.node(1).calls_received, calls + 1);
  ExpectBooksAgree(world, job);
  // It is asked again once it acknowledges anything, after the rest between searches.
  world.node(0).dead = true;
  job.NodeFailed(0);
  world.node(1).deaf_to_confirms = false;
  world.Deliver(1, wire::Ack{.job = job.id(),
                             .call = 2,
                             .incarnation = world.node(1).incarnation,
                             .tenancy = world.node(1).tenancy,
                             .first = 0,
                             .count = 900,
                             .refused = {}});
  world.clock.RunFor(80s);
  EXPECT_EQ(job.Report().nodes[1].loads, 900u);
  ExpectBooksAgree(world, job);
}

// Was: whoever lives and does not answer was left out, and nobody else was asked, when all that was
// asked for had been offered to it alone.
TEST(JobFaults, OneObjectIsAskedForElsewhereWhenWhoIsToHaveItDoesNotBid) {
  const ObjectList list = FakeWorld::List(300);
  for (uint32_t nth = 0; nth < 8; ++nth) {
    FakeWorld world;
    world.AddNodes(3);
    Job job(world.env(), world.options());
    ASSERT_TRUE(PlanNow(world, job, list).ok());
    world.node(2).dead = true;
    job.NodeFailed(2);
    world.clock.RunFor(30s);
    FakeNode& node = world.node(1);
    node.silent_calls = true;
    const uint32_t lost = *std::next(node.promised.begin(), nth);
    node.losses = {{lost, Code::kUnavailable, "503"}};
    node.promised.erase(lost);
    ASSERT_TRUE(world.clock.RunUntil([&] { return job.NodeOf(lost) == kNoNode; }));
    world.clock.RunFor(80s);
    EXPECT_EQ(job.NodeOf(lost), 0) << nth;
  }
}

TEST(JobFaults, WhoRefusesTheCallIsNotWaitedFor) {
  FakeWorld world;
  world.AddNodes(2);
  world.node(1).refuses_calls = true;
  const ObjectList list = FakeWorld::List(100);
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->nodes[0].loads, 100u);
  EXPECT_LT(report->planned_in, 1s);
}

TEST(JobFaults, RefusedObjectsGoIntoAnotherCall) {
  FakeWorld world;
  world.AddNodes(2);
  const ObjectList list = FakeWorld::List(100);
  for (int i = 0; i < 100; ++i) {
    const Oid oid = Hash128(AsBytes(list.item(static_cast<size_t>(i)).uri));
    world.node(0).holds.insert(oid);
    world.node(0).refuses.insert(oid);  // gone by the time of the confirm
  }
  Job job(world.env(), world.options());
  Result<PlanReport> report = PlanNow(world, job, list);
  ASSERT_TRUE(report.ok());
  EXPECT_GE(report->calls, 2u);
  EXPECT_LE(report->calls, 4u);
  EXPECT_EQ(report->nodes[0].keeps, 0u);
  ExpectBooksAgree(world, job);
}

TEST(JobFaults, ADeadNodesObjectsAreAskedForElsewhereInTheBackground) {
  FakeWorld world;
  world.AddNodes(3);
  const ObjectList list = FakeWorld::List(900);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  const uint64_t lost = job.Report().nodes[1].loads;
  ASSERT_GT(lost, 100u);
  world.node(1).dead = true;
  world.clock.RunFor(20s);
  PlanReport report = job.Report();
  EXPECT_EQ(report.nodes[1].loads, 0u);
  EXPECT_EQ(report.load_objects + report.kept_objects, 900u);
  EXPECT_EQ(report.calls, 2u);
  EXPECT_EQ(job.BulkEndpoint(1), nullptr);
  // Only what was lost was asked for.
  const wire::Call& call = world.node(0).calls.rbegin()->second;
  EXPECT_EQ(Bitmap::FromBytes(call.asked.view(), 900).Count(), lost);
  ExpectBooksAgree(world, job);
}

TEST(JobFaults, WhatWasReadIsNotAskedForAgain) {
  FakeWorld world;
  world.AddNodes(2);
  const ObjectList list = FakeWorld::List(900);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  for (uint32_t i = 0; i < 450; ++i) job.MarkRead(i);
  world.node(1).dead = true;
  job.NodeFailed(1);
  world.clock.RunFor(5s);
  for (uint32_t i = 0; i < 900; ++i) {
    if (i >= 450) {
      EXPECT_EQ(job.NodeOf(i), 0);
    }
  }
  EXPECT_GT(job.Report().far_objects, 100u);
}

TEST(JobFaults, ANodeThatOnlyHiccupedGetsItsPromisesBack) {
  FakeWorld world;
  world.AddNodes(2);
  const ObjectList list = FakeWorld::List(900);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  const uint64_t loads = job.Report().nodes[1].loads;
  job.NodeFailed(1);
  EXPECT_EQ(job.BulkEndpoint(1), nullptr);
  EXPECT_EQ(job.Report().nodes[1].loads, 0u);
  world.clock.RunFor(10ms);
  EXPECT_NE(job.BulkEndpoint(1), nullptr);
  EXPECT_EQ(job.Report().nodes[1].loads, loads);
  world.clock.RunFor(5s);
  EXPECT_EQ(job.Report().calls, 1u);
  // The second failure keeps it away for longer than its answer takes.
  job.NodeFailed(1);
  world.clock.RunFor(10ms);
  EXPECT_EQ(job.BulkEndpoint(1), nullptr);
  world.clock.RunFor(5s);
  EXPECT_NE(job.BulkEndpoint(1), nullptr);
}

TEST(JobFaults, ARestartedNodeHasPromisedNothing) {
  FakeWorld world;
  world.AddNodes(2);
  const ObjectList list = FakeWorld::List(900);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  world.clock.RunFor(4s);  // a heartbeat: seven far requests each
  EXPECT_EQ(job.ClusterProgress().far_requests, 14u);
  FakeNode& node = world.node(1);
  node.incarnation = node.tenancy = 5555;
  node.holds.clear();
  node.promised.clear();
  node.calls.clear();
  node.free = 1 << 30;
  world.clock.RunFor(10s);
  PlanReport report = job.Report();
  EXPECT_EQ(report.load_objects + report.kept_objects, 900u);
  EXPECT_EQ(report.nodes[1].incarnation, 5555u);
  EXPECT_EQ(report.calls, 2u);
  EXPECT_EQ(job.ClusterProgress().far_requests,
            21u);  // what the first incarnation spent stays counted
  ExpectBooksAgree(world, job);
}

TEST(JobFaults, ARestartedNodeThatKnowsItsPromisesIsNotCalledAgain) {
  FakeWorld world;
  world.AddNodes(2);
  const ObjectList list = FakeWorld::List(900);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  world.clock.RunFor(4s);
  FakeNode& node = world.node(1);
  node.incarnation = 5555;  // with the tenancy of before
  const uint64_t beats = node.heartbeats;
  ASSERT_TRUE(world.clock.RunUntil([&] { return node.heartbeats == beats + 1; }));
  const uint32_t lost = *node.promised.begin();
  node.losses = {{lost, Code::kNotFound, "it was lost"}};
  node.promised.erase(lost);
  world.clock.RunFor(10s);
  PlanReport report = job.Report();
  EXPECT_EQ(report.nodes[1].incarnation, 5555u);
  EXPECT_EQ(report.load_objects + report.kept_objects, 899u);  // and that one is hopeless
  EXPECT_EQ(report.calls, 1u);
  EXPECT_EQ(job.NodeOf(lost), kNoNode);
  // Another tenancy: it has begun anew in between.
  node.tenancy = 77;
  node.promised.clear();
  world.clock.RunFor(10s);
  report = job.Report();
  EXPECT_EQ(report.calls, 2u);
  EXPECT_EQ(report.load_objects + report.kept_objects, 899u);
}

TEST(JobFaults, ANodeThatForgotTheJobIsCalledAgain) {
  FakeWorld world;
  world.AddNodes(2);
  const ObjectList list = FakeWorld::List(100);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  world.node(1).forgets_job = true;
  world.node(1).promised.clear();
  ASSERT_TRUE(world.clock.RunUntil([&] { return world.node(1).heartbeats == 1; }));
  world.node(1).forgets_job = false;
  world.clock.RunFor(2s);
  EXPECT_EQ(job.Report().calls, 2u);
  EXPECT_EQ(job.Report().far_objects, 0u);
  ExpectBooksAgree(world, job);
}

TEST(JobFaults, LostLoadsAreSoughtAgainOnceAndNotAtAllWhenTheObjectIsGone) {
  FakeWorld world;
  FakeNode& node = world.AddNode(0);
  const ObjectList list = FakeWorld::List(100);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  node.losses = {{.index = 3, .code = Code::kNotFound, .text = "gone"},
                 {.index = 4, .code = Code::kUnavailable, .text = "503"},
                 {.index = 4'000'000, .code = Code::kUnavailable, .text = "hostile"}};
  world.clock.RunFor(5s);
  EXPECT_EQ(job.NodeOf(3), kNoNode);
  EXPECT_EQ(job.NodeOf(4), 0);
  EXPECT_EQ(job.Report().calls, 2u);
  node.losses = {{.index = 4, .code = Code::kUnavailable, .text = "503"}};
  world.clock.RunFor(10s);
  EXPECT_EQ(job.NodeOf(4), kNoNode);  // the second loss: left to the reader
  EXPECT_EQ(job.Report().calls, 2u);
  EXPECT_EQ(job.FetcherOf(4), 0);
}

// Was: between the second promise and the first word about it all seemed to be loaded.
TEST(JobFaults, LoadsHaveNotEndedBeforeWhoPromisedAgainSaysSo) {
  FakeWorld world;
  FakeNode& node = world.AddNode(0);
  const ObjectList list = FakeWorld::List(100);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  const Time since = world.clock.Now();
  const auto ended = [&] { return job.LoadsEndedSince(since); };
  EXPECT_FALSE(ended());
  job.AskProgress();
  ASSERT_TRUE(world.clock.RunUntil(ended, 1s));
  node.losses = {{.index = 4, .code = Code::kUnavailable, .text = "503"}};
  job.AskProgress();
  ASSERT_TRUE(world.clock.RunUntil([&] { return job.Report().calls == 2; }, 1s));
  ASSERT_EQ(job.NodeOf(4), 0);
  EXPECT_FALSE(ended());
  world.clock.RunFor(10ms);
  EXPECT_FALSE(ended());
  job.AskProgress();
  EXPECT_TRUE(world.clock.RunUntil(ended, 1s));
}

TEST(JobFaults, ALateNodeJoinsAndTakesWhatNobodyHadRoomFor) {
  FakeWorld world;
  world.AddNode(0).free = 10'000;
  world.AddNode(1).dead = true;
  const ObjectList list = FakeWorld::List(1000);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  EXPECT_GT(job.Report().far_objects, 500u);
  world.node(1).dead = false;
  world.clock.RunFor(10s);
  EXPECT_EQ(job.Report().far_objects, 0u);
  ExpectBooksAgree(world, job);
}

TEST(JobFaults, EndsWithOneMessageAndSilence) {
  FakeWorld world;
  FakeNode& node = world.AddNode(0);
  const ObjectList list = FakeWorld::List(100);
  Job job(world.env(), world.options());
  ASSERT_TRUE(PlanNow(world, job, list).ok());
  job.End();
  job.End();
  world.clock.RunFor(1s);
  EXPECT_TRUE(node.ended);
  const uint64_t beats = node.heartbeats;
  world.clock.RunFor(60s);
  EXPECT_EQ(node.heartbeats, beats);
}

// Everything that a node should not send, sent at the worst time: none of it may change the plan.
TEST(JobFaults, HostileMessagesAreIgnored) {
  FakeWorld world;
  world.AddNodes(2);
  world.node(1).lose_bids = 1;  // so that the call is still open when the others come
  const ObjectList list = FakeWorld::List(200);
  JobOptions options = world.options();
  options.job = 77;
  Job job(world.env(), options);
  std::optional<Result<PlanReport>> planned;
  job.Plan(&list, [&](Result<PlanReport> r) { planned = std::move(r); });
  ASSERT_TRUE(world.clock.RunUntil([&] { return world.node(1).manifests_received == 1; }));
  Bitmap all(200, true), none(200);
  auto bids = [&](uint32_t first, uint32_t count, Incarnation incarnation, JobId id,
                  uint32_t call) {
    Bitmap keep(count, true), nothing(count);
    return wire::Bids{.job = id,
                      .call = call,
                      .incarnation = incarnation,
                      .first = first,
                      .count = count,
                      .keep_t2 = 1s,
                      .load_t2 = 1s,
                      .rate = {},
                      .status = {},
                      .keep = Buffer::CopyOf(keep.bytes()),
                      .load = Buffer::CopyOf(nothing.bytes()),
                      .spare = Buffer::CopyOf(nothing.bytes())};
  };
  world.Deliver(1, bids(0, 200, 999, 77, 1));        // another incarnation
  world.Deliver(1, bids(0, 200, 1001, 78, 1));       // another job
  world.Deliver(1, bids(0, 200, 1001, 77, 9));       // another call
  world.Deliver(1, bids(65'536, 200, 1001, 77, 1));  // a chunk that was not asked
  world.Deliver(1, bids(64, 100, 1001, 77, 1));      // no chunk at all
  world.Deliver(1, bids(0, 199, 1001, 77, 1));       // a chunk of another length
  wire::Bids greedy = bids(0, 200, 1001, 77, 1);
  greedy.keep = Buffer::CopyOf(none.bytes());
  greedy.load = Buffer::CopyOf(all.bytes());  // also what it may not offer
  world.Deliver(1, std::move(greedy));
  world.Deliver(1, wire::Ack{.job = 77,
                             .call = 1,
                             .incarnation = 1001,
                             .first = 0,
                             .count = 200,
                             .t2 = 1s,
                             .rate = {},
                             .refused = {}});  // of what was never confirmed
  world.Deliver(
      1, wire::HelloReply{.node = 0, .incarnation = 5, .capacity_bytes = 1, .free_bytes = 1});
  world.Deliver(1, wire::NeedManifest{.job = 77, .call = 1, .digest = {1, 2}});
  world.Deliver(0, wire::StatusReply{.id = 1, .json = "{}"});
  world.DeliverGarbage(0);
  ASSERT_TRUE(world.clock.RunUntil([&] { return planned.has_value(); }));
  ASSERT_TRUE(planned->ok());
  const PlanReport& report = **planned;
  EXPECT_EQ(report.kept_objects, 0u);
  EXPECT_EQ(report.load_objects, 200u);
  EXPECT_GT(report.nodes[0].loads, 50u);
  ExpectBooksAgree(world, job);
}

TEST(JobFaults, ANodeThatAsksForTheManifestForEverGetsItAFewTimes) {
  FakeWorld world;
  world.AddNodes(2);
  FakeNode& node = world.node(1);
  const ObjectList list = FakeWorld::List(200);
  JobOptions options = world.options();
  options.job = 77;
  Job job(world.env(), options);
  std::optional<Result<PlanReport>> planned;
  job.Plan(&list, [&](Result<PlanReport> r) { planned = std::move(r); });
  ASSERT_TRUE(world.clock.RunUntil([&] { return !node.calls.empty(); }));
  node.silent_calls = true;
  const ManifestDigest digest = node.calls.at(1).digest;
  node.calls.clear();
  for (int i = 1; i < 100; ++i) {
    world.Deliver(1, wire::NeedManifest{.job = 77, .call = 1, .digest = digest}, i * 300ms);
  }
  ASSERT_TRUE(world.clock.RunUntil([&] { return planned.has_value(); }));
  EXPECT_LE(node.manifests_received, 3u);
  EXPECT_EQ((*planned)->nodes[0].loads, 200u);
}

}  // namespace
}  // namespace holdfast::jobclient
