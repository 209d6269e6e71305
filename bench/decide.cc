// SPDX-License-Identifier: Apache-2.0
// bench decide: what looking or going far costs, in simulated
// clusters: Holdfast's decisions beside an oracle, simpler rules, an exact directory, and placement
// by hash. Then how soon it follows a change of churn, the controller of the snapshot period, and
// decisions a second.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "bench/decide_parts.h"

namespace holdfast::bench {
namespace {

struct Option {
  const char* name;
  double PeerPrices::*value;
  const char* help;
};
constexpr std::array<Option, 6> kOptions = {{
    {"--look-us", &PeerPrices::look_us, "waiting for a look, microseconds"},
    {"--far-ms", &PeerPrices::far_ms, "waiting for a far read, milliseconds"},
    {"--far-money", &PeerPrices::far_money_nano_usd, "price of a far read, nanodollars"},
    {"--get-us", &PeerPrices::get_us, "waiting for the directory's answer, microseconds"},
    {"--message-us", &PeerPrices::message_cpu_us, "processor time of a message, both ends"},
    {"--collect-s", &PeerPrices::collect_cpu_s, "processor time of a snapshot, seconds"},
}};

void Usage(FILE* to) {
  std::fprintf(to,
               "usage: bench_decide [--quick] [OPTION NUMBER]...\n\n"
               "Plays looks and far reads in simulated clusters.\n"
               "  --quick         fewer and shorter runs: within 50 seconds\n");
  const PeerPrices defaults;
  for (const Option& option : kOptions) {
    std::fprintf(to, "  %-15s %s (%g)\n", option.name, option.help, defaults.*option.value);
  }
}

// False when the arguments make no sense.
bool Parse(int argc, char** argv, bool* quick, PeerPrices* prices) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      *quick = true;
      continue;
    }
    bool known = false;
    for (const Option& option : kOptions) {
      if (std::strcmp(argv[i], option.name) != 0 || i + 1 == argc) continue;
      char* end = nullptr;
      const double value = std::strtod(argv[++i], &end);
      if (*end != 0 || !(value >= 0 && value < 1e9)) return false;
      prices->*option.value = value;
      known = true;
      break;
    }
    if (!known) return false;
  }
  return true;
}

void Run(bool quick, const PeerPrices& prices) {
  Laws laws;
  for (Churn churn : kChurns) laws[static_cast<size_t>(churn)] = MakeLaw(churn);
  const Savings savings = MeasureSavings(laws, quick);
  const Recovery recovery = MeasureRecovery(laws, quick);
  const Periods periods = MeasurePeriods(laws, quick);
  const Peers peers = MeasurePeers(laws, prices, quick);
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
  bool quick = false;
  holdfast::bench::PeerPrices prices;
  if (!holdfast::bench::Parse(argc, argv, &quick, &prices)) {
    const bool help = argc == 2 && std::strcmp(argv[1], "--help") == 0;
    holdfast::bench::Usage(help ? stdout : stderr);
    return help ? 0 : 2;
  }
  holdfast::bench::Run(quick, prices);
  return 0;
}
