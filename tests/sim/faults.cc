// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/faults.h"

#include "base/hash.h"

namespace holdfast::sim {
namespace {

struct Kind {
  std::string_view name;
  double
      rate;  // the highest chance per opportunity; for what is scheduled (chaos.h), per second and cluster
};

constexpr std::array<Kind, kFaultKinds> kKinds = {{
    {"net-drop", 0.05},         {"net-delay", 0.05},
    {"net-duplicate", 0.05},    {"net-reorder", 0.2},
    {"net-garble", 0.02},       {"net-queue-full", 1.0},
    {"net-partition", 0.1},     {"net-partition-one-way", 0.1},
    {"bulk-break", 0.05},       {"bulk-stall", 0.02},
    {"bulk-corrupt", 0.02},     {"node-kill-warm", 0.2},
    {"node-kill-cold", 0.15},   {"node-pause", 0.2},
    {"node-leave", 0.05},       {"job-kill", 0.1},
    {"job-abandon", 0.03},      {"job-pause", 0.1},
    {"clock-jump", 0.1},        {"clock-wall-step", 0.1},
    {"slow-processor", 0.3},    {"far-unavailable", 0.05},
    {"far-slow", 0.05},         {"far-truncated", 0.03},
    {"far-wrong-range", 0.03},  {"far-hang", 0.01},
    {"far-outage", 0.05},       {"far-changed", 0.01},
    {"far-missing", 0.01},      {"far-denied", 0.01},
    {"disk-slow", 0.02},        {"disk-read-error", 0.03},
    {"disk-write-error", 0.1},  {"disk-flip", 0.1},
    {"disk-crash", 1.0},        {"session-garbage", 0.1},
    {"collector-second", 1.0},  {"collector-kill", 0.2},
    {"collector-old-log", 0.1}, {"journal-slow", 0.02},
    {"journal-fails", 0.02},    {"journal-crash", 1.0},
    {"journal-lost", 0.3},      {"far-expires", 0.01},
}};

}  // namespace

std::string_view NameOf(Fault fault) { return kKinds[static_cast<size_t>(fault)].name; }

Faults::Faults(uint64_t seed) : random_(Mix64(seed ^ 0xfa17)) {
  none_ = random_.Below(8) == 0;
  for (size_t k = 0; k < kFaultKinds; ++k) {
    bool chosen = random_.Chance(0.5);
    double strength = random_.Unit();
    if (chosen && !none_) rates_[k] = kKinds[k].rate * (0.1 + 0.9 * strength * strength);
  }
}

bool Faults::Fires(Fault fault) {
  double rate = rates_[Index(fault)];
  if (stopped_ || rate == 0) return false;
  if (!random_.Chance(rate)) return false;
  Count(fault);
  return true;
}

}  // namespace holdfast::sim
