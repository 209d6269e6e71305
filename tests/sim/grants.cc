// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/grants.h"

namespace holdfast::sim {
namespace {

// The shortest time that a home of any scenario remembers a grant, less a little.
constexpr Duration kRemembered = 9s;

}  // namespace

std::vector<Grants::Key> Grants::KeysOf(const Buffer& oids, const Buffer& versions) {
  ColumnView<uint64_t> words(oids.view());
  ColumnView<uint64_t> hashes(versions.view());
  std::vector<Key> keys;
  for (size_t i = 0; i < hashes.size(); ++i)
    keys.push_back({{words[2 * i], words[2 * i + 1]}, hashes[i]});
  return keys;
}

void Grants::Observe(const Delivery& delivery) {
  // A home that first hears of a node's start after it has given it leave forgets what it gave:
  // late, lost and garbled messages cost a second fetch.
  if (delivery.message == nullptr || !world_->faults().none()) return;
  const wire::Message& message = *delivery.message;
  if (auto* answer = std::get_if<wire::Answer>(&message); answer != nullptr && delivery.sent) {
    return Answered(delivery.from, *answer);
  }
  if (delivery.sent) return;
  if (auto* ask = std::get_if<wire::Ask>(&message)) {
    Question question{delivery.from, KeysOf(ask->oids, ask->versions), {}};
    ColumnView<NodeId> tried(ask->tried.view());
    for (size_t i = 0; i < question.keys.size(); ++i)
      question.tried.push_back(tried.empty() ? kNoNode : tried[i]);
    asked_[{delivery.to, ask->id}] = std::move(question);
  } else if (auto* fetched = std::get_if<wire::Fetched>(&message)) {
    for (const Key& key : KeysOf(fetched->oids, fetched->versions)) {
      auto it = grants_.find({delivery.to, key});
      if (!fetched->loaded && it != grants_.end() && it->second.asker == delivery.from)
        grants_.erase(it);
    }
  }
}

void Grants::Answered(ProcessId home, const wire::Answer& answer) {
  auto question = asked_.find({home, answer.id});
  NodeHost* host = host_of_(home);
  if (question == asked_.end() || host == nullptr) return;
  const auto [asker, keys, tried] = std::move(question->second);
  asked_.erase(question);
  Time now = host->clock().Peek();
  for (size_t i = 0; i < keys.size() && i < answer.verdicts.size(); ++i) {
    if (static_cast<wire::Verdict>(answer.verdicts.data()[i]) != wire::Verdict::kGo) continue;
    auto [it, fresh] = grants_.try_emplace({home, keys[i]}, Grant{asker, now, world_->now()});
    const Grant& old = it->second;
    NodeHost* holder = host_of_(old.asker);
    bool in_vain = holder != nullptr && holder->node() == tried[i];
    bool superseded = far_->LastGet(keys[i], home) > old.at;
    if (!fresh && old.asker != asker && holder != nullptr && !in_vain && !superseded &&
        now - old.given < kRemembered) {
      world_->Violate("homes-order-who-goes", world_->NameOf(home) + " let " +
                                                  world_->NameOf(asker) + " fetch " +
                                                  ToHex(keys[i].first) + " while " +
                                                  world_->NameOf(old.asker) + " was at it");
    }
    it->second = {asker, now, world_->now()};
    ++granted_;
  }
}

}  // namespace holdfast::sim
