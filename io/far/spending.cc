// SPDX-License-Identifier: Apache-2.0
#include "io/far/spending.h"

namespace holdfast::far {
namespace {

__extension__ using Wide = unsigned __int128;

MicroUsd Cost(uint64_t count, MicroUsd price, uint64_t per) {
  if (price <= 0) return 0;
  return static_cast<MicroUsd>(static_cast<Wide>(count) * static_cast<uint64_t>(price) / per);
}

}  // namespace

void Spending::CountRequest(Ask::Kind kind, bool billed, bool repeated) {
  Counter& kind_count = kind == Ask::Kind::kGet    ? gets_
                        : kind == Ask::Kind::kHead ? heads_
                        : kind == Ask::Kind::kPut  ? puts_
                                                   : lists_;
  kind_count.fetch_add(1, std::memory_order_relaxed);
  if (repeated) retries_.fetch_add(1, std::memory_order_relaxed);
  if (!billed) return;
  const bool dear = kind == Ask::Kind::kList || kind == Ask::Kind::kPut;
  Counter& bill = dear ? billed_lists_ : billed_gets_;
  bill.fetch_add(1, std::memory_order_relaxed);
}

void Spending::CountBytes(uint64_t bytes, bool billed) {
  bytes_.fetch_add(bytes, std::memory_order_relaxed);
  if (billed) billed_bytes_.fetch_add(bytes, std::memory_order_relaxed);
}

FarCounters Spending::Read() const {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  FarCounters counters;
  counters.gets = gets_.load(kRelaxed);
  counters.heads = heads_.load(kRelaxed);
  counters.lists = lists_.load(kRelaxed);
  counters.puts = puts_.load(kRelaxed);
  counters.bytes = bytes_.load(kRelaxed);
  counters.retries = retries_.load(kRelaxed);
  counters.errors = errors_.load(kRelaxed);
  counters.money = Cost(billed_gets_.load(kRelaxed), prices_.per_1000_gets, 1000) +
                   Cost(billed_lists_.load(kRelaxed), prices_.per_1000_lists, 1000) +
                   Cost(billed_bytes_.load(kRelaxed), prices_.per_gb, 1'000'000'000);
  return counters;
}

}  // namespace holdfast::far
