// SPDX-License-Identifier: Apache-2.0
#include "cached/promise_replay.h"

#include <algorithm>
#include <utility>

namespace holdfast::cached {
namespace {

// Sorts by index; of several with one index the last stays.
template <typename T>
void KeepLast(std::vector<T>& items) {
  std::stable_sort(items.begin(), items.end(),
                   [](const T& a, const T& b) { return a.index < b.index; });
  size_t kept = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i + 1 < items.size() && items[i + 1].index == items[i].index) continue;
    items[kept++] = items[i];
  }
  items.resize(kept);
}

}  // namespace

Status PromiseReplay::Add(ByteView record, const entry::Owner& owner) {
  owner_ = owner;
  ++records_;
  HF_RETURN_IF_ERROR(VisitEntries(
      record, [this](Entry&& entry) { std::visit([this](auto& e) { On(e); }, entry); }));
  if (foreign_)
    return Status::Invalid("it is not that of node " + std::to_string(owner.node) +
                           " of this cluster; give this node its own journal.directory");
  return {};
}

void PromiseReplay::On(const entry::Owner& owner) {
  foreign_ = foreign_ || owner.node != owner_.node || owner.cluster_hash != owner_.cluster_hash;
  lives_ = std::max(lives_, owner.life);
}

void PromiseReplay::On(entry::Objects& objects) {
  List& list = lists_[objects.digest];
  list.count = objects.count;
  for (size_t i = 0; i < objects.indices.size(); ++i)
    list.objects.push_back({objects.indices[i], objects.described[i]});
}

void PromiseReplay::On(const entry::Names& names) {
  List& list = lists_[names.digest];
  for (const entry::Name& name : names.names) {
    list.names.push_back({name.index, name.need_by_ms, list.texts.size(),
                          static_cast<uint16_t>(name.name.size()),
                          static_cast<uint16_t>(name.etag.size())});
    list.texts.append(name.name).append(name.etag);
  }
}

void PromiseReplay::On(entry::Promise& promise) {
  Job& job = jobs_[promise.job];
  if (job.tenancy != promise.tenancy) job = Job{promise.tenancy};  // it had come back with nothing
  job.lease = promise.lease;
  auto [it, fresh] = job.calls.try_emplace(promise.call);
  if (!fresh && it->second.digest == promise.digest) {
    promise.indices.insert(promise.indices.end(), it->second.indices.begin(),
                           it->second.indices.end());
  }
  it->second = std::move(promise);
}

void PromiseReplay::On(const entry::Lease& lease) {
  auto it = jobs_.find(lease.job);
  if (it != jobs_.end() && it->second.tenancy == lease.tenancy) it->second.lease = lease.lease;
}

void PromiseReplay::On(const entry::End& end) {
  auto it = jobs_.find(end.job);
  if (it != jobs_.end() && it->second.tenancy == end.tenancy) jobs_.erase(it);
}

bool PromiseReplay::Describes(const entry::Promise& promise) const {
  auto list = lists_.find(promise.digest);
  if (list == lists_.end() || list->second.count != promise.count) return false;
  const std::vector<Object>& objects = list->second.objects;
  auto at = objects.begin();
  for (uint32_t index : promise.indices) {
    while (at != objects.end() && at->index < index) ++at;
    if (at == objects.end() || at->index != index) return false;
  }
  return true;
}

void PromiseReplay::Finish() {
  for (auto& [digest, list] : lists_) {
    KeepLast(list.objects);
    KeepLast(list.names);
  }
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    bool right = it->second.tenancy != 0 && it->first != 0;
    for (auto& [call, promise] : it->second.calls) {
      std::vector<uint32_t>& indices = promise.indices;
      std::sort(indices.begin(), indices.end());
      indices.erase(std::unique(indices.begin(), indices.end()), indices.end());
      right = right && Describes(promise);
    }
    it = right ? std::next(it) : jobs_.erase(it);
  }
}

}  // namespace holdfast::cached
