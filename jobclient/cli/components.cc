// SPDX-License-Identifier: Apache-2.0
// holdfast components --write-rate 200MB/s
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "jobclient/cli/commands.h"
#include "jobclient/cli/component_rates.h"

namespace holdfast::cli {
namespace {

// CLI::Range lets "nan" pass.
CLI::Validator Percent(double most) {
  return CLI::Range(0.0, most) & CLI::Validator(
                                     [](std::string& text) {
                                       return std::isfinite(std::strtod(text.c_str(), nullptr))
                                                  ? std::string()
                                                  : text + " is not a number";
                                     },
                                     "");
}

struct Arguments {
  std::string write_rate;
  std::string read_rate;
  std::string value = "64KiB";
  bool key_value = false;
  std::string elsewhere = "both";
  double kept = 20;
  double hits = 98;
  bool far_copy = false;
  std::string reclaim_reads = "disk";
  std::string reclaim_at = "node";
  std::string segment = "64MiB";
};

double Gbit(double bytes_per_s) { return bytes_per_s * 8 / 1e9; }

Json ToJson(const ComponentNeeds& needs) {
  Json json{{"journal_wire_bytes_per_byte", needs.journal_factor},
            {"segment_wire_bytes_per_byte", needs.segment_factor},
            {"write_amplification", needs.write_amplification},
            {"components", Json::array()}};
  for (const ComponentNeed& need : needs.needs) {
    json["components"].push_back({{"component", need.component},
                                  {"in_bytes_per_s", static_cast<uint64_t>(need.in_bytes_per_s)},
                                  {"out_bytes_per_s", static_cast<uint64_t>(need.out_bytes_per_s)},
                                  {"why", need.why}});
    if (need.puts_per_s == 0) continue;
    json["components"].back()["puts_per_s"] = need.puts_per_s;
    json["components"].back()["gets_per_s"] = need.gets_per_s;
  }
  return json;
}

std::string WrittenText(const ComponentPlan& plan, const ComponentNeeds& needs) {
  std::array<char, 160> text;
  if (!plan.key_value && plan.value_bytes <= kPackedBytes) {
    std::snprintf(text.data(), text.size(),
                  "They are packed: written %.2f times until they are merged (measured).",
                  needs.write_amplification);
  } else {
    std::snprintf(
        text.data(), text.size(),
        "Segments are written %.2f times: reclaim keeps %.0f %% of each (assumed; at most "
        "20 %% are kept).",
        needs.write_amplification, 100 * plan.kept);
  }
  return text.data();
}

void Print(const ComponentPlan& plan, const ComponentNeeds& needs) {
  std::printf("Baseline network for writes of %.3f Gbit/s in objects of %s\n\n",
              Gbit(static_cast<double>(plan.write_bytes_per_s)),
              FormatBytes(plan.value_bytes).c_str());
  std::printf("  %-9s %14s %14s\n", "", "in, Gbit/s", "out, Gbit/s");
  for (const ComponentNeed& need : needs.needs) {
    std::printf("  %-9s %14.3f %14.3f   %s\n", need.component.c_str(), Gbit(need.in_bytes_per_s),
                Gbit(need.out_bytes_per_s), need.why.c_str());
  }
  for (const ComponentNeed& need : needs.needs) {
    if (need.puts_per_s == 0) continue;
    std::printf("\nThe far store gets %.3f puts/s of segments of %s and %.3f gets/s.\n",
                need.puts_per_s, FormatBytes(plan.segment_bytes).c_str(), need.gets_per_s);
  }
  std::printf(
      "\nA byte of an object is %.4f bytes on the wire to the journal and %.2f to the segments "
      "(heads,\n"
      "names of 64 bytes, TCP; computed). %s\n"
      "Reads that memory has: %.1f %% (assumed).\n"
      "These are rates that last: compare them with the baseline of an instance, not with the "
      "\"up\n"
      "to\" of its burst, which ends when its credits do.\n",
      needs.journal_factor, needs.segment_factor, WrittenText(plan, needs).c_str(),
      100 * plan.hits);
}

int Run(const Globals& globals, const Arguments& arguments) {
  ComponentPlan plan;
  Result<uint64_t> writes = ParseRate(arguments.write_rate);
  if (!writes.ok()) return Fail(writes.status().Annotate("--write-rate"));
  plan.write_bytes_per_s = *writes;
  if (!arguments.read_rate.empty()) {
    Result<uint64_t> reads = ParseRate(arguments.read_rate);
    if (!reads.ok()) return Fail(reads.status().Annotate("--read-rate"));
    plan.read_bytes_per_s = *reads;
  }
  Result<uint64_t> value = ParseBytes(arguments.value);
  if (!value.ok()) return Fail(value.status().Annotate("--value"));
  if (*value == 0 || *value > kGiB)
    return Fail(Status::Invalid("--value: must be at least 1 byte and at most 1 GiB"));
  plan.value_bytes = *value;
  plan.key_value = arguments.key_value;
  plan.kept = arguments.kept / 100;
  plan.hits = arguments.hits / 100;
  Result<uint64_t> segment = ParseBytes(arguments.segment);
  if (!segment.ok()) return Fail(segment.status().Annotate("--segment"));
  if (*segment < kMiB || *segment > 64 * kMiB)
    return Fail(Status::Invalid("--segment: must be at least 1 MiB and at most 64 MiB"));
  plan.segment_bytes = *segment;
  plan.far_copy = arguments.far_copy;
  plan.reclaim_reads_far = arguments.far_copy && arguments.reclaim_reads == "far";
  plan.reclaim_at = arguments.reclaim_at == "storage"  ? ReclaimAt::kStorage
                    : arguments.reclaim_at == "worker" ? ReclaimAt::kWorker
                                                       : ReclaimAt::kNode;
  if (plan.reclaim_at != ReclaimAt::kNode && arguments.elsewhere == "journal")
    return Fail(Status::Invalid("--reclaim-at: segments on the node are moved by the node"));
  if (plan.reclaim_at != ReclaimAt::kNode && plan.reclaim_reads_far)
    return Fail(Status::Invalid("--reclaim-at: copies are read by the node"));
  plan.journal_elsewhere = arguments.elsewhere != "disk";
  plan.disk_elsewhere = arguments.elsewhere != "journal";
  const ComponentNeeds needs = NeedsOf(plan);
  if (globals.json) {
    PrintJson(ToJson(needs));
  } else {
    Print(plan, needs);
  }
  return kOk;
}

}  // namespace

void AddComponentsCommand(CLI::App& app, const Globals& globals, Chosen* chosen) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "components",
      "the baseline network that a node's journal, segments and reclaim need on other machines");
  command->add_option("--write-rate", arguments->write_rate, "of objects, as 200MB/s or 1.6Gbit/s")
      ->required();
  command->add_option("--value", arguments->value, "bytes of an object (64KiB)");
  command->add_flag("--key-value", arguments->key_value,
                    "of a store whose journal gets every value, and not what is promised about it");
  command->add_option("--elsewhere", arguments->elsewhere, "what is on a storage server")
      ->check(CLI::IsMember({"journal", "disk", "both"}));
  command
      ->add_option("--reclaim-at", arguments->reclaim_at,
                   "who moves what reclaim keeps: node, storage server or a worker (node)")
      ->check(CLI::IsMember({"node", "storage", "worker"}));
  command->add_option("--kept", arguments->kept, "percent of a segment that reclaim keeps (20)")
      ->check(Percent(20));
  command->add_option("--read-rate", arguments->read_rate, "of objects, likewise");
  command->add_option("--hits", arguments->hits, "percent of the reads that memory has (98)")
      ->check(Percent(100));
  CLI::Option* far_copy = command->add_flag("--far-copy", arguments->far_copy,
                                            "each segment has a copy in the far store");
  command->add_option("--segment", arguments->segment, "bytes of a segment (64MiB)")
      ->needs(far_copy);
  command->add_option("--reclaim-reads", arguments->reclaim_reads, "as disk.reclaim_reads (disk)")
      ->check(CLI::IsMember({"disk", "far"}))
      ->needs(far_copy);
  command->callback(
      [=, &globals] { *chosen = [=, &globals] { return Run(globals, *arguments); }; });
}

}  // namespace holdfast::cli
