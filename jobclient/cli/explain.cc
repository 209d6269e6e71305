// SPDX-License-Identifier: Apache-2.0
// holdfast explain NAME... [--get]
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "jobclient/cli/commands.h"

namespace holdfast::cli {
namespace {

const char* Meaning(Explanation::Choice choice) {
  switch (choice) {
    case Explanation::Choice::kOwnMemory:
      return "it is in this host's own node: read there, nobody is asked";
    case Explanation::Choice::kUnknown:
      return "the snapshot log names no node that has it: by way of its home";
    case Explanation::Choice::kFar:
      return "it is not likely enough to be there still, for what going far costs: by way of its "
             "home";
    case Explanation::Choice::kLook:
      return "a look there first, then by way of its home";
    case Explanation::Choice::kHome:
      return "that node is its home, which is asked in any case";
    case Explanation::Choice::kRace:
      return "a look there and the way by its home at once: waiting for either costs more";
  }
  return "";
}

// Of nanodollars; "$1.234e-6" says more than "$0.0000".
std::string FormatMicro(int64_t nano_usd) {
  char text[32];
  std::snprintf(text, sizeof(text), "$%.3fe-6", static_cast<double>(nano_usd) / 1e3);
  return text;
}

Json ToJson(const Explanation& why) {
  Json json{{"name", why.uri},
            {"oid", ToHex(why.oid)},
            {"choice", NameOf(why.choice)},
            {"snapshot", why.snapshot},
            {"snapshot_age_us", why.snapshot_age.count()},
            {"threshold", why.threshold},
            {"look_nano_usd", why.look_cost},
            {"hit_nano_usd", why.hit_cost},
            {"far_nano_usd", why.far_cost},
            {"look_nano_usd_per_find", why.look_cost_per_find}};
  if (why.node == kNoNode) return json;
  json["node"] = why.node;
  json["age_us"] = why.age.count();
  json["seen_us"] = why.seen.count();
  json["interval"] = {why.interval_low, why.interval_high};
  json["n"] = why.looks;
  json["k"] = why.found;
  json["curve"] = why.curve;
  json["alpha"] = why.alpha;
  json["beta"] = why.beta;
  json["chance"] = why.chance;
  json["chance_95"] = {why.chance_low, why.chance_high};
  json["above_threshold"] = why.above_threshold;
  return json;
}

void Print(const Explanation& why) {
  std::printf("%s\n  OID        %s\n", why.uri.c_str(), ToHex(why.oid).c_str());
  if (why.snapshot == 0) {
    std::printf("  log        the nodes keep no snapshot log (holdfast snapshot collect)\n");
  } else {
    std::printf("  log        snapshot %llu, %s ago\n",
                static_cast<unsigned long long>(why.snapshot),
                FormatDuration(why.snapshot_age).c_str());
  }
  if (why.node != kNoNode) {
    std::printf("  seen       at node %u, %s old; it would be %s old now\n", why.node,
                FormatDuration(why.seen).c_str(), FormatDuration(why.age).c_str());
    std::printf("  curve      %.1f %% of such objects are there still\n", 100 * why.curve);
    std::printf("  looks      %.0f of %.0f found, where the curve says %.0f to %.0f %%\n",
                why.found, why.looks, 100 * why.interval_low, 100 * why.interval_high);
    std::printf("  posterior  Beta(%.1f, %.1f): %.1f %% (95 %% of it between %.1f and %.1f %%)\n",
                why.alpha, why.beta, 100 * why.chance, 100 * why.chance_low, 100 * why.chance_high);
  }
  std::printf("  threshold  a look pays above %.2f %%: it costs %s, going far %s\n",
              100 * why.threshold, FormatMicro(why.look_cost).c_str(),
              FormatMicro(why.far_cost).c_str());
  std::printf("             all looks so far cost %s per find\n",
              FormatMicro(why.look_cost_per_find).c_str());
  if (why.node != kNoNode)
    std::printf("             the chance is above it with %.1f %%\n", 100 * why.above_threshold);
  std::printf("  choice     %s: %s\n", NameOf(why.choice), Meaning(why.choice));
}

int Explain(const Globals& globals, const std::vector<std::string>& names, bool get) {
  Result<std::unique_ptr<Client>> client = Connect(globals);
  if (!client.ok()) return Fail(client.status());
  int code = kOk;
  for (const std::string& name : names) {
    const std::string uri = NameOf(name);
    Result<Explanation> why = (*client)->Explain(uri);
    if (!why.ok()) {
      code = Fail(why.status());
      continue;
    }
    Json json = ToJson(*why);
    if (!globals.json) Print(*why);
    if (get) {
      Result<Object> object = (*client)->Get(uri);
      if (!object.ok()) code = Fail(object.status());
      const char* from = object.ok() ? WordFor(object->source()) : "nowhere";
      json["outcome"] = from;
      if (!globals.json) std::printf("  outcome    from %s\n", from);
    }
    if (globals.json) PrintJson(json);
  }
  return code;
}

}  // namespace

void AddExplainCommand(CLI::App& app, const Globals& globals, Chosen* chosen) {
  auto names = std::make_shared<std::vector<std::string>>();
  auto get = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "explain", "why an object that was not planned would be looked for, and where");
  command->add_option("NAME", *names, "URIs or paths")->required();
  command->add_flag("--get", *get, "read it too, and say where it came from");
  command->callback(
      [=, &globals] { *chosen = [=, &globals] { return Explain(globals, *names, *get); }; });
}

}  // namespace holdfast::cli
