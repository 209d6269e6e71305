// SPDX-License-Identifier: Apache-2.0
#include "cached/home.h"

#include <algorithm>

namespace holdfast::cached {
namespace {

ObjectKey KeyAt(const Buffer& oids, const Buffer& versions, size_t i) {
  return {{LoadAs<uint64_t>(oids.data() + 16 * i), LoadAs<uint64_t>(oids.data() + 16 * i + 8)},
          LoadAs<uint64_t>(versions.data() + 8 * i)};
}

}  // namespace

Home::Home(const Context* context, const Membership* membership)
    : context_(context),
      membership_(membership),
      grants_(std::min<size_t>(context->options.max_planning_bytes / kShareOfPlanning / kGrantBytes,
                               kMaxGrants),
              [this](const Grant& grant) { under_way_ -= grant.fetched ? 0 : 1; }),
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
  auto& grants = grants_.map();
  auto other = key.version == 0 ? grants.upper_bound(key) : grants.find({key.oid, 0});
  for (auto it : {grants.find(key), other}) {
    if (it == grants.end() || it->first.oid != key.oid || !Holds(it->second.value)) continue;
    NodeId holder = it->second.value.node;
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
  auto it = grants_.map().find(key);
  if (it == grants_.map().end()) return;
  if (it->second.value.node != asker || it->second.value.fetched) return;
  // What this node itself has is in its tier, or gone.
  if (loaded && asker != context_->options.node) {
    Remember(key, asker, true);
  } else {
    grants_.Erase(it);
  }
}

void Home::Remember(const ObjectKey& key, NodeId node, bool fetched) {
  const Time expires = context_->Now() + context_->options.grant_ttl;
  under_way_ += fetched ? 0 : 1;
  grants_.Put(key,
              {.node = node,
               .incarnation = membership_->IncarnationOf(node),
               .fetched = fetched,
               .expires = expires},
              expires);
}

void Home::Expire() {
  grants_.Expire(context_->Now());
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
