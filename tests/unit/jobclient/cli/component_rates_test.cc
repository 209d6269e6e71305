// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/component_rates.h"

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

const ComponentNeed* Find(const ComponentNeeds& needs, const std::string& component) {
  for (const ComponentNeed& need : needs.needs) {
    if (need.component == component) return &need;
  }
  return nullptr;
}

TEST(ComponentRates, WhatOneSendsAnotherReceives) {
  ComponentPlan plan{.write_bytes_per_s = 200'000'000, .read_bytes_per_s = 1'000'000'000};
  const ComponentNeeds needs = NeedsOf(plan);
  const ComponentNeed *node = Find(needs, "node"), *journal = Find(needs, "journal"),
                      *storage = Find(needs, "storage");
  ASSERT_TRUE(node != nullptr && journal != nullptr && storage != nullptr);
  EXPECT_NEAR(node->out_bytes_per_s, journal->in_bytes_per_s + storage->in_bytes_per_s, 1);
  EXPECT_NEAR(node->in_bytes_per_s, journal->out_bytes_per_s + storage->out_bytes_per_s, 1);
  // The seed's figures, without heads and amplification: 1.6 Gbit/s to each.
  EXPECT_GT(journal->in_bytes_per_s * 8, 1.6e9);
  EXPECT_LT(journal->in_bytes_per_s * 8, 1.8e9);
  EXPECT_GT(storage->in_bytes_per_s * 8, 2.0e9);
}

TEST(ComponentRates, ANodesJournalGetsPromisesAndSmallObjectsArePacked) {
  ComponentPlan plan{
      .write_bytes_per_s = 200'000'000, .value_bytes = 64 * 1024, .key_value = false};
  const ComponentNeeds large = NeedsOf(plan);
  // 3,052 objects a second, of which 98 bytes each.
  EXPECT_NEAR(Find(large, "journal")->in_bytes_per_s, 200e6 / 65'536 * 98 * kWireFactor, 1'000);
  EXPECT_DOUBLE_EQ(large.write_amplification, 1.25);
  plan.value_bytes = 250;
  plan.reclaim_at = ReclaimAt::kStorage;
  const ComponentNeeds tiny = NeedsOf(plan);
  EXPECT_DOUBLE_EQ(tiny.write_amplification, kTinyWrites);
  // Merged by the node, wherever reclaim is.
  const double once = 200e6 * tiny.segment_factor;
  EXPECT_NEAR(Find(tiny, "node")->in_bytes_per_s, once * (kTinyWrites - 1), 1);
  EXPECT_NEAR(Find(tiny, "storage")->in_bytes_per_s, once * kTinyWrites, 1);
  EXPECT_LT(tiny.segment_factor, 1.6);
}

// What reclaim keeps goes through the node, through a worker, or nowhere.
TEST(ComponentRates, ReclaimElsewhere) {
  ComponentPlan plan{.write_bytes_per_s = 200'000'000};
  const ComponentNeeds at_node = NeedsOf(plan);
  const double again = Find(at_node, "reclaim")->in_bytes_per_s;
  EXPECT_GT(again, 50e6);
  plan.reclaim_at = ReclaimAt::kWorker;
  const ComponentNeeds worker = NeedsOf(plan);
  plan.reclaim_at = ReclaimAt::kStorage;
  const ComponentNeeds storage = NeedsOf(plan);
  const auto in = [](const ComponentNeeds& needs, const char* of) {
    return Find(needs, of)->in_bytes_per_s;
  };
  const auto out = [](const ComponentNeeds& needs, const char* of) {
    return Find(needs, of)->out_bytes_per_s;
  };
  // A twentieth of it is said.
  for (const ComponentNeeds* needs : {&worker, &storage}) {
    EXPECT_NEAR(in(*needs, "node"), in(at_node, "node") - again, again / 20);
    EXPECT_NEAR(out(*needs, "node"), out(at_node, "node") - again, again / 20);
  }
  EXPECT_NEAR(in(worker, "reclaim"), again, again / 20);
  EXPECT_EQ(out(worker, "reclaim"), again);
  EXPECT_EQ(in(storage, "reclaim"), 0);
  EXPECT_NEAR(in(storage, "storage"), in(at_node, "storage") - again, again / 20);
  EXPECT_NEAR(in(worker, "storage"), in(at_node, "storage"), again / 20);
  // What one sends another receives.
  for (const ComponentNeeds* needs : {&at_node, &worker, &storage}) {
    double sent = 0, received = 0;
    for (const ComponentNeed& need : needs->needs) {
      if (needs == &at_node && need.component == "reclaim") continue;
      sent += need.out_bytes_per_s;
      received += need.in_bytes_per_s;
    }
    EXPECT_NEAR(sent, received, 1);
  }
}

TEST(ComponentRates, WhatIsHereTakesNoNetwork) {
  const ComponentNeeds disk = NeedsOf({.write_bytes_per_s = 1'000'000, .journal_elsewhere = false});
  EXPECT_EQ(Find(disk, "journal"), nullptr);
  EXPECT_NEAR(Find(disk, "node")->out_bytes_per_s, Find(disk, "storage")->in_bytes_per_s, 1);
  const ComponentNeeds journal = NeedsOf({.write_bytes_per_s = 1'000'000, .disk_elsewhere = false});
  EXPECT_EQ(Find(journal, "storage"), nullptr);
  EXPECT_EQ(Find(journal, "node")->in_bytes_per_s, 0);
}

TEST(ComponentRates, CopiesInTheFarStoreArePutOnceAndReadAsReclaimReads) {
  ComponentPlan plan{.write_bytes_per_s = 200'000'000, .value_bytes = 1'000'000};
  EXPECT_EQ(Find(NeedsOf(plan), "far store"), nullptr);
  const ComponentNeeds without = NeedsOf(plan);
  plan.far_copy = true;
  const ComponentNeeds with = NeedsOf(plan);
  const ComponentNeed* far = Find(with, "far store");
  ASSERT_NE(far, nullptr);
  // 250 MB/s are written for 200, in segments of 64 MiB.
  EXPECT_NEAR(far->puts_per_s, 250e6 / (64 << 20), 0.01);
  EXPECT_EQ(far->gets_per_s, 0);
  EXPECT_EQ(far->out_bytes_per_s, 0);
  EXPECT_NEAR(far->in_bytes_per_s, 250e6 * kWireFactor, 1e6);
  const auto differ = [&](const char* component, double in, double out) {
    const ComponentNeed *before = Find(without, component), *after = Find(with, component);
    EXPECT_NEAR(after->in_bytes_per_s - before->in_bytes_per_s, in, 1) << component;
    EXPECT_NEAR(after->out_bytes_per_s - before->out_bytes_per_s, out, 1) << component;
  };
  // What is put is read at the storage server first.
  differ("node", far->in_bytes_per_s, far->in_bytes_per_s);
  differ("storage", 0, far->in_bytes_per_s);
  plan.reclaim_reads_far = true;
  const ComponentNeeds reclaim = NeedsOf(plan);
  far = Find(reclaim, "far store");
  EXPECT_NEAR(far->gets_per_s, far->puts_per_s * 5, 0.01);  // a table, and 12.8 MiB in four
  EXPECT_NEAR(far->out_bytes_per_s, far->in_bytes_per_s, 1);
  EXPECT_LT(Find(reclaim, "storage")->out_bytes_per_s, Find(with, "storage")->out_bytes_per_s);
  plan.disk_elsewhere = false;
  EXPECT_NEAR(Find(NeedsOf(plan), "node")->in_bytes_per_s, far->out_bytes_per_s, 1);
}

TEST(ComponentRates, AmplificationFollowsWhatIsKept) {
  EXPECT_EQ(NeedsOf({.write_bytes_per_s = 1, .kept = 0}).write_amplification, 1);
  EXPECT_DOUBLE_EQ(NeedsOf({.write_bytes_per_s = 1, .kept = 0.2}).write_amplification, 1.25);
  const double small = NeedsOf({.write_bytes_per_s = 1, .value_bytes = 100}).segment_factor;
  const double large = NeedsOf({.write_bytes_per_s = 1, .value_bytes = 1'000'000}).segment_factor;
  EXPECT_GT(small, 2);
  EXPECT_LT(large, 1.07);
}

TEST(ComponentRates, RatesAreBytesOrBits) {
  EXPECT_EQ(*ParseRate("200MB/s"), 200'000'000u);
  EXPECT_EQ(*ParseRate("1.6Gbit/s"), 200'000'000u);
  EXPECT_EQ(*ParseRate("8Mbit"), 1'000'000u);
  EXPECT_EQ(*ParseRate("1MiB/s"), 1'048'576u);
  for (const char* text : {"", "/s", "fast", "0MB/s", "-1Gbit/s", "5Qbit/s", "bit/s", "1e30Gbit"})
    EXPECT_EQ(ParseRate(text).status().code(), Code::kInvalid) << text;
}

}  // namespace
}  // namespace holdfast::cli
