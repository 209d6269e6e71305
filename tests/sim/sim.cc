// SPDX-License-Identifier: Apache-2.0
// Simulates whole clusters by seed. Exit codes: 0 ok, 1 something that must hold did not, 2 stuck,
// 3 crash, 64 usage.
#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/hash.h"
#include "tests/sim/campaign.h"

int main(int argc, char** argv) {
  using holdfast::sim::Verdict;
  holdfast::sim::CampaignOptions options;
  std::optional<uint64_t> seed;
  bool trace = false;
  bool once = false;
  std::string rotate;
  CLI::App app("Simulates whole clusters, with faults, by seed.");
  app.add_option("--seeds", options.seeds, "how many seeds")->capture_default_str();
  app.add_option("--first", options.first, "the first of them")->capture_default_str();
  app.add_option("--list", options.list, "these seeds instead: --list 25,29,31")->delimiter(',');
  app.add_option("--rotate", rotate, "choose the first by this text, for example a commit's hash");
  app.add_option("--jobs", options.jobs, "processes at a time")->capture_default_str();
  app.add_option("--max-failures", options.max_failures, "stop after this many")
      ->capture_default_str();
  options.replay = argv[0];
  app.add_option("--replay", options.replay,
                 "how this program is called in the commands that it prints");
  app.add_flag("--once", once, "run each seed once only, without comparing traces");
  app.add_option("--seed", seed, "run this seed alone, in this process");
  app.add_flag("--trace", trace, "with --seed: print every event");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 64;
  }
  if (seed.has_value()) return static_cast<int>(holdfast::sim::RunSeed(*seed, trace));
  options.twice = !once;
  if (!rotate.empty()) options.first = holdfast::Hash64(holdfast::AsBytes(rotate)) % 1'000'000'000;
  return static_cast<int>(holdfast::sim::RunCampaign(options));
}
