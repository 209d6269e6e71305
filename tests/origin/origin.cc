// SPDX-License-Identifier: Apache-2.0
#include "tests/origin/origin.h"

#include "tests/origin/loop.h"

namespace holdfast::origin {

Result<std::unique_ptr<Origin>> Origin::Start(OriginOptions options) {
  const uint32_t threads = std::max<uint32_t>(options.threads, 1);
  std::unique_ptr<Origin> origin(new Origin(std::move(options)));
  origin->port_ = origin->options_.port;
  for (uint32_t i = 0; i < threads; ++i) {
    auto loop = std::make_unique<OriginLoop>(origin.get());
    Result<uint16_t> port = loop->Listen(origin->port_);
    if (!port.ok()) return port.status();
    origin->port_ = *port;
    origin->loops_.push_back(std::move(loop));
  }
  for (auto& loop : origin->loops_) {
    origin->threads_.emplace_back([running = loop.get()] { running->Run(); });
  }
  return origin;
}

Origin::Origin(OriginOptions options)
    : options_(std::move(options)),
      chooser_(options_.faults, options_.seed),
      fault_counts_(kFaultKinds) {}

Origin::~Origin() {
  for (auto& loop : loops_) loop->Stop();
  for (std::thread& thread : threads_) thread.join();
}

OriginCounters Origin::Counters() const {
  OriginCounters counters;
  counters.connections = connections_.load();
  counters.requests = requests_.load();
  counters.body_bytes = body_bytes_.load();
  for (size_t i = 0; i < kFaultKinds; ++i) counters.faults[i] = fault_counts_[i].load();
  return counters;
}

void Origin::SetVersion(const std::string& path, uint64_t version) {
  std::lock_guard lock(mutex_);
  versions_[path] = version;
  any_version_ = true;
}

uint64_t Origin::VersionOf(const std::string& path) {
  if (!any_version_) return 0;
  std::lock_guard lock(mutex_);
  const auto it = versions_.find(path);
  return it == versions_.end() ? 0 : it->second;
}

Response Origin::Answer(const Request& request, bool* hang) {
  if (options_.answer) {
    if (auto canned = options_.answer(request); canned)
      return MakeCanned(request, std::move(*canned));
  }
  const FaultRule* fault = nullptr;
  if (!options_.faults.empty()) {
    std::lock_guard lock(mutex_);
    fault = chooser_.Choose(request.path);
  }
  if (fault != nullptr) ++fault_counts_[static_cast<size_t>(fault->kind)];
  *hang = fault != nullptr && fault->kind == FaultKind::kHang;
  return MakeResponse(request, VersionOf(request.path), fault, options_.responses);
}

}  // namespace holdfast::origin
