// SPDX-License-Identifier: Apache-2.0
// Many seeds, each twice, each run in a process of its own, so that a crash is told apart and does
// not end the campaign.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace holdfast::sim {

struct CampaignOptions {
  uint64_t first = 1;
  uint64_t seeds = 200;
  std::vector<uint64_t> list{};  // these seeds instead, when not empty
  uint32_t jobs = 2;             // processes at a time
  bool twice = true;             // and the traces must be equal
  uint32_t max_failures = 5;     // then the campaign ends
  uint32_t run_seconds = 60;     // of the processor's time, for one run; beyond it is stuck
  std::string replay = "sim";    // the program, as printed in the command that replays a failure
};

// Seeds below which a kind of fault, or a way to read, that never fired does not count as a failure.
constexpr uint64_t kEnoughSeeds = 50;

// Prints progress, failures with the command that replays each, and the table of what happened.
// Returns the worst verdict; a kind of fault or a way to read that
// never fired is kWrong.
Verdict RunCampaign(const CampaignOptions& options);

// One seed in this process; prints what happened, and every event when `trace`.
Verdict RunSeed(uint64_t seed, bool trace);

}  // namespace holdfast::sim
