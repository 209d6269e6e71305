// SPDX-License-Identifier: Apache-2.0
// A plan and a run in words and in JSON.
#pragma once

#include "jobclient/cli/context.h"

namespace holdfast::cli {

// What the far requests and bytes of `requests` and `bytes` cost.
MicroUsd FarCost(const FarSettings& prices, uint64_t requests, uint64_t bytes);

void PrintPlan(const PlanReport& plan, const FarSettings& prices);
Json ToJson(const PlanReport& plan, const FarSettings& prices);

}  // namespace holdfast::cli
