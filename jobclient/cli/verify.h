// SPDX-License-Identifier: Apache-2.0
// Compares what was read with the source, by hash: `holdfast run --verify`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobclient/cli/context.h"

namespace holdfast::cli {

struct Differences {
  uint64_t compared = 0;
  // A line for each object whose bytes differ, or that its source does not give again, and why.
  std::vector<std::string> lines;
};

// Reads every object of `list` from its source once more, many at a time, past the cluster, and
// compares the XXH3-64 of its bytes with `hashes` (by position; 0: not read).
Result<Differences> CompareWithSource(const ClientOptions& options, const ObjectList& list,
                                      const std::vector<uint64_t>& hashes, Progress* progress);

}  // namespace holdfast::cli
