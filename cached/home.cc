// SPDX-License-Identifier: Apache-2.0
#include "cached/home.h"

namespace holdfast::cached {
namespace {

ObjectKey KeyAt(const Buffer& oids, const Buffer& versions, size_t i) {
  return {{LoadAs<uint64_t>(oids.data() + 16 * i), LoadAs<uint64_t>(oids.data() + 16 * i + 8)},
          LoadAs<uint64_t>(versions.data() + 8 * i)};
}

}  // namespace

Home::Decision Home::Consider(const ObjectKey& key, NodeId asker) {
  if (asker != context_->options.node && context_->tier->Find(key.oid, key.version)) {
    return {wire::Verdict::kHave, kNoNode};
  }
  Time now = context_->Now();
  auto it = grants_.find(key);
  if (it != grants_.end() && it->second.expires > now && it->second.node != asker) {
    return {wire::Verdict::kLoading, it->second.node};
  }
  // A full table costs duplicate fetches, never a wrong byte: the asker goes, unremembered.
  if (it != grants_.end() || grants_.size() < kMaxGrants) {
    grants_[key] = {asker, now + context_->options.grant_ttl};
  }
  return {wire::Verdict::kGo, kNoNode};
}

void Home::Fetched(const ObjectKey& key, NodeId asker) {
  auto it = grants_.find(key);
  if (it != grants_.end() && it->second.node == asker) grants_.erase(it);
}

void Home::Forget(NodeId node) {
  std::erase_if(grants_, [node](const auto& grant) { return grant.second.node == node; });
}

void Home::Expire() {
  Time now = context_->Now();
  std::erase_if(grants_, [now](const auto& grant) { return grant.second.expires <= now; });
}

wire::Answer Home::OnAsk(const wire::Ask& ask) {
  size_t count = ask.versions.size() / 8;
  wire::Answer answer{.id = ask.id,
                      .incarnation = context_->options.incarnation,
                      .verdicts = Buffer(count),
                      .loaders = Buffer(count * 2)};
  for (size_t i = 0; i < count; ++i) {
    Decision decision = Consider(KeyAt(ask.oids, ask.versions, i), ask.node);
    StoreAs<uint8_t>(answer.verdicts.data() + i, static_cast<uint8_t>(decision.verdict));
    StoreAs<uint16_t>(answer.loaders.data() + 2 * i, decision.loader);
  }
  return answer;
}

void Home::OnFetched(const wire::Fetched& fetched) {
  size_t count = fetched.versions.size() / 8;
  for (size_t i = 0; i < count; ++i)
    Fetched(KeyAt(fetched.oids, fetched.versions, i), fetched.node);
}

}  // namespace holdfast::cached
