// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bench/decide_parts.h"
#include "snapshot/period.h"

namespace holdfast::bench {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr double kReadsPerS = 10'000;  // 10 jobs x 1,000 objects a second
constexpr double kObjects = 1e6;       // in the cluster
constexpr uint32_t kNodes = 16;
constexpr double kNanoUsdPerUs = 1e9 / 3.6e9;  // waiting at 1 USD an hour

// Half of the reads find nothing, and load; or few do.
struct Case {
  const char* name = "";
  Duration life{};
};
constexpr std::array<Case, 3> kCases = {
    {{"200 s", seconds(200)}, {"1 h", hours(1)}, {"12 h", hours(12)}}};

// Nanodollars a read, and how much of it is what.
struct Bill {
  double reads = 0;     // waiting, and money far away
  double messages = 0;  // waiting for the directory, and processors
  double snapshots = 0;
  double all() const { return reads + messages + snapshots; }
};

struct Bills {
  double there = 0;  // share of reads whose object is in the cluster
  double period_s = 0;
  Bill ours{};
  Bill oracle{};     // ours, with the true chances
  Bill all_nodes{};  // always looks; at all nodes where the log names none
  Bill directory{};
  Bill hash{};
};

Prices PricesOf(const PeerPrices& p) {
  Prices prices;
  prices.wait = p.look_us * kNanoUsdPerUs;
  prices.work = 2 * p.message_cpu_us * p.core_usd_per_hour * kNanoUsdPerUs;
  prices.hit = prices.wait / 4;
  prices.far_wait = p.far_ms * 1'000 * kNanoUsdPerUs;
  prices.far_money = p.far_money_nano_usd;
  return prices;
}

Bills Play(const Law& law, const Case& c, const PeerPrices& p, bool quick) {
  const Prices prices = PricesOf(p);
  // What is read elsewhere than by lists is loaded by its home: half of the loads.
  constexpr double kAtHome = 0.5;
  World world({.churn = Churn::kRing, .nodes = kNodes, .objects = 4'096, .unit = c.life});
  Player player(&world, &law, {.prices = prices, .race = true});
  const double scale = kObjects / world.options().objects;
  const double snapshot = p.collect_cpu_s * 1e6 * p.core_usd_per_hour * kNanoUsdPerUs;
  const double message = p.message_cpu_us * p.core_usd_per_hour * kNanoUsdPerUs;
  const double loads_per_s = world.loads_per_s() * scale;

  Bills sums;
  double reads = 0, known = 0, spent_s = 0;
  const int snapshots = quick ? 40 : 150, each = quick ? 1'000 : 3'000;
  for (int i = 0; i < snapshots; ++i) {
    world.TakeSnapshot();
    player.Learn();
    const Duration period =
        snapshot::ChoosePeriod(world.curve(), player.costs(),
                               {.snapshot_cost = std::llround(snapshot),
                                .reads_per_s = kReadsPerS * (known + 1) / (reads + 1),
                                .loads_per_s = loads_per_s * (1 - kAtHome),
                                .known_objects = kObjects})
            .period;
    const int64_t start_us = world.now().us;
    const bool counts = i >= snapshots / 4;
    if (!counts) sums = {}, reads = known = spent_s = 0;
    spent_s += static_cast<double>(period.count()) / 1e6;
    for (int k = 0; k < each; ++k) {
      if (k % 10 == 0) world.AdvanceTo({start_us + period.count() * (k + 5) / each});
      const World::Asked asked = world.Ask(true);
      const bool there = world.IsAlive(asked);
      reads += 1;
      sums.there += there ? 1 : 0;
      if (world.IsKnown(asked)) {
        const double before = player.score().always_look;
        const Player::Paid paid = player.Read(asked);
        known += 1;
        sums.all_nodes.reads += player.score().always_look - before;
        sums.ours.reads += paid.ours;
        sums.oracle.reads += paid.oracle;
      } else {
        const double cost = player.ReadUnknown(asked, kAtHome);
        sums.ours.reads += cost;
        sums.oracle.reads += cost;
        sums.all_nodes.reads +=
            prices.wait + kNodes * prices.work + (there ? prices.hit : prices.far());
      }
      // Both know where it is: the directory by asking, the other by the name.
      const double found = there ? prices.look() + prices.hit : prices.far();
      sums.directory.reads += found;
      sums.directory.messages += p.get_us * kNanoUsdPerUs + 2 * message;  // question, answer
      sums.hash.reads += found;
    }
    world.AdvanceTo({start_us + period.count()});
  }
  for (Bill* bill : {&sums.ours, &sums.oracle, &sums.all_nodes, &sums.directory, &sums.hash}) {
    bill->reads /= reads;
    bill->messages /= reads;
  }
  sums.there /= reads;
  sums.period_s = spent_s / (reads / each);
  sums.ours.snapshots = sums.oracle.snapshots = sums.all_nodes.snapshots =
      snapshot / sums.period_s / kReadsPerS;
  sums.directory.messages += 2 * message * loads_per_s / kReadsPerS;  // inserts and deletes
  return sums;
}

void Print(const char* life, const char* who, const Bill& bill, double there, double period_s) {
  std::printf("%-8s %-12s %8.3f %10.0f | %9.1f %9.2f %9.3f %9.1f\n", life, who, there, period_s,
              bill.reads, bill.messages, bill.snapshots, bill.all());
}

}  // namespace

Peers MeasurePeers(const Laws& laws, const PeerPrices& given, bool quick) {
  const MessageCosts measured = MeasureMessages(quick);
  PeerPrices prices = given;
  if (prices.get_us <= 0) prices.get_us = measured.round_trip_us;
  if (prices.message_cpu_us <= 0) prices.message_cpu_us = measured.cpu_us;
  std::printf(
      "Over our sockets on this machine an answer waits %.0f us (median), and a message costs %.1f "
      "us "
      "of processors, both ends.\nGiven, not measured here (bench dynamic and bench snapshot do): "
      "what a look, a far read and a snapshot take.\n\n"
      "10 jobs x 1,000 objects/s, 10^6 objects on %u nodes, nanodollars a read. A look waits %g "
      "us, "
      "going far %g ms and %g,\nthe directory's answer %.0f us; each message costs %.1f us of "
      "processors. The directory is never wrong, down or behind.\n\n"
      "%-8s %-12s %8s %10s | %9s %9s %9s %9s\n",
      measured.round_trip_us, measured.cpu_us, kNodes, prices.look_us, prices.far_ms,
      prices.far_money_nano_usd, prices.get_us, prices.message_cpu_us, "life", "", "there",
      "period s", "reads", "messages", "snapshots", "sum");
  double ours = 0, directory = 0, hash = 0;
  for (const Case& c : kCases) {
    const Bills bills = Play(LawOf(laws, Churn::kRing), c, prices, quick);
    Print(c.name, "holdfast", bills.ours, bills.there, bills.period_s);
    Print(c.name, "oracle", bills.oracle, bills.there, bills.period_s);
    Print(c.name, "look at all", bills.all_nodes, bills.there, bills.period_s);
    Print(c.name, "directory", bills.directory, bills.there, 0);
    Print(c.name, "by hash", bills.hash, bills.there, 0);
    // What lists put at the reader's own node is free here, and never so where names say the node.
    const double find = PricesOf(prices).look() + PricesOf(prices).hit;
    const double even = (bills.ours.all() - bills.hash.all()) / (find * bills.there);
    std::printf(
        "%-8s holdfast / directory %.3f, / by hash %.3f; level with placement by hash where "
        "%.0f %% of finds are at the reader's own node\n",
        c.name, bills.ours.all() / bills.directory.all(), bills.ours.all() / bills.hash.all(),
        100 * std::max(even, 0.0));
    ours += bills.ours.all(), directory += bills.directory.all(), hash += bills.hash.all();
  }
  std::printf(
      "\nA node that joins %u: placement by hash moves %.0f objects (%.1f GB of 100 KB), "
      "Holdfast none; the directory none.\n\n",
      kNodes, kObjects / (kNodes + 1), kObjects / (kNodes + 1) * 1e5 / 1e9);
  return {.vs_directory = ours / directory, .vs_hash = ours / hash};
}

}  // namespace holdfast::bench
