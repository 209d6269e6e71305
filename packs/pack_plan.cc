// SPDX-License-Identifier: Apache-2.0
#include "packs/pack_plan.h"

#include <algorithm>
#include <bit>

#include "base/uri.h"
#include "packs/pack_format.h"

namespace holdfast::packs {
namespace {

struct Candidate {
  Oid oid;
  uint32_t position;
};

// Those that are to be packed, by OID; of a name that is given twice the first.
std::vector<Candidate> Choose(const std::vector<FarEntry>& given, const PlanLimits& limits,
                              Plan* plan) {
  std::vector<Candidate> chosen;
  chosen.reserve(given.size());
  for (uint32_t i = 0; i < given.size(); ++i) {
    if (given[i].info.size > limits.max_object_bytes) {
      ++plan->too_large;
      plan->too_large_bytes += given[i].info.size;
    } else {
      chosen.push_back({OidOf(given[i].uri), i});
    }
  }
  std::sort(chosen.begin(), chosen.end(), [](const Candidate& a, const Candidate& b) {
    return std::pair(a.oid, a.position) < std::pair(b.oid, b.position);
  });
  const auto end = std::unique(chosen.begin(), chosen.end(),
                               [](const auto& a, const auto& b) { return a.oid == b.oid; });
  plan->twice = static_cast<uint64_t>(chosen.end() - end);
  chosen.erase(end, chosen.end());
  for (const Candidate& c : chosen) plan->bytes += given[c.position].info.size;
  plan->objects = chosen.size();
  return chosen;
}

class Cutter {
 public:
  Cutter(Plan* plan, uint64_t most) : plan_(plan), most_(std::min(most, kMaxPackBytes)) {}
  void Add(uint32_t position, uint64_t size) {
    const bool full =
        !begun_ || now().bytes + size > most_ || now().objects.size() >= kMaxPackObjects;
    if (full) plan_->packs.emplace_back();
    begun_ = true;
    now().objects.push_back(position);
    now().bytes += size;
  }
  void Cut() { begun_ = false; }

 private:
  PackPlan& now() { return plan_->packs.back(); }
  Plan* plan_;
  uint64_t most_;
  bool begun_ = false;
};

Spent WithMoney(Spent spent, const ReadPrices& prices, MicroUsd per_1000_puts) {
  constexpr uint64_t kGb = 1'000'000'000;
  const auto of = [](MicroUsd price) {
    return static_cast<uint64_t>(std::max<MicroUsd>(price, 0));
  };
  // In parts, so that no product overflows.
  const uint64_t bytes =
      spent.bytes / kGb * of(prices.per_gb) + spent.bytes % kGb * of(prices.per_gb) / kGb;
  spent.money = static_cast<MicroUsd>(spent.requests * of(prices.per_1000_gets) / 1'000 +
                                      spent.puts * of(per_1000_puts) / 1'000 + bytes);
  return spent;
}

}  // namespace

Plan MakePlan(const std::vector<FarEntry>& given, const PlanLimits& limits) {
  Plan plan;
  std::vector<Candidate> chosen = Choose(given, limits, &plan);
  if (limits.by_hash) {
    const uint64_t wanted =
        plan.bytes / std::max<uint64_t>(limits.pack_bytes, 1) + plan.objects / kMaxPackObjects + 1;
    const int bits = std::countr_zero(std::bit_ceil(wanted));
    Cutter cutter(&plan, kMaxPackBytes);
    uint64_t last = 0;
    for (const Candidate& c : chosen) {
      const uint64_t number = bits == 0 ? 0 : c.oid.hi >> (64 - bits);
      if (number != last) cutter.Cut();
      last = number;
      cutter.Add(c.position, given[c.position].info.size);
    }
    return plan;
  }
  std::sort(chosen.begin(), chosen.end(),
            [](const Candidate& a, const Candidate& b) { return a.position < b.position; });
  Cutter cutter(&plan, limits.pack_bytes);
  for (const Candidate& c : chosen) cutter.Add(c.position, given[c.position].info.size);
  return plan;
}

Spent ReadOneByOne(const Plan& plan, const ReadPrices& prices) {
  return WithMoney({.requests = plan.objects, .bytes = plan.bytes}, prices, 0);
}

Spent ReadPacks(const Plan& plan, const ReadPrices& prices) {
  return WithMoney({.requests = plan.packs.size(), .bytes = plan.bytes}, prices, 0);
}

Spent ToPack(const Plan& plan, const ReadPrices& prices, MicroUsd per_1000_puts) {
  return WithMoney({.requests = plan.objects + plan.packs.size() + 1,
                    .puts = plan.packs.size() + 1,
                    .bytes = 2 * plan.bytes},
                   prices, per_1000_puts);
}

}  // namespace holdfast::packs
