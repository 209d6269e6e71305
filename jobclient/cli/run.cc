// SPDX-License-Identifier: Apache-2.0
// holdfast plan LIST, holdfast run LIST
#include <charconv>
#include <chrono>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/hash.h"
#include "jobclient/cli/commands.h"
#include "jobclient/cli/plan_text.h"
#include "jobclient/cli/verify.h"

namespace holdfast::cli {
namespace {

struct RunOptions {
  std::string list;
  uint64_t epochs = 2;
  uint64_t seed = 1;
  bool verify = true;
  bool in_order = false;
  bool wait = false;
};

struct EpochResult {
  ReaderReport report;
  double seconds = 0;
  uint64_t far_requests = 0;  // by the nodes and by this process
  uint64_t far_bytes = 0;
  std::vector<std::string> failures;  // at most a few
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct FarSum {
  uint64_t requests = 0, bytes = 0;
};
FarSum SpentSoFar(const Client& client, const PlannedJob& job) {
  FarSpending own = client.Spent();
  JobProgress nodes = job.Progress();
  return {own.gets + nodes.far_requests, own.bytes + nodes.far_bytes};
}

// One epoch; `hashes` by position: the first epoch fills it, the others are compared with it.
Result<EpochResult> ReadEpoch(const Globals& globals, Client& client, PlannedJob& job,
                              const RunOptions& options, uint64_t epoch,
                              std::vector<uint64_t>* hashes) {
  EpochResult result;
  FarSum before = SpentSoFar(client, job);
  ReaderOptions reading;
  if (!options.in_order) reading.order = ShuffledOrder(job.list().size(), options.seed, epoch);
  reading.last_pass = epoch + 1 == options.epochs;
  Result<std::unique_ptr<Reader>> reader = job.Read(reading);
  if (!reader.ok()) return reader.status();
  Progress progress(globals, "epoch " + std::to_string(epoch + 1));
  double began = Now();
  for (;;) {
    Result<std::optional<Object>> object = (*reader)->Next();
    progress.Show((*reader)->done(), (*reader)->total());
    if (!object.ok()) {
      if (result.failures.size() < 10) result.failures.push_back(object.status().message());
      continue;
    }
    if (!object->has_value()) break;
    if (!options.verify) continue;
    uint64_t hash = Hash64((**object).bytes());
    uint64_t& seen = (*hashes)[(**object).position()];
    if (seen != 0 && seen != hash) {
      result.failures.push_back(std::string((**object).name()) +
                                ": this epoch read other bytes than the one before");
    }
    seen = hash;
  }
  result.seconds = Now() - began;
  result.report = (*reader)->Report();
  job.WaitForLoads(Duration(2s));  // so that the nodes have said what they have spent by now
  FarSum after = SpentSoFar(client, job);
  result.far_requests = after.requests - before.requests;
  result.far_bytes = after.bytes - before.bytes;
  return result;
}

// Nodes say what they spend for the promises of a job. What they fetch as homes, for any reader, is
// in their own state only, and a home may have had the object: so much more it may have been.
std::string ByHomes(uint64_t reads) {
  return reads == 0 ? "" : " and up to " + FormatCount(reads) + " by homes";
}
constexpr size_t kThroughHome = static_cast<size_t>(ObjectSource::kThroughHome);

void PrintEpoch(uint64_t epoch, const EpochResult& result) {
  const ReaderReport& r = result.report;
  uint64_t objects = 0, bytes = 0;
  for (size_t source = 0; source < kObjectSources; ++source) {
    objects += r.objects[source];
    bytes += r.bytes[source];
  }
  auto percent = [&](size_t source) {
    return objects == 0
               ? 0.0
               : 100.0 * static_cast<double>(r.objects[source]) / static_cast<double>(objects);
  };
  std::printf("Epoch %s  %s objects, %s in %.2f s = %s/s\n", FormatCount(epoch + 1).c_str(),
              FormatCount(objects).c_str(), FormatBytes(bytes).c_str(), result.seconds,
              FormatBytes(static_cast<uint64_t>(static_cast<double>(bytes) /
                                                std::max(result.seconds, 1e-9)))
                  .c_str());
  std::printf(
      "  own memory %.1f %%   own disk %.1f %%   other nodes %.1f %%   fetched by a home %.1f %%   "
      "far away %.1f %%\n",
      percent(0), percent(4), percent(1), percent(2), percent(3));
  std::printf("  far requests %s, %s%s; waited %s%s\n", FormatCount(result.far_requests).c_str(),
              FormatBytes(result.far_bytes).c_str(), ByHomes(r.objects[kThroughHome]).c_str(),
              FormatDuration(r.waited).c_str(),
              r.failed == 0 ? "" : ("; FAILED " + FormatCount(r.failed)).c_str());
}

Json EpochJson(uint64_t epoch, const EpochResult& result) {
  const ReaderReport& r = result.report;
  const uint64_t bytes = std::accumulate(std::begin(r.bytes), std::end(r.bytes), uint64_t{0});
  return {{"epoch", epoch + 1},
          {"seconds", result.seconds},
          {"local_objects", r.objects[0]},
          {"own_disk_objects", r.objects[4]},
          {"peer_objects", r.objects[1]},
          {"through_home_objects", r.objects[2]},
          {"far_objects", r.objects[3]},
          {"bytes", bytes},
          {"failed", r.failed},
          {"detours", r.detours},
          {"waited_us", r.waited.count()},
          {"far_requests", result.far_requests},
          {"far_bytes", result.far_bytes}};
}

Result<std::unique_ptr<PlannedJob>> PlanList(const Globals& globals, Client& client,
                                             const std::string& source, bool dry_run) {
  Result<ObjectList> list = ReadList(client, globals, source);
  if (!list.ok()) return list.status();
  Progress progress(globals, "looking up sizes");
  PlanOptions plan;
  plan.dry_run = dry_run;
  plan.progress = progress.callback();
  return client.Plan(*std::move(list), plan);
}

int Plan(const Globals& globals, const std::string& source) {
  Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return Fail(options.status());
  FarSettings prices = options->far;
  Result<std::unique_ptr<Client>> client = Client::Connect(*std::move(options));
  if (!client.ok()) return Fail(client.status());
  Result<std::unique_ptr<PlannedJob>> job = PlanList(globals, **client, source, true);
  if (!job.ok()) return Fail(job.status());
  if (globals.json) {
    PrintJson(ToJson((*job)->planned(), prices));
  } else {
    PrintPlan((*job)->planned(), prices);
    std::printf("  nothing was reserved\n");
  }
  return kOk;
}

int Finish(const Globals& globals, const ClientOptions& options, const PlannedJob& job,
           const std::vector<EpochResult>& epochs, const std::vector<uint64_t>& hashes,
           bool verify) {
  uint64_t wrong = 0;
  std::set<std::string> told;  // what fails in one epoch mostly fails in the others, too
  for (const EpochResult& epoch : epochs) {
    wrong += epoch.report.failed;
    for (const std::string& failure : epoch.failures) {
      if (told.insert(failure).second) Say(failure);
    }
    if (epoch.report.failed == 0) wrong += epoch.failures.size();
  }
  FarSum far;
  uint64_t reads = 0, bytes = 0, by_homes = 0;
  for (const EpochResult& epoch : epochs) {
    by_homes += epoch.report.objects[kThroughHome];
    far.requests += epoch.far_requests;
    far.bytes += epoch.far_bytes;
    for (size_t source = 0; source < kObjectSources; ++source) {
      reads += epoch.report.objects[source];
      bytes += epoch.report.bytes[source];
    }
  }
  Differences differences;
  if (verify) {
    Progress progress(globals, "comparing with the source");
    Result<Differences> compared = CompareWithSource(options, job.list(), hashes, &progress);
    if (!compared.ok()) return Fail(compared.status());
    differences = *std::move(compared);
    wrong += differences.lines.size();
    for (size_t i = 0; i < differences.lines.size() && i < 10; ++i) {
      Say(differences.lines[i]);
    }
  }
  MicroUsd spent = FarCost(options.far, far.requests, far.bytes),
           without = FarCost(options.far, reads, bytes);
  if (globals.json) {
    PrintJson({{"reads", reads},
               {"bytes", bytes},
               {"far_requests", far.requests},
               {"far_bytes", far.bytes},
               {"through_home_reads", by_homes},
               {"far_micro_usd", spent},
               {"saved_micro_usd", without - spent},
               {"compared", differences.compared},
               {"differing", differences.lines.size()},
               {"wrong", wrong}});
    return wrong == 0 ? kOk : kWrong;
  }
  std::printf("Total  %s reads, %s; far away %s requests, %s, %s%s; saved %s%s\n",
              FormatCount(reads).c_str(), FormatBytes(bytes).c_str(),
              FormatCount(far.requests).c_str(), FormatBytes(far.bytes).c_str(),
              FormatMoney(spent).c_str(), ByHomes(by_homes).c_str(),
              by_homes == 0 ? "" : "at most ", FormatMoney(without - spent).c_str());
  if (verify) {
    std::printf("       %s objects compared with their source byte by byte (XXH3): %s differ\n",
                FormatCount(differences.compared).c_str(),
                FormatCount(differences.lines.size()).c_str());
  }
  if (wrong > 0) std::printf("       %s WRONG OR FAILED\n", FormatCount(wrong).c_str());
  return wrong == 0 ? kOk : kWrong;
}

int Run(const Globals& globals, const RunOptions& run) {
  Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return Fail(options.status());
  Result<std::unique_ptr<Client>> client = Client::Connect(*options);
  if (!client.ok()) return Fail(client.status());
  Result<std::unique_ptr<PlannedJob>> job = PlanList(globals, **client, run.list, false);
  if (!job.ok()) return Fail(job.status());
  if (globals.json) {
    PrintJson(ToJson((*job)->planned(), options->far));
  } else {
    PrintPlan((*job)->planned(), options->far);
  }
  if (run.wait) {
    Progress progress(globals, "loading");
    (*job)->WaitForLoads(std::chrono::hours(24), [&](const JobProgress& p) {
      progress.Show(p.loads_done, p.loads_done + p.loads_left);
    });
  }
  std::vector<uint64_t> hashes((*job)->list().size());
  std::vector<EpochResult> epochs;
  for (uint64_t epoch = 0; epoch < run.epochs; ++epoch) {
    Result<EpochResult> result = ReadEpoch(globals, **client, **job, run, epoch, &hashes);
    if (!result.ok()) return Fail(result.status());
    if (globals.json) {
      PrintJson(EpochJson(epoch, *result));
    } else {
      PrintEpoch(epoch, *result);
    }
    epochs.push_back(*std::move(result));
  }
  return Finish(globals, *options, **job, epochs, hashes, run.verify);
}

// CLI11 takes "-1" for the largest number and cuts what is larger than that.
std::string IsUnsigned(const std::string& text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return text + " is no integer from 0 to " + std::to_string(UINT64_MAX);
}

}  // namespace

void AddRunCommands(CLI::App& app, const Globals& globals, Chosen* chosen) {
  auto options = std::make_shared<RunOptions>();
  const char* list_help =
      "a list file, a directory, a prefix that ends in /, or - for standard input";
  CLI::App* plan =
      app.add_subcommand("plan", "say what a list would cost and what covers it; reserves nothing");
  plan->add_option("LIST", options->list, list_help)->required();
  plan->callback(
      [=, &globals] { *chosen = [=, &globals] { return Plan(globals, options->list); }; });
  CLI::App* run =
      app.add_subcommand("run", "plan a list, read all of it, compare it with the source, report");
  run->add_option("LIST", options->list, list_help)->required();
  run->add_option("--epochs", options->epochs, "how often to read it")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  run->add_option("--seed", options->seed, "of the epochs' orders")
      ->check(IsUnsigned)
      ->capture_default_str();
  run->add_flag("--in-order", options->in_order,
                "read in the order of the list instead of shuffled");
  run->add_flag("--wait", options->wait, "begin to read when everything is loaded");
  run->add_flag("!--no-verify", options->verify, "do not compare with the source");
  run->callback([=, &globals] { *chosen = [=, &globals] { return Run(globals, *options); }; });
}

}  // namespace holdfast::cli
