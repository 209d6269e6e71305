// SPDX-License-Identifier: Apache-2.0
// holdfast pack SOURCE DEST
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "jobclient/cli/commands.h"
#include "jobclient/client/packing.h"

namespace holdfast::cli {
namespace {

struct Options {
  std::string source;
  std::string dest;
  std::string order = "hash";
  std::string pack_size = "8MiB";
  std::string max_object = "1MiB";
  bool dry_run = false;
};

Result<packs::PlanLimits> LimitsFrom(const Options& options) {
  constexpr uint64_t kLeastPack = 64 * kKiB;
  constexpr uint64_t kMostObject = 64 * kMiB;
  packs::PlanLimits limits;
  Result<uint64_t> pack = ParseBytes(options.pack_size);
  if (!pack.ok()) return pack.status().Annotate("--pack-size");
  if (*pack < kLeastPack || *pack > packs::kMaxPackBytes / 2) {
    return Status::Invalid("--pack-size: " + options.pack_size + " is not between " +
                           FormatBytes(kLeastPack) + " and " +
                           FormatBytes(packs::kMaxPackBytes / 2));
  }
  Result<uint64_t> object = ParseBytes(options.max_object);
  if (!object.ok()) return object.status().Annotate("--max-object");
  if (*object > kMostObject) {
    return Status::Invalid("--max-object: at most " + FormatBytes(kMostObject) +
                           "; larger objects gain nothing in a pack");
  }
  limits.pack_bytes = *pack;
  limits.max_object_bytes = *object;
  limits.by_hash = options.order == "hash";
  return limits;
}

// Of the far store alone, and as it is: neither the cluster nor packs that there are come between.
Result<std::unique_ptr<Client>> ConnectFar(const Globals& globals) {
  Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return options.status();
  options->nodes.clear();
  options->attach.clear();
  options->far.packed.clear();
  return Client::Connect(*std::move(options));
}

Json ToJson(const packs::Spent& spent) {
  return {{"requests", spent.requests + spent.puts},
          {"bytes", spent.bytes},
          {"micro_usd", spent.money}};
}

void PrintSpent(const char* what, const packs::Spent& spent) {
  std::printf("  %-34s %10s requests  %10s  %s\n", what,
              FormatCount(spent.requests + spent.puts).c_str(), FormatBytes(spent.bytes).c_str(),
              FormatMoney(spent.money).c_str());
}

void PrintPlan(const Globals& globals, const Packing& packing) {
  const packs::Plan& plan = packing.plan;
  const packs::Spent before = packs::ReadOneByOne(plan, packing.prices);
  const packs::Spent after = packs::ReadPacks(plan, packing.prices);
  const packs::Spent once = packs::ToPack(plan, packing.prices, packing.per_1000_puts);
  if (globals.json) {
    return PrintJson({{"objects", plan.objects},
                      {"bytes", plan.bytes},
                      {"packs", plan.packs.size()},
                      {"too_large", plan.too_large},
                      {"twice", plan.twice},
                      {"before", ToJson(before)},
                      {"after", ToJson(after)},
                      {"packing", ToJson(once)}});
  }
  std::printf("%s objects, %s, in %s packs below %s\n", FormatCount(plan.objects).c_str(),
              FormatBytes(plan.bytes).c_str(), FormatCount(plan.packs.size()).c_str(),
              packing.dest.c_str());
  if (plan.too_large > 0) {
    std::printf("  %s objects, %s, are larger than --max-object and stay by themselves\n",
                FormatCount(plan.too_large).c_str(), FormatBytes(plan.too_large_bytes).c_str());
  }
  PrintSpent("to read them once, as they are", before);
  PrintSpent("to read them once, out of packs", after);
  PrintSpent("to pack them", once);
}

void PrintReport(const Globals& globals, const packs::Packer::Report& report, const Packing& to) {
  if (globals.json) {
    return PrintJson({{"packs_written", report.packs_written},
                      {"packs_found", report.packs_found},
                      {"packs_unnamed", report.packs_unnamed},
                      {"objects", report.objects},
                      {"bytes", report.bytes},
                      {"index_bytes", report.index_bytes},
                      {"changed", report.changed},
                      {"left_out", report.left_out}});
  }
  std::printf("%s objects, %s, in %s new packs and %s that were there; the index has %s\n",
              FormatCount(report.objects).c_str(), FormatBytes(report.bytes).c_str(),
              FormatCount(report.packs_written).c_str(), FormatCount(report.packs_found).c_str(),
              FormatBytes(report.index_bytes).c_str());
  if (report.changed > 0) {
    std::printf("  %s objects had changed since they were listed: packed as they are now\n",
                FormatCount(report.changed).c_str());
  }
  if (report.packs_unnamed > 0) {
    std::printf(
        "  %s packs there are in no index any more: delete them when no reader has the old one\n",
        FormatCount(report.packs_unnamed).c_str());
  }
  if (!globals.quiet) {
    std::printf("  to read them so, nodes and clients need: far.packed = [\"%s\"]\n",
                to.dest.c_str());
  }
}

int RunPack(const Globals& globals, const Options& options) {
  Result<packs::PlanLimits> limits = LimitsFrom(options);
  if (!limits.ok()) return Fail(limits.status());
  Result<std::unique_ptr<Client>> client = ConnectFar(globals);
  if (!client.ok()) return Fail(client.status());
  Result<ObjectList> list = ReadList(**client, globals, options.source);
  if (!list.ok()) return Fail(list.status());
  {
    Progress progress(globals, "looking up versions");
    if (Status resolved = (*client)->Resolve(&*list, progress.callback()); !resolved.ok())
      return Fail(resolved);
  }
  Result<Packing> packing = PlanPacking(**client, *list, NameOf(options.dest), *limits);
  if (!packing.ok()) return Fail(packing.status());
  if (options.dry_run || !globals.json) PrintPlan(globals, *packing);
  if (options.dry_run) return kOk;
  std::fflush(stdout);  // it goes on for a while
  Result<packs::Packer::Report> report = Status::NotFound("");
  {
    Progress progress(globals, "packing, MiB");
    report = Pack(**client, *packing,
                  [&](uint64_t done, uint64_t all) { progress.Show(done / kMiB, all / kMiB); });
  }
  if (!report.ok()) {
    Say("what is packed already stays; the same command goes on from there");
    return Fail(report.status());
  }
  PrintReport(globals, *report, *packing);
  for (const Status& why : report->why_left_out) Say("left out: " + why.message());
  if (report->left_out == 0) return kOk;
  Say(FormatCount(report->left_out) + " objects could not be read and are in no pack");
  return kWrong;
}

}  // namespace

void AddPackCommand(CLI::App& app, const Globals& globals, Chosen* chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "pack", "write many small far objects as a few packs with an index; run again it goes on");
  command->add_option("SOURCE", options->source, "a list file, a directory, a prefix, or -")
      ->required();
  command
      ->add_option("DEST", options->dest, "where the packs go: a directory or s3://bucket/prefix")
      ->required();
  command
      ->add_option("--order", options->order,
                   "hash: packs stay as they are when others' objects change; given: as listed")
      ->check(CLI::IsMember({"hash", "given"}))
      ->capture_default_str();
  command->add_option("--pack-size", options->pack_size, "about so many bytes in each")
      ->capture_default_str();
  command->add_option("--max-object", options->max_object, "larger objects stay by themselves")
      ->capture_default_str();
  command->add_flag("--dry-run", options->dry_run,
                    "print requests and money before and after; write nothing");
  command->callback(
      [=, &globals] { *chosen = [=, &globals] { return RunPack(globals, *options); }; });
}

}  // namespace holdfast::cli
