// SPDX-License-Identifier: Apache-2.0
// bench decide: what looking or going far costs, in simulated
// clusters: Holdfast's decisions beside an oracle, simpler rules, an exact directory, and placement
// by hash. Then how soon it follows a change of churn, the controller of the snapshot period, and
// decisions a second.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "bench/decide_parts.h"

namespace holdfast::bench {
namespace {

struct Arguments {
  bool quick = false;
  bool periods_only = false;
  uint64_t seed_offset = 0;
  PeerPrices prices{};
};

struct Option {
  const char* name;
  double PeerPrices::*value;
  const char* help;
};
constexpr std::array<Option, 6> kOptions = {{
    {"--look-us", &PeerPrices::look_us, "waiting for a look, microseconds"},
    {"--far-ms", &PeerPrices::far_ms, "waiting for a far read, milliseconds"},
    {"--far-money", &PeerPrices::far_money_nano_usd, "price of a far read, nanodollars"},
    {"--get-us", &PeerPrices::get_us,
     "waiting for the directory's answer, microseconds; 0: as measured"},
    {"--message-us", &PeerPrices::message_cpu_us,
     "processor time of a message, both ends; 0: as measured"},
    {"--collect-s", &PeerPrices::collect_cpu_s, "processor time of a snapshot, seconds"},
}};

void Usage(FILE* to) {
  std::fprintf(to,
               "usage: bench_decide [--quick] [--periods] [OPTION NUMBER]...\n\n"
               "Plays looks and far reads in simulated clusters.\n"
               "  --quick         fewer and shorter runs: within 50 seconds\n"
               "  --periods       the controller of the snapshot period alone\n"
               "  --seed-offset   added to its clusters' seeds: other clusters of the kind (0)\n");
  const PeerPrices defaults;
  for (const Option& option : kOptions) {
    std::fprintf(to, "  %-15s %s (%g)\n", option.name, option.help, defaults.*option.value);
  }
}

// The number that an argument is; false when it is none.
bool ParseNumber(const char* text, double* value) {
  char* end = nullptr;
  *value = std::strtod(text, &end);
  return *end == 0 && *value >= 0 && *value < 1e9;
}

// False when the arguments make no sense.
bool Parse(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--quick" || name == "--periods") {
      (name == "--quick" ? arguments->quick : arguments->periods_only) = true;
      continue;
    }
    double value = 0;
    if (i + 1 == argc || !ParseNumber(argv[++i], &value)) return false;
    if (name == "--seed-offset") {
      arguments->seed_offset = static_cast<uint64_t>(value);
      continue;
    }
    const auto option = std::find_if(kOptions.begin(), kOptions.end(),
                                     [&](const Option& o) { return name == o.name; });
    if (option == kOptions.end()) return false;
    arguments->prices.*option->value = value;
  }
  return true;
}

Laws AllLaws() {
  Laws laws;
  for (Churn churn : kChurns) laws[static_cast<size_t>(churn)] = MakeLaw(churn);
  return laws;
}

void RunPeriods(const Arguments& arguments) {
  const Periods periods = MeasurePeriods(AllLaws(), arguments.quick, arguments.seed_offset);
  std::printf("{\"bench\":\"decide\",\"figures\":{\"worst_period_vs_best\":%.4f}}\n",
              periods.worst_vs_best);
}

void Run(const Arguments& arguments) {
  const bool quick = arguments.quick;
  const Laws laws = AllLaws();
  const Savings savings = MeasureSavings(laws, quick);
  const Recovery recovery = MeasureRecovery(laws, quick);
  const Periods periods = MeasurePeriods(laws, quick, arguments.seed_offset);
  const Peers peers = MeasurePeers(laws, arguments.prices, quick);
  const double speed = MeasureSpeed(quick);
  std::printf(
      "{\"bench\":\"decide\",\"figures\":{\"recovered_share\":%.4f,\"race_recovered_share\":%.4f,"
      "\"fixed_threshold\":%.2f,\"reads_to_recover\":%.0f,\"worst_period_vs_best\":%.4f,"
      "\"decisions_per_s\":%.0f},\"ratios\":{\"cost_vs_oracle\":%.4f,\"cost_vs_plain_rule\":%.4f,"
      "\"cost_vs_directory\":%.4f,\"cost_vs_hash_placement\":%.4f}}\n",
      savings.recovered, savings.race_recovered, savings.fixed, recovery.reads,
      periods.worst_vs_best, speed, savings.vs_oracle, savings.vs_plain_rule, peers.vs_directory,
      peers.vs_hash);
}

}  // namespace
}  // namespace holdfast::bench

int main(int argc, char** argv) {
  holdfast::bench::Arguments arguments;
  if (!holdfast::bench::Parse(argc, argv, &arguments)) {
    const bool help = argc == 2 && std::strcmp(argv[1], "--help") == 0;
    holdfast::bench::Usage(help ? stdout : stderr);
    return help ? 0 : 2;
  }
  if (arguments.periods_only) {
    holdfast::bench::RunPeriods(arguments);
  } else {
    holdfast::bench::Run(arguments);
  }
  return 0;
}
