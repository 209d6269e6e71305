// SPDX-License-Identifier: Apache-2.0
// How often to collect, by what a log says and what is known about its cluster.
#pragma once

#include "jobclient/cli/context.h"
#include "snapshot/log.h"
#include "snapshot/period.h"

namespace holdfast::cli {

struct PeriodBasis {
  Duration took{};          // how long listings keep the nodes busy
  Duration collected_in{};  // and the whole of a snapshot the collector
  double loads_per_s = 0;   // objects that come to nodes, by all jobs
  double reads_per_s = 0;   // of objects that nobody announced, by all jobs
};

// Prices are those of `options`. What came to a node is at its home once in as many times as there
// are nodes, as if homes did not matter: what jobs read by way of it is there more often, which a
// log does not tell. The period is the shorter one, if anything.
snapshot::PeriodChoice PeriodFor(const snapshot::SnapshotLog& log, const ClientOptions& options,
                                 const PeriodBasis& basis, Duration fixed);

}  // namespace holdfast::cli
