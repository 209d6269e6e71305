// SPDX-License-Identifier: Apache-2.0
// holdfast snapshot collect | show | find | diff | verify | curve | period
#include <memory>

#include "jobclient/cli/commands.h"
#include "jobclient/cli/snapshot_commands.h"

namespace holdfast::cli {
namespace {

constexpr const char* kAbout =
    R"(A snapshot is what every node holds at one moment, with ages. The log of them says where objects are
likely to be; what nodes evicted in between says for how long they stay.)";

constexpr const char* kCollectFooter =
    R"(The snapshot is on disk before the nodes get it. One line is printed, none with -q.

Exit codes: 0 a snapshot was taken, or another collector is at work in the same log (then with --every: 5); absent nodes
are named on standard error; 1 the disk is full, and the log as it was; 2 wrong arguments, or the log is another cluster's
or another version's; 3 no cluster; 4 no access; 5 no node answered, and the log is as it was.)";

constexpr const char* kCurveFooter =
    R"(t_alive: the age that 99 of 100 objects reach. t_dead: the age that 1 of 100 reaches. Both are read off the curve:
the chance to be there still, by age, as the nodes' evictions tell it, with its 95 % band.

The oldest snapshot's objects are followed through the later ones. The share that is listed only falls, but for those
that were loaded again after they had been evicted: the bump, work that more room would have saved.)";

constexpr const char* kPeriodFooter =
    R"(More snapshots cost more; fewer leave more decisions wrong. The chosen period has the least sum, between the larger one of
a 10,000th of a snapshot's life (t_dead) and 1 min, and the smaller one of half of that life and t_alive,
where that ends a youth in which nothing is evicted.
`collect --every auto` does this by itself.)";

void AddLog(CLI::App* command, std::string* log) {
  command->add_option("--log", *log,
                      "the log's directory; without it snapshots/ of the local cluster");
}

// What is compared with bounds alone lets NaN pass, and -1 as a large number.
const CLI::Validator kRate(
    [](const std::string& text) {
      double rate = 0;
      const bool ok = CLI::detail::lexical_cast(text, rate) && rate >= 0 && rate <= 1e12;
      return ok ? std::string() : "\"" + text + "\" is no rate from 0 to 1e12";
    },
    "RATE");
const CLI::Validator kSnapshotNumber(
    [](const std::string& text) {
      const bool digits = !text.empty() && text.size() < 18 &&
                          text.find_first_not_of("0123456789") == std::string::npos;
      return digits ? std::string() : "\"" + text + "\" is no snapshot's number";
    },
    "NUMBER");

void AddCollect(CLI::App* group, const Globals& globals, Chosen* chosen) {
  auto given = std::make_shared<CollectArguments>();
  CLI::App* command =
      group->add_subcommand("collect", "ask all nodes what they hold, and add it to the log");
  command->footer(kCollectFooter);
  command->add_option("--log", given->log,
                      "the log's directory, made if there is none; without it snapshots/ of the "
                      "local cluster");
  command->add_option("--deadline", given->deadline, "a node that has not answered then is absent")
      ->capture_default_str();
  command->add_flag("--full", given->full, "write all of it, not what has changed");
  command
      ->add_option("--full-every", given->full_every,
                   "snapshots at most from one full one to the next")
      ->check(CLI::Range(1u, 1'000'000u))
      ->capture_default_str();
  command->add_option("--every", given->every,
                      "go on until SIGTERM or SIGINT, at this period: 10min, or auto for the best");
  command
      ->add_option("--reads-per-s", given->reads_per_s,
                   "for --every auto: unplanned reads, of all jobs")
      ->check(kRate)
      ->capture_default_str();
  command->add_option("--keep-for", given->keep_for, "older files of the log are deleted")
      ->capture_default_str();
  command->add_option("--max-bytes", given->max_bytes, "of all files; the newest one always stays")
      ->capture_default_str();
  command->callback(
      [=, &globals] { *chosen = [=, &globals] { return CollectSnapshots(globals, *given); }; });
}

void AddViews(CLI::App* group, const Globals& globals, Chosen* chosen) {
  auto log = std::make_shared<std::string>();
  CLI::App* show = group->add_subcommand("show", "the snapshots of the log, and the nodes");
  AddLog(show, log.get());
  show->callback(
      [=, &globals] { *chosen = [=, &globals] { return ShowSnapshots(globals, *log); }; });

  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* find = group->add_subcommand("find", "where the log has seen objects");
  AddLog(find, log.get());
  find->add_option("NAME", *names, "objects, or OIDs of 32 hexadecimal digits")->required();
  find->footer(
      "Exit codes: 0 the last snapshot lists all of them; 3 one of them it does not list.\n"
      "The log has 40 bits of an OID: one unknown object in a million looks like a known one.");
  find->callback([=, &globals] {
    *chosen = [=, &globals] { return FindInSnapshots(globals, *log, *names); };
  });

  auto from = std::make_shared<uint64_t>(0), to = std::make_shared<uint64_t>(0);
  CLI::App* diff =
      group->add_subcommand("diff", "what came and went at each node between two snapshots");
  AddLog(diff, log.get());
  diff->add_option("FROM", *from, "a snapshot's number")->required()->check(kSnapshotNumber);
  diff->add_option("TO", *to, "a later one's")->required()->check(kSnapshotNumber);
  diff->callback([=, &globals] {
    *chosen = [=, &globals] { return DiffSnapshots(globals, *log, *from, *to); };
  });

  CLI::App* verify = group->add_subcommand("verify", "check every byte of the log");
  AddLog(verify, log.get());
  verify->footer("One line for each fault, with file and offset. Exit code 1 when there is any.");
  verify->callback(
      [=, &globals] { *chosen = [=, &globals] { return VerifySnapshots(globals, *log); }; });
}

void AddEstimates(CLI::App* group, const Globals& globals, Chosen* chosen) {
  auto picture = std::make_shared<CurveArguments>();
  CLI::App* curve = group->add_subcommand("curve", "how long objects stay: the survival curve");
  AddLog(curve, &picture->log);
  curve->add_option("--svg", picture->svg, "a file for its pictures");
  curve
      ->add_option("--from", picture->from,
                   "the snapshot whose objects are followed; without it the oldest one in the log")
      ->check(kSnapshotNumber);
  curve->footer(kCurveFooter);
  curve->callback(
      [=, &globals] { *chosen = [=, &globals] { return ShowCurve(globals, *picture); }; });

  auto given = std::make_shared<PeriodArguments>();
  CLI::App* period = group->add_subcommand("period", "how often to collect, and why");
  AddLog(period, &given->log);
  period->add_option("--reads-per-s", given->reads_per_s, "unplanned reads, of all jobs")
      ->check(kRate)
      ->capture_default_str();
  period->add_option("--took", given->took,
                     "how long a snapshot takes, as collect says; without it 2 us for each object");
  period->add_option("--fixed", given->fixed, "judge this period instead of the best one");
  period->footer(kPeriodFooter);
  period->callback(
      [=, &globals] { *chosen = [=, &globals] { return ShowPeriod(globals, *given); }; });
}

}  // namespace

void AddSnapshotCommands(CLI::App& app, const Globals& globals, Chosen* chosen) {
  CLI::App* group = app.add_subcommand("snapshot", "virtual snapshots: what nodes hold, over time");
  group->footer(kAbout);
  group->require_subcommand(1);
  AddCollect(group, globals, chosen);
  AddViews(group, globals, chosen);
  AddEstimates(group, globals, chosen);
}

}  // namespace holdfast::cli
