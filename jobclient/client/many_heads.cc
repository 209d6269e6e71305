// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/many_heads.h"

#include <string>
#include <utility>

#include "base/range_name.h"
#include "base/ranged_store.h"

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
    const std::optional<RangeName> range = ParseRangeName(item.uri);
    if (!range) {
      Ask(std::string(item.uri),
          [heads = shared_from_this(), position = next_](const Result<FarInfo>& info) {
            heads->Landed(position, info);
          });
    } else if (!IsAskedFor(range->whole, next_)) {
      Ask(std::string(range->whole),
          [heads = shared_from_this(), whole = std::string(range->whole)](
              const Result<FarInfo>& info) { heads->WholeLanded(whole, info); });
    }
  }
  if (under_way_ == 0 && done_) std::exchange(done_, nullptr)(std::move(outcome_));
}

void ManyHeads::Ask(std::string uri, std::function<void(Result<FarInfo>)> landed) {
  ++under_way_;
  env_.far->Head(uri, env_.clock->Now() + kDeadline,
                 [heads = shared_from_this(), landed = std::move(landed)](Result<FarInfo> info) {
                   --heads->under_way_;
                   landed(std::move(info));
                   heads->Fill();
                 });
}

// The first one asks; who comes while that is under way waits, and who comes later has it at once.
bool ManyHeads::IsAskedFor(std::string_view whole, size_t position) {
  auto it = wholes_.find(whole);
  if (it == wholes_.end()) {
    wholes_[std::string(whole)].waiting.push_back(position);
    return false;
  }
  if (it->second.info) {
    Landed(position, *it->second.info);
  } else {
    it->second.waiting.push_back(position);
  }
  return true;
}

void ManyHeads::WholeLanded(const std::string& whole, const Result<FarInfo>& info) {
  Whole& found = wholes_[whole];
  found.info = info;
  for (const size_t position : std::exchange(found.waiting, {})) Landed(position, info);
}

// `info` is the object's, or of what it is a range of.
void ManyHeads::Landed(size_t position, const Result<FarInfo>& info) {
  count_->fetch_add(1, std::memory_order_relaxed);
  Result<FarInfo> found = info;
  const ObjectList::Item item = list_->item(position);
  if (info.ok() && ParseRangeName(item.uri)) found = InfoOfRange(item.uri, *info);
  if (found.ok() && found->etag.size() > 256) {
    found = Status::Invalid("its ETag is longer than 256 bytes");
  }
  if (found.ok()) return list_->SetVersion(position, found->size, found->etag);
  ++outcome_.failed;
  if (position >= outcome_.first_failed) return;
  outcome_.first_failed = position;
  outcome_.first_error = found.status();
}

}  // namespace holdfast::client
