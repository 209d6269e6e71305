// SPDX-License-Identifier: Apache-2.0
#include "io/storage/permits.h"

#include <string>
#include <utility>

namespace holdfast::storage {

Status Permits::Add(uint64_t key, Permit permit) {
  if (key == 0 || permits_.contains(key)) return Status::Invalid("a permit cannot have that key");
  if (permits_.size() >= kMost)
    return Status::NoSpace("it has " + std::to_string(kMost) + " permits, the limit");
  permits_.emplace(key, std::make_shared<Permit>(std::move(permit)));
  return {};
}

void Permits::Revoke(uint64_t key, std::function<void()> done) {
  auto found = permits_.extract(key);
  if (found.empty() || found.mapped()->writes == 0) return done();
  found.mapped()->revoked = std::move(done);  // which whoever writes keeps
}

std::shared_ptr<Permit> Permits::Begin(uint64_t key, uint32_t segment, uint64_t offset,
                                       uint64_t bytes) {
  auto found = permits_.find(key);
  if (found == permits_.end()) return nullptr;
  const std::shared_ptr<Permit>& permit = found->second;
  if (permit->segment != segment || offset < permit->offset || offset > permit->end ||
      bytes > permit->end - offset) {
    return nullptr;
  }
  ++permit->writes;
  return permit;
}

void Permits::End(Permit* permit) {
  if (--permit->writes == 0 && permit->revoked) std::exchange(permit->revoked, nullptr)();
}

}  // namespace holdfast::storage
