// SPDX-License-Identifier: Apache-2.0
#include "cached/load_queue.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

namespace holdfast::cached {
namespace {

std::string_view Slice(const Buffer& ends, const Buffer& text, size_t n) {
  uint32_t begin = n == 0 ? 0 : LoadAs<uint32_t>(ends.data() + 4 * (n - 1));
  uint32_t end = LoadAs<uint32_t>(ends.data() + 4 * n);
  return AsText(text.view()).substr(begin, end - begin);
}

}  // namespace

void LoadBatch::Sort(const FarStore& far) {
  order.resize(indices.size());
  std::iota(order.begin(), order.end(), 0);
  std::map<uint64_t, uint32_t> first_needed;  // of each group
  std::vector<std::optional<FarPlace>> places(indices.size());
  ColumnView<uint32_t> when(need_by.view());
  const auto needed = [&](uint32_t n) { return when.empty() ? 0 : when[n]; };
  for (uint32_t n = 0; n < places.size(); ++n) {
    if (far.HasPlaces()) places[n] = far.PlaceOf(manifest->oid(indices[n]));
    if (!places[n]) continue;
    const auto [at, is_new] = first_needed.try_emplace(places[n]->group, needed(n));
    if (!is_new) at->second = std::min(at->second, needed(n));
  }
  if (when.empty() && first_needed.empty()) return;
  // By turn and place; what lies by itself has none of its own.
  std::vector<std::tuple<uint32_t, FarPlace, uint32_t>> turns(indices.size());
  for (uint32_t n = 0; n < turns.size(); ++n) {
    turns[n] = {places[n] ? first_needed.at(places[n]->group) : needed(n),
                places[n].value_or(FarPlace{}), n};
  }
  std::sort(turns.begin(), turns.end());
  std::transform(turns.begin(), turns.end(), order.begin(),
                 [](const auto& turn) { return std::get<2>(turn); });
}

std::string_view LoadBatch::Name(size_t n) const { return Slice(name_ends, names, n); }
std::string_view LoadBatch::Etag(size_t n) const { return Slice(etag_ends, etags, n); }

Time LoadBatch::NeedBy(size_t n) const {
  return need_by.empty() ? received : received + LoadAs<uint32_t>(need_by.data() + 4 * n) * 1ms;
}

Want LoadBatch::WantOf(size_t n) const {
  uint32_t index = indices[n];
  return {.key = {manifest->oid(index), manifest->version(index)},
          .size = manifest->object_bytes(index),
          .name = std::string(Name(n)),
          .etag = std::string(Etag(n)),
          .job = job,
          .need_by = NeedBy(n),
          .local = Name(n).empty(),
          .waiters = {}};
}

entry::Name LoadBatch::EntryOf(size_t n, Time now) const {
  const int64_t left_ms = std::max<int64_t>((NeedBy(n) - now) / 1ms, 0);
  return {indices[n], static_cast<uint32_t>(std::min<int64_t>(left_ms, UINT32_MAX)), Name(n),
          Etag(n)};
}

uint64_t LoadBatch::memory_bytes() const {
  return (indices.size() + order.size()) * 4 + name_ends.size() + names.size() + etag_ends.size() +
         etags.size() + need_by.size();
}

LoadQueue::Turn LoadQueue::TurnOf(const Entries::value_type& entry) {
  const LoadBatch& batch = entry.second.batch;
  return {-int{batch.priority}, batch.NeedBy(batch.order[entry.second.next]), entry.first};
}

void LoadQueue::Add(LoadBatch batch) {
  if (batch.indices.empty()) return;
  HF_CHECK(batch.order.size() == batch.indices.size());
  Entry entry;
  for (uint32_t index : batch.indices) entry.bytes += batch.manifest->object_bytes(index);
  objects_ += batch.indices.size();
  bytes_ += entry.bytes;
  memory_bytes_ += batch.memory_bytes();
  entry.batch = std::move(batch);
  auto it = entries_.emplace(++last_entry_, std::move(entry)).first;
  turns_.emplace(TurnOf(*it), it);
}

LoadQueue::Entries::iterator LoadQueue::Erase(Entries::iterator it) {
  const Entry& entry = it->second;
  objects_ -= entry.batch.order.size() - entry.next;
  bytes_ -= entry.bytes;
  memory_bytes_ -= entry.batch.memory_bytes();
  return entries_.erase(it);
}

void LoadQueue::Forget(const Commitment& ending) {
  const Commitment* const heir = commitments_->Another(ending);
  for (auto it = entries_.begin(); it != entries_.end();) {
    LoadBatch& batch = it->second.batch;
    if (batch.job != ending.job || batch.call != ending.call) {
      ++it;
    } else if (heir != nullptr) {
      batch.job = heir->job;
      batch.call = heir->call;
      it->second.left = true;
      ++it;
    } else {
      turns_.erase(TurnOf(*it));
      it = Erase(it);
    }
  }
}

bool LoadQueue::Wanted(const Entry& entry, uint32_t index) const {
  const LoadBatch& batch = entry.batch;
  const Commitment* commitment = commitments_->Find(batch.job, batch.call);
  if (commitment == nullptr) return false;
  if (!entry.left || commitment->pending.Get(index)) return commitment->pending.Get(index);
  const ObjectKey key = commitment->key(index);
  return commitments_->WantedUntil(key) || commitments_->WantedBelow(key);
}

LoadQueue::Found LoadQueue::Next(Want* want) {
  for (size_t looked_at = 0; !turns_.empty(); ++looked_at) {
    if (looked_at == kMaxSkips) return Found::kNotYet;
    Entries::iterator it = turns_.begin()->second;
    Entry& entry = it->second;
    const LoadBatch& batch = entry.batch;
    turns_.erase(turns_.begin());
    size_t n = batch.order[entry.next++];
    uint64_t bytes = batch.manifest->object_bytes(batch.indices[n]);
    --objects_;
    bytes_ -= bytes;
    entry.bytes -= bytes;
    const bool wanted = Wanted(entry, batch.indices[n]);
    if (wanted) *want = batch.WantOf(n);
    if (entry.next == batch.order.size()) {
      Erase(it);
    } else {
      turns_.emplace(TurnOf(*it), it);
    }
    if (wanted) return Found::kOne;
  }
  return Found::kNothing;
}

void LoadQueue::ForEachOf(const Commitment& commitment, uint32_t first, uint32_t last,
                          const std::function<void(const LoadBatch&, size_t)>& visit) const {
  for (const auto& [number, entry] : entries_) {
    const LoadBatch& batch = entry.batch;
    if (batch.job != commitment.job || batch.call != commitment.call) continue;
    if (batch.indices.front() >= last || batch.indices.back() < first) continue;
    for (size_t k = entry.next; k < batch.order.size(); ++k) {
      const uint32_t index = batch.indices[batch.order[k]];
      if (index >= first && index < last && commitment.pending.Get(index))
        visit(batch, batch.order[k]);
    }
  }
}

bool LoadQueue::Find(const ObjectKey& key, Want* want) const {
  const planner::Manifest* manifest = nullptr;  // the chunks of a call share theirs
  std::optional<uint32_t> index;
  for (const auto& [number, entry] : entries_) {
    const LoadBatch& batch = entry.batch;
    if (std::exchange(manifest, batch.manifest) != batch.manifest) index = manifest->Find(key.oid);
    if (!index || manifest->version(*index) != key.version) continue;
    if (!Wanted(entry, *index)) continue;
    auto at = std::lower_bound(batch.indices.begin(), batch.indices.end(), *index);
    if (at == batch.indices.end() || *at != *index) continue;
    *want = batch.WantOf(static_cast<size_t>(at - batch.indices.begin()));
    return true;
  }
  return false;
}

}  // namespace holdfast::cached
