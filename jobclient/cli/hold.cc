// SPDX-License-Identifier: Apache-2.0
// holdfast hold LIST --for 4h, holdfast release JOB
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "jobclient/cli/commands.h"
#include "jobclient/cli/plan_text.h"

namespace holdfast::cli {
namespace {

std::string JobName(JobId job) {
  char text[20];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(job));
  return text;
}

Result<JobId> ParseJob(const std::string& text) {
  size_t used = 0;
  JobId job = 0;
  if (text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos) {
    job = std::stoull(text, &used, 16);
  }
  if (used != 16)
    return Status::Invalid("\"" + text +
                           "\" is no job; write the 16 digits that `holdfast hold` printed");
  return job;
}

int Hold(const Globals& globals, const std::string& source, const std::string& duration,
         bool wait) {
  Result<Duration> hold = ParseDuration(duration);
  if (!hold.ok()) return Fail(hold.status().Annotate("--for"));
  if (*hold < Duration(1s)) return Fail(Status::Invalid("--for: a list is held for 1 s or longer"));
  Result<ClientOptions> options = ReadOptions(globals);
  if (!options.ok()) return Fail(options.status());
  FarSettings prices = options->far;
  Result<std::unique_ptr<Client>> client = Client::Connect(*std::move(options));
  if (!client.ok()) return Fail(client.status());
  Result<ObjectList> list = ReadList(**client, globals, source);
  if (!list.ok()) return Fail(list.status());
  PlanOptions plan;
  plan.hold = *hold;
  plan.lease = std::min(plan.lease, *hold);
  Result<std::unique_ptr<PlannedJob>> job = (*client)->Plan(*std::move(list), plan);
  if (!job.ok()) return Fail(job.status());
  Status held = (*job)->Hold();
  if (!held.ok()) {
    const std::string name = JobName((*job)->id());
    return Fail(held.Annotate("job " + name +
                              " may be held by some nodes all the same (`holdfast release " + name +
                              "` ends that)"));
  }
  if (wait) {
    Progress progress(globals, "loading");
    const bool loaded = (*job)->WaitForLoads(*hold, [&](const JobProgress& p) {
      progress.Show(p.loads_done, p.loads_done + p.loads_left);
    });
    if (!loaded) {
      return Fail(Status::Timeout("the nodes have not loaded all within " + FormatDuration(*hold) +
                                  ", and hold nothing any more; hold it for longer"));
    }
  }
  const PlanReport& report = (*job)->planned();
  if (globals.json) {
    Json json = ToJson(report, prices);
    json["job"] = JobName((*job)->id());
    json["held_for_us"] = report.held_for.count();
    PrintJson(json);
  } else {
    PrintPlan(report, prices);
    if (report.far_objects < report.objects)
      std::printf("Held for %s as job %s; `holdfast release %s` ends it\n",
                  FormatDuration(report.held_for).c_str(), JobName((*job)->id()).c_str(),
                  JobName((*job)->id()).c_str());
  }
  if (report.held_for > Duration(0) && report.held_for < *hold)
    Say("not for " + FormatDuration(*hold) + ": a node keeps them for at most " +
        FormatDuration(report.held_for) + "; raise limits.max_hold there, or hold it again then");
  // With --wait, those that no node could load after all are known, too.
  const uint64_t missing = wait ? (*job)->Report().far_objects : report.far_objects;
  if (missing > 0) {
    Say(FormatCount(missing) + " of " + FormatCount(report.objects) +
        " objects are not held: no node has room for them, or none could load them (reading them "
        "with `holdfast run` says why)");
    return kWrong;
  }
  return kOk;
}

int Release(const Globals& globals, const std::string& text) {
  Result<JobId> job = ParseJob(text);
  if (!job.ok()) return Fail(job.status());
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  Status status = (*client)->Release(*job);
  if (!status.ok()) return Fail(status);
  if (globals.json) {
    PrintJson({{"job", text}, {"released", true}});
  } else if (!globals.quiet) {
    std::printf("job %s holds nothing any more\n", text.c_str());
  }
  return kOk;
}

}  // namespace

void AddHoldCommands(CLI::App& app, const Globals& globals, Chosen* chosen) {
  auto list = std::make_shared<std::string>();
  auto duration = std::make_shared<std::string>("1h");
  auto wait = std::make_shared<bool>(false);
  CLI::App* hold =
      app.add_subcommand("hold", "have the nodes load and keep a list, without reading it");
  hold->add_option("LIST", *list, "a list file, a directory, a prefix that ends in /, or -")
      ->required();
  hold->add_option("--for", *duration, "how long: 30min, 4h, 2d")->capture_default_str();
  hold->add_flag("--wait", *wait, "return when everything is loaded");
  hold->callback([=, &globals] {
    *chosen = [=, &globals] { return Hold(globals, *list, *duration, *wait); };
  });
  auto job = std::make_shared<std::string>();
  CLI::App* release = app.add_subcommand("release", "end what `holdfast hold` began");
  release->add_option("JOB", *job, "as printed by hold")->required();
  release->callback([=, &globals] { *chosen = [=, &globals] { return Release(globals, *job); }; });
}

}  // namespace holdfast::cli
