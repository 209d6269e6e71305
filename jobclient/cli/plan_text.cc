// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/plan_text.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace holdfast::cli {
namespace {

void Row(const char* what, uint64_t objects, uint64_t bytes, const char* note) {
  if (objects == 0) return;
  std::printf("  %-22s %12s  %11s  %s\n", what, FormatCount(objects).c_str(),
              FormatBytes(bytes).c_str(), note);
}

uint64_t FarBytes(const PlanReport& plan) {
  return plan.load_bytes - plan.disk_bytes + plan.far_bytes;
}

}  // namespace

MicroUsd FarCost(const FarSettings& prices, uint64_t requests, uint64_t bytes) {
  return static_cast<MicroUsd>(requests) * prices.micro_usd_per_1000_gets / 1'000 +
         static_cast<MicroUsd>(bytes / 1'000) * prices.micro_usd_per_gb / 1'000'000;
}

void PrintPlan(const PlanReport& plan, const FarSettings& prices) {
  size_t answered = 0;
  for (const PlanReport::PerNode& node : plan.nodes) answered += node.answered;
  const std::string cut =
      plan.cut_objects == 0 ? "" : " (" + FormatCount(plan.cut_objects) + " in chunks)";
  std::printf("Plan   %s objects%s, %s, with %zu of %zu nodes in %s (%u call%s)\n",
              FormatCount(plan.objects).c_str(), cut.c_str(), FormatBytes(plan.bytes).c_str(),
              answered, plan.nodes.size(), FormatDuration(plan.planned_in).c_str(), plan.calls,
              plan.calls == 1 ? "" : "s");
  Row("in the cluster", plan.kept_objects, plan.kept_bytes, "kept for this job");
  Row("to be loaded", plan.load_objects, plan.load_bytes,
      ("ready in about " + FormatDuration(plan.ready)).c_str());
  Row("  of them from disks", plan.disk_objects, plan.disk_bytes, "of the nodes");
  Row("read far away", plan.far_objects, plan.far_bytes, "no node can have them");
  if (plan.too_large_objects > 0) {
    std::printf(
        "  %s of them are larger than a node takes: raise memory.segment or memory.max_object\n",
        FormatCount(plan.too_large_objects).c_str());
  }
  const uint64_t far = FarBytes(plan);
  const uint64_t saved = plan.kept_objects + plan.disk_objects;
  const uint64_t saved_bytes = plan.kept_bytes + plan.disk_bytes;
  std::printf(
      "  far away it will take %s requests, %s, %s; the cluster saves %s requests, %s, %s\n",
      FormatCount(plan.far_requests).c_str(), FormatBytes(far).c_str(),
      FormatMoney(FarCost(prices, plan.far_requests, far)).c_str(), FormatCount(saved).c_str(),
      FormatBytes(saved_bytes).c_str(), FormatMoney(FarCost(prices, saved, saved_bytes)).c_str());
}

Json ToJson(const PlanReport& plan, const FarSettings& prices) {
  Json nodes = Json::array();
  for (const PlanReport::PerNode& node : plan.nodes) {
    nodes.push_back({{"node", node.node},
                     {"answered", node.answered},
                     {"keeps", node.keeps},
                     {"loads", node.loads},
                     {"bytes", node.bytes}});
  }
  return {{"objects", plan.objects},
          {"cut_objects", plan.cut_objects},
          {"bytes", plan.bytes},
          {"local_objects", plan.local_objects},
          {"kept_objects", plan.kept_objects},
          {"kept_bytes", plan.kept_bytes},
          {"load_objects", plan.load_objects},
          {"load_bytes", plan.load_bytes},
          {"disk_objects", plan.disk_objects},
          {"disk_bytes", plan.disk_bytes},
          {"far_objects", plan.far_objects},
          {"far_bytes", plan.far_bytes},
          {"too_large_objects", plan.too_large_objects},
          {"ready_us", plan.ready.count()},
          {"planned_in_us", plan.planned_in.count()},
          {"calls", plan.calls},
          {"far_requests_ahead", plan.far_requests},
          {"far_micro_usd_ahead", FarCost(prices, plan.far_requests, FarBytes(plan))},
          {"saved_micro_usd", FarCost(prices, plan.kept_objects + plan.disk_objects,
                                      plan.kept_bytes + plan.disk_bytes)},
          {"nodes", std::move(nodes)}};
}

}  // namespace holdfast::cli
