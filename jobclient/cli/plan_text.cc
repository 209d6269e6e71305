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

}  // namespace

MicroUsd FarCost(const FarSettings& prices, uint64_t requests, uint64_t bytes) {
  return static_cast<MicroUsd>(requests) * prices.micro_usd_per_1000_gets / 1'000 +
         static_cast<MicroUsd>(bytes / 1'000) * prices.micro_usd_per_gb / 1'000'000;
}

void PrintPlan(const PlanReport& plan, const FarSettings& prices) {
  size_t answered = 0;
  for (const PlanReport::PerNode& node : plan.nodes) answered += node.answered;
  std::printf("Plan   %s objects, %s, with %zu of %zu nodes in %s (%u call%s)\n",
              FormatCount(plan.objects).c_str(), FormatBytes(plan.bytes).c_str(), answered,
              plan.nodes.size(), FormatDuration(plan.planned_in).c_str(), plan.calls,
              plan.calls == 1 ? "" : "s");
  Row("in the cluster", plan.kept_objects, plan.kept_bytes, "kept for this job");
  Row("to be loaded", plan.load_objects, plan.load_bytes,
      ("ready in about " + FormatDuration(plan.ready)).c_str());
  Row("read far away", plan.far_objects, plan.far_bytes, "no node can have them");
  if (plan.too_large_objects > 0) {
    std::printf(
        "  %s of them are larger than a node takes: raise memory.segment or memory.max_object\n",
        FormatCount(plan.too_large_objects).c_str());
  }
  std::printf(
      "  far away it will take %s requests, %s, %s; the cluster saves %s requests, %s, %s\n",
      FormatCount(plan.far_requests).c_str(), FormatBytes(plan.load_bytes + plan.far_bytes).c_str(),
      FormatMoney(FarCost(prices, plan.far_requests, plan.load_bytes + plan.far_bytes)).c_str(),
      FormatCount(plan.kept_objects).c_str(), FormatBytes(plan.kept_bytes).c_str(),
      FormatMoney(FarCost(prices, plan.kept_objects, plan.kept_bytes)).c_str());
}

Json ToJson(const PlanReport& plan, const FarSettings& prices) {
  const uint64_t bytes = plan.load_bytes + plan.far_bytes;
  Json nodes = Json::array();
  for (const PlanReport::PerNode& node : plan.nodes) {
    nodes.push_back({{"node", node.node},
                     {"answered", node.answered},
                     {"keeps", node.keeps},
                     {"loads", node.loads},
                     {"bytes", node.bytes}});
  }
  return {{"objects", plan.objects},
          {"bytes", plan.bytes},
          {"local_objects", plan.local_objects},
          {"kept_objects", plan.kept_objects},
          {"kept_bytes", plan.kept_bytes},
          {"load_objects", plan.load_objects},
          {"load_bytes", plan.load_bytes},
          {"far_objects", plan.far_objects},
          {"far_bytes", plan.far_bytes},
          {"too_large_objects", plan.too_large_objects},
          {"ready_us", plan.ready.count()},
          {"planned_in_us", plan.planned_in.count()},
          {"calls", plan.calls},
          {"far_requests_ahead", plan.far_requests},
          {"far_micro_usd_ahead", FarCost(prices, plan.far_requests, bytes)},
          {"saved_micro_usd", FarCost(prices, plan.kept_objects, plan.kept_bytes)},
          {"nodes", std::move(nodes)}};
}

}  // namespace holdfast::cli
