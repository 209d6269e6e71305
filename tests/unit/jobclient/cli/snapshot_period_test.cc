// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/snapshot_period.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/unit/snapshot/log_fixture.h"

namespace holdfast::cli {
namespace {

using snapshot::PeriodChoice;

// One snapshot of so many nodes, in which all objects live for three hours.
snapshot::SnapshotLog LogOf(NodeId nodes) {
  snapshot::RingEvidence evidence;
  for (int i = 0; i < 100; ++i)
    evidence[snapshot::Ring::kKept].Evicted(Duration(0), 3h + 1s * i, 1'000);
  std::vector<snapshot::NodeListing> listings;
  for (NodeId node = 1; node <= nodes; ++node) {
    listings.push_back(snapshot::Listing(node, {{.print = node, .age = 1h}}));
  }
  snapshot::SnapshotLog log(snapshot::kCluster);
  EXPECT_FALSE(log.Append(snapshot::After(1s), listings, evidence, true).empty());
  return log;
}

PeriodChoice Choose(NodeId nodes, const PeriodBasis& basis) {
  return PeriodFor(LogOf(nodes), {}, basis, 10min);
}

// All loads counted as away from home, also those of a cluster of one node.
TEST(PeriodForTest, OneLoadInSoManyAsThereAreNodesIsAtItsHome) {
  const PeriodBasis basis{.loads_per_s = 0.001, .reads_per_s = 100};
  const double of_known = Choose(1, basis).decisions_usd_per_hour;
  const double of_2 = Choose(2, {.loads_per_s = 0.002, .reads_per_s = 100}).decisions_usd_per_hour;
  const double of_8 = Choose(8, {.loads_per_s = 0.008, .reads_per_s = 100}).decisions_usd_per_hour;
  EXPECT_NEAR(Choose(1, {.reads_per_s = 100}).decisions_usd_per_hour, of_known, 1e-12);
  EXPECT_GT(of_2, of_known);
  EXPECT_NEAR((of_8 - of_known) / (of_2 - of_known), 0.875 / 0.5, 0.001);
}

// The collector was thought to be done when the last node had answered.
TEST(PeriodForTest, ASnapshotCostsTheNodesTheirListingsAndTheCollectorItsTime) {
  const PeriodBasis basis{.took = 1s, .collected_in = 5s};
  EXPECT_NEAR(Choose(3, basis).snapshots_usd_per_hour, 8e6 * 2 / 50 * 6 / 1e9, 1e-12);
}

}  // namespace
}  // namespace holdfast::cli
