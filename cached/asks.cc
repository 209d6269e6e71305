// SPDX-License-Identifier: Apache-2.0
#include "cached/asks.h"

#include <algorithm>

namespace holdfast::cached {
namespace {

void StoreKey(const ObjectKey& key, size_t i, Buffer* oids, Buffer* versions) {
  StoreAs(oids->data() + 16 * i, key.oid.hi);
  StoreAs(oids->data() + 16 * i + 8, key.oid.lo);
  StoreAs(versions->data() + 8 * i, key.version);
}

}  // namespace

void Asks::Flush() {
  FlushAsks();
  FlushFetched();
}

void Asks::FlushAsks() {
  for (auto& [home, questions] : std::exchange(asks_, {})) {
    for (size_t first = 0; first < questions.size(); first += kBatch) {
      size_t count = std::min(kBatch, questions.size() - first);
      wire::Ask ask{.id = next_id_++,
                    .oids = Buffer(count * 16),
                    .versions = Buffer(count * 8),
                    .tried = Buffer(count * 2)};
      auto& under_way = asked_[ask.id];
      under_way.first = home;
      for (size_t i = 0; i < count; ++i) {
        const Question& question = questions[first + i];
        StoreKey(question.key, i, &ask.oids, &ask.versions);
        StoreAs(ask.tried.data() + 2 * i, question.tried);
        under_way.second.push_back(question);
      }
      uint64_t id = ask.id;
      context_->env.clock->At(context_->Now() + kTimeout, [this, id] { TimedOut(id); });
      context_->Send(membership_->peers().at(home).connection, std::move(ask));
    }
  }
}

void Asks::FlushFetched() {
  for (auto& [to, keys] : std::exchange(fetched_, {})) {
    const Membership::Peer* peer = membership_->Reachable(to.first);
    if (peer == nullptr) continue;
    for (size_t first = 0; first < keys.size(); first += kBatch) {
      size_t count = std::min(kBatch, keys.size() - first);
      wire::Fetched message{
          .loaded = to.second, .oids = Buffer(count * 16), .versions = Buffer(count * 8)};
      for (size_t i = 0; i < count; ++i) {
        StoreKey(keys[first + i], i, &message.oids, &message.versions);
      }
      context_->Send(peer->connection, std::move(message));
    }
  }
}

void Asks::TimedOut(uint64_t ask) {
  auto it = asked_.find(ask);
  if (it == asked_.end()) return;
  auto [home, questions] = std::move(it->second);
  asked_.erase(it);
  membership_->Suspect(home);
  for (const Question& question : questions) answered_(question, std::nullopt);
}

void Asks::OnAnswer(PeerId from, const wire::Answer& answer) {
  auto it = asked_.find(answer.id);
  if (it == asked_.end() || !membership_->IsConnectionTo(it->second.first, from)) return;
  auto [home, questions] = std::move(it->second);
  asked_.erase(it);
  for (size_t i = 0; i < questions.size(); ++i) {
    std::optional<Home::Decision> decision;
    if (i < answer.verdicts.size()) {
      decision = {static_cast<wire::Verdict>(answer.verdicts.data()[i]),
                  LoadAs<uint16_t>(answer.loaders.data() + 2 * i)};
    }
    answered_(questions[i], decision);
  }
}

}  // namespace holdfast::cached
