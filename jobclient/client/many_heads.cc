// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/many_heads.h"

#include <string>
#include <utility>

namespace holdfast::client {

bool LacksVersion(const ObjectList::Item& item) { return !item.has_size || item.etag.empty(); }

void ManyHeads::Start(const Env& env, ObjectList* list, std::atomic<uint64_t>* count,
                      std::function<void(Outcome)> done) {
  std::shared_ptr<ManyHeads> heads(new ManyHeads(env, list, count, std::move(done)));
  env.clock->At(env.clock->Now(), [heads] { heads->Fill(); });
}

void ManyHeads::Fill() {
  if (outcome_.failed >= kMaxFailures) next_ = list_->size();
  for (; next_ < list_->size() && under_way_ < kAtOnce; ++next_) {
    ObjectList::Item item = list_->item(next_);
    if (!LacksVersion(item)) continue;
    ++under_way_;
    env_.far->Head(std::string(item.uri), env_.clock->Now() + kDeadline,
                   [heads = shared_from_this(), position = next_](Result<FarInfo> info) {
                     heads->Landed(position, std::move(info));
                   });
  }
  if (under_way_ == 0 && done_) std::exchange(done_, nullptr)(std::move(outcome_));
}

void ManyHeads::Landed(size_t position, Result<FarInfo> info) {
  --under_way_;
  count_->fetch_add(1, std::memory_order_relaxed);
  if (info.ok() && info->etag.size() <= 256) {
    list_->SetVersion(position, info->size, info->etag);
  } else {
    ++outcome_.failed;
    if (position < outcome_.first_failed) {
      outcome_.first_failed = position;
      outcome_.first_error =
          info.ok() ? Status::Invalid("its ETag is longer than 256 bytes") : info.status();
    }
  }
  Fill();
}

}  // namespace holdfast::client
