// SPDX-License-Identifier: Apache-2.0
#include "cached/lodgings.h"

#include <algorithm>
#include <iterator>

namespace holdfast::cached {

Lodgings::Lodgings(const Context* context, const Membership* membership)
    : context_(context),
      membership_(membership),
      lodgings_(std::min<size_t>(context->options.max_planning_bytes / kShareOfPlanning / kBytes,
                                 kMost)) {}

void Lodgings::Add(const ObjectKey& key, NodeId at) {
  lodgings_.Put(key, {at, membership_->IncarnationOf(at)}, context_->Now() + kRemembered);
}

NodeId Lodgings::Find(const ObjectKey& key) const {
  for (auto it = lodgings_.map().lower_bound(key); it != lodgings_.map().end(); ++it) {
    if (it->first.oid != key.oid || (key.version != 0 && it->first != key)) break;
    const Lodging& lodging = it->second.value;
    if (membership_->IncarnationOf(lodging.node) == lodging.incarnation) return lodging.node;
  }
  return kNoNode;
}

void Lodgings::Forget(const ObjectKey& key, NodeId node) {
  for (auto it = lodgings_.map().lower_bound({key.oid, 0});
       it != lodgings_.map().end() && it->first.oid == key.oid;) {
    const bool meant = key.version == 0 || it->first.version == key.version;
    it = meant && it->second.value.node == node ? lodgings_.Erase(it) : std::next(it);
  }
}

void Lodgings::Expire() { lodgings_.Expire(context_->Now()); }

}  // namespace holdfast::cached
