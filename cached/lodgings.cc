// SPDX-License-Identifier: Apache-2.0
#include "cached/lodgings.h"

#include <algorithm>

namespace holdfast::cached {
namespace {

constexpr size_t kExpireSlice = 10'000;

}  // namespace

Lodgings::Lodgings(const Context* context, const Membership* membership)
    : context_(context),
      membership_(membership),
      most_(std::clamp<size_t>(context->options.max_planning_bytes / kShareOfPlanning / kBytes, 1,
                               kMost)) {}

// A full table forgets the oldest.
void Lodgings::Add(const ObjectKey& key, NodeId at) {
  if (ends_.size() >= most_) ForgetOldest();
  lodgings_[key] = {at, membership_->IncarnationOf(at), ++last_number_};
  ends_.push_back({key, last_number_, context_->Now() + kRemembered});
}

NodeId Lodgings::Find(const ObjectKey& key) const {
  for (auto it = lodgings_.lower_bound(key); it != lodgings_.end(); ++it) {
    if (it->first.oid != key.oid || (key.version != 0 && it->first != key)) break;
    if (membership_->IncarnationOf(it->second.node) == it->second.incarnation)
      return it->second.node;
  }
  return kNoNode;
}

void Lodgings::Forget(const ObjectKey& key, NodeId node) {
  for (auto it = lodgings_.lower_bound({key.oid, 0});
       it != lodgings_.end() && it->first.oid == key.oid;) {
    const bool meant = key.version == 0 || it->first.version == key.version;
    it = meant && it->second.node == node ? lodgings_.erase(it) : std::next(it);
  }
}

void Lodgings::ForgetOldest() {
  const End end = ends_.front();
  ends_.pop_front();
  auto it = lodgings_.find(end.key);
  if (it != lodgings_.end() && it->second.number == end.number) lodgings_.erase(it);
}

void Lodgings::Expire() {
  const Time now = context_->Now();
  for (size_t i = 0; i < kExpireSlice && !ends_.empty() && ends_.front().expires <= now; ++i)
    ForgetOldest();
}

}  // namespace holdfast::cached
