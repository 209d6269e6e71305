// SPDX-License-Identifier: Apache-2.0
// How often to collect, by what a log says and what is known about its cluster.
#pragma once

#include "jobclient/cli/context.h"
#include "snapshot/log.h"
#include "snapshot/period.h"

namespace holdfast::cli {

struct PeriodBasis {
  Duration took{};         // how long a snapshot keeps the nodes and the collector busy
  double loads_per_s = 0;  // objects that come to nodes, by all jobs
  double reads_per_s = 0;  // of objects that nobody announced, by all jobs
};

// Prices are those of `options`. What came to a node counts as come to one that is not its home,
// which a log does not tell: the period is the shorter one, if anything.
snapshot::PeriodChoice PeriodFor(const snapshot::SnapshotLog& log, const ClientOptions& options,
                                 const PeriodBasis& basis, Duration fixed);

}  // namespace holdfast::cli
