// SPDX-License-Identifier: Apache-2.0
#include "io/storage/permitted_disk.h"

#include <utility>

namespace holdfast::storage {

void PermittedFiles::Read(uint32_t segment, uint64_t offset, ByteSpan into,
                          std::function<void(Status, uint64_t)> done) {
  ++store_->busy;
  store_->segments->Read(segment, offset, into,
                         [alive = alive_, ended = ended_, done = std::move(done)](
                             const Status& status, uint64_t hash) {
                           if (!*alive) return;
                           done(status, hash);  // first: what it begins keeps the store busy
                           ended();
                         });
}

void PermittedFiles::Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
                           std::function<void(Status)> done) {
  uint64_t bytes = 0;
  for (const ByteView& part : parts) bytes += part.size();
  std::shared_ptr<Permit> permit = store_->permits.Begin(key_, segment, offset, bytes);
  if (permit == nullptr) return Refuse(std::move(done));
  ++store_->busy;
  store_->segments->Write(segment, offset, std::move(parts),
                          [alive = alive_, ended = ended_, permit = std::move(permit),
                           done = std::move(done)](const Status& status) {
                            if (!*alive) return;
                            Permits::End(permit.get());
                            done(status);
                            ended();
                          });
}

void PermittedFiles::Sync(uint32_t, std::function<void(Status)> done) { Refuse(std::move(done)); }

void PermittedFiles::Refuse(std::function<void(Status)> done) {
  loop_->Post([done = std::move(done)] { done(NotPermitted()); });
}

}  // namespace holdfast::storage
