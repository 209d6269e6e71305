// SPDX-License-Identifier: Apache-2.0
#include "cached/home.h"

#include <algorithm>

namespace holdfast::cached {
namespace {

constexpr size_t kExpireSlice = 10'000;

ObjectKey KeyAt(const Buffer& oids, const Buffer& versions, size_t i) {
  return {{LoadAs<uint64_t>(oids.data() + 16 * i), LoadAs<uint64_t>(oids.data() + 16 * i + 8)},
          LoadAs<uint64_t>(versions.data() + 8 * i)};
}

}  // namespace

Home::Home(const Context* context, const Membership* membership)
    : context_(context),
      membership_(membership),
      max_grants_(std::clamp<size_t>(
          context->options.max_planning_bytes / kShareOfPlanning / kGrantBytes, 1, kMaxGrants)),
      lodgings_(context, membership) {}

bool Home::Holds(const Grant& grant) const {
  return grant.expires > context_->Now() &&
         grant.incarnation == membership_->IncarnationOf(grant.node);
}

Home::Decision Home::Consider(const ObjectKey& key, NodeId asker, NodeId tried) {
  NodeId self = context_->options.node;
  const bool here = context_->tier->Find(key.oid, key.version) ||
                    (context_->disk != nullptr && context_->disk->Has(key.oid, key.version));
  if (asker != self && tried != self && here) return {wire::Verdict::kHave, kNoNode};
  // Who fetches whichever version there is may bring this one, and for version 0 any will do.
  auto other = key.version == 0 ? grants_.upper_bound(key) : grants_.find({key.oid, 0});
  for (auto it : {grants_.find(key), other}) {
    if (it == grants_.end() || it->first.oid != key.oid || !Holds(it->second)) continue;
    NodeId holder = it->second.node;
    if (holder != asker && holder != tried) return {wire::Verdict::kLoading, holder};
  }
  for (const NodeId in_vain : {asker, tried}) lodgings_.Forget(key, in_vain);
  if (const NodeId lodging = lodgings_.Find(key); lodging != kNoNode) {
    ++sent_to_lodgings_;
    return {wire::Verdict::kLoading, lodging};
  }
  if (asker != kNoNode) Remember(key, asker, false);
  return {wire::Verdict::kGo, kNoNode};
}

void Home::Fetched(const ObjectKey& key, NodeId asker, bool loaded) {
  auto it = grants_.find(key);
  if (it == grants_.end() || it->second.node != asker || it->second.fetched) return;
  // What this node itself has is in its tier, or gone.
  if (loaded && asker != context_->options.node) {
    Remember(key, asker, true);
  } else {
    Erase(it);
  }
}

// A full table forgets the oldest.
void Home::Remember(const ObjectKey& key, NodeId node, bool fetched) {
  if (ends_.size() >= max_grants_) ForgetOldest();
  Grant& grant = grants_[key];
  bool was_under_way = grant.number != 0 && !grant.fetched;
  under_way_ = under_way_ - (was_under_way ? 1 : 0) + (fetched ? 0 : 1);
  grant = {.node = node,
           .incarnation = membership_->IncarnationOf(node),
           .fetched = fetched,
           .expires = context_->Now() + context_->options.grant_ttl,
           .number = ++last_number_};
  ends_.push_back({key, grant.number, grant.expires});
}

void Home::Erase(std::map<ObjectKey, Grant>::iterator it) {
  under_way_ -= it->second.fetched ? 0 : 1;
  grants_.erase(it);
}

void Home::ForgetOldest() {
  End end = ends_.front();
  ends_.pop_front();
  auto it = grants_.find(end.key);
  if (it != grants_.end() && it->second.number == end.number) Erase(it);
}

void Home::Expire() {
  Time now = context_->Now();
  for (size_t i = 0; i < kExpireSlice && !ends_.empty() && ends_.front().expires <= now; ++i)
    ForgetOldest();
  lodgings_.Expire();
}

wire::Answer Home::OnAsk(NodeId asker, const wire::Ask& ask) {
  size_t count = ask.versions.size() / 8;
  wire::Answer answer{.id = ask.id, .verdicts = Buffer(count), .loaders = Buffer(count * 2)};
  for (size_t i = 0; i < count; ++i) {
    NodeId tried = ask.tried.empty() ? kNoNode : LoadAs<uint16_t>(ask.tried.data() + 2 * i);
    Decision decision = Consider(KeyAt(ask.oids, ask.versions, i), asker, tried);
    StoreAs<uint8_t>(answer.verdicts.data() + i, static_cast<uint8_t>(decision.verdict));
    StoreAs<uint16_t>(answer.loaders.data() + 2 * i, decision.loader);
  }
  return answer;
}

void Home::OnFetched(NodeId asker, const wire::Fetched& fetched) {
  size_t count = fetched.versions.size() / 8;
  for (size_t i = 0; i < count; ++i)
    Fetched(KeyAt(fetched.oids, fetched.versions, i), asker, fetched.loaded);
}

void Home::OnLodged(NodeId at, const wire::Lodged& lodged) {
  if (at == kNoNode) return;
  const size_t count = lodged.versions.size() / 8;
  for (size_t i = 0; i < count; ++i) {
    const ObjectKey key = KeyAt(lodged.oids, lodged.versions, i);
    if (key.version != 0) lodgings_.Add(key, at);
  }
}

}  // namespace holdfast::cached
