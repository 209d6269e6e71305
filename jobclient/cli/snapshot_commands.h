// SPDX-License-Identifier: Apache-2.0
// What the commands of `holdfast snapshot` do; snapshot.cc gives them their names and options. Each
// returns the exit code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "jobclient/cli/context.h"

namespace holdfast::cli {

struct CollectArguments {
  std::string log;
  std::string deadline = "10s";
  std::optional<std::string> every{};  // none: once; "auto"
  std::string keep_for = "7d";
  std::string max_bytes = "1GiB";
  uint32_t full_every = 64;
  bool full = false;
  double reads_per_s = 100;
};
int CollectSnapshots(const Globals& globals, const CollectArguments& arguments);

int ShowSnapshots(const Globals& globals, const std::string& log);
int FindInSnapshots(const Globals& globals, const std::string& log,
                    const std::vector<std::string>& names);
int DiffSnapshots(const Globals& globals, const std::string& log, uint64_t from, uint64_t to);
int VerifySnapshots(const Globals& globals, const std::string& log);

struct CurveArguments {
  std::string log;
  std::string svg;    // the file for the pictures; empty: none
  uint64_t from = 0;  // whose objects are followed; 0: the oldest one's
};
int ShowCurve(const Globals& globals, const CurveArguments& arguments);

struct PeriodArguments {
  std::string log;
  double reads_per_s = 100;
  std::string took;   // how long a snapshot takes; empty: by what there is to list
  std::string fixed;  // a period to be judged; empty: the best one
};
int ShowPeriod(const Globals& globals, const PeriodArguments& arguments);

}  // namespace holdfast::cli
