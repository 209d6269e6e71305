// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/packing.h"

#include <atomic>
#include <utility>

#include "jobclient/client/parts.h"

namespace holdfast {
namespace {
constexpr Duration kProgressEvery = 100ms;
}  // namespace

Result<Packing> PlanPacking(Client& client, const ObjectList& list, const std::string& dest,
                            const packs::PlanLimits& limits) {
  const auto& parts = ClientInternals::Of(client);
  Result<std::string> prefix = packs::WritablePrefix(dest, parts.far->options().s3.endpoint);
  if (!prefix.ok()) return prefix.status();
  Packing packing;
  packing.dest = *std::move(prefix);
  for (size_t i = 0; i < list.size(); ++i) {
    const ObjectList::Item item = list.item(i);
    if (item.uri.starts_with(packing.dest)) {
      return Status::Invalid(std::string(item.uri) + " lies where the packs would be, below " +
                             packing.dest + "; give another place for them");
    }
    packing.objects.push_back(
        {std::string(item.uri), {.size = item.size, .etag = std::string(item.etag)}});
  }
  packing.plan = packs::MakePlan(packing.objects, limits);
  if (packing.plan.objects == 0) {
    return Status::Invalid("no object has at most " + FormatBytes(limits.max_object_bytes) +
                           "; nothing would be packed");
  }
  const FarSettings& far = parts.options.far;
  packing.prices = {.per_1000_gets = far.micro_usd_per_1000_gets,
                    .per_gb = far.micro_usd_per_gb,
                    .per_hour = parts.options.micro_usd_per_hour};
  packing.per_1000_puts = far.micro_usd_per_1000_lists;
  return packing;
}

Result<packs::Packer::Report> Pack(
    Client& client, Packing packing,
    const std::function<void(uint64_t bytes, uint64_t all)>& progress) {
  auto& parts = ClientInternals::Of(client);
  const uint64_t all = packing.plan.bytes;
  std::atomic<uint64_t> so_far{0};
  client::Promised<Result<packs::Packer::Report>> packed;
  packs::Packer packer(
      parts.loop.get(), parts.far.get(), parts.far.get(),
      {.dest = packing.dest, .progress = [&](uint64_t, uint64_t bytes) { so_far = bytes; }});
  parts.thread->Post([&] {
    packer.Start(std::move(packing.objects), std::move(packing.plan),
                 [&](Result<packs::Packer::Report> report) {
                   // Once the packer has returned: it is gone as soon as this is waited for.
                   parts.loop->At(parts.loop->Now(), [&packed, report] { packed.Set(report); });
                 });
  });
  while (true) {
    std::optional<Result<packs::Packer::Report>> done = packed.WaitFor(kProgressEvery);
    if (progress) progress(so_far, all);
    if (done) return *std::move(done);
  }
}

}  // namespace holdfast
