// SPDX-License-Identifier: Apache-2.0
#include "jobclient/promises.h"

#include <algorithm>
#include <set>

namespace holdfast::jobclient {

Promises::Promises(const planner::Manifest* manifest)
    : manifest_(manifest),
      owners_(std::make_unique<std::atomic<NodeId>[]>(manifest->size())),
      kept_(manifest->size()),
      near_(manifest->size()) {
  for (uint32_t i = 0; i < manifest->size(); ++i) {
    owners_[i].store(kNoNode, std::memory_order_relaxed);
  }
}

void Promises::Give(NodeId node, uint32_t first, const Given& given) {
  for (size_t w = 0; w < given.keep->words(); ++w) {
    const uint64_t all = given.keep->word(w) | given.load->word(w);
    const size_t at = first / 64 + w;
    kept_.set_word(at, (kept_.word(at) & ~all) | given.keep->word(w));
    near_.set_word(at, (near_.word(at) & ~all) | given.near->word(w));
    for (uint64_t left = all; left != 0; left &= left - 1) {
      size_t index = at * 64 + static_cast<size_t>(std::countr_zero(left));
      owners_[index].store(node, std::memory_order_relaxed);
    }
  }
}

bool Promises::TakeAway(NodeId node, uint32_t index) {
  auto it = suspended_.find(node);
  if (it != suspended_.end()) it->second.Clear(index);
  if (NodeOf(index) != node) return false;
  owners_[index].store(kNoNode, std::memory_order_relaxed);
  return true;
}

void Promises::Suspend(NodeId node) {
  auto [it, added] = suspended_.try_emplace(node, manifest_->size());
  for (uint32_t i = 0; i < manifest_->size(); ++i) {
    if (NodeOf(i) != node) continue;
    it->second.Set(i);
    owners_[i].store(kNoNode, std::memory_order_relaxed);
  }
}

uint64_t Promises::Resume(NodeId node) {
  auto it = suspended_.find(node);
  if (it == suspended_.end()) return 0;
  uint64_t resumed = 0;
  it->second.ForEach([&](size_t index) {
    if (owners_[index].load(std::memory_order_relaxed) != kNoNode) return;
    owners_[index].store(node, std::memory_order_relaxed);
    ++resumed;
  });
  suspended_.erase(it);
  return resumed;
}

Bitmap Promises::Missing() const {
  Bitmap missing(manifest_->size());
  for (uint32_t i = 0; i < manifest_->size(); ++i) {
    if (NodeOf(i) == kNoNode) missing.Set(i);
  }
  return missing;
}

bool Promises::HasAny(NodeId node) const {
  for (uint32_t i = 0; i < manifest_->size(); ++i) {
    if (NodeOf(i) == node) return true;
  }
  return false;
}

void Promises::CountInto(NodeId reader, const FarStore* far, PlanReport* report) const {
  std::set<std::pair<NodeId, uint64_t>> together;  // who reads which group
  const auto count_request = [&](NodeId node, uint32_t index) {
    std::optional<FarPlace> place;
    if (far != nullptr && far->HasPlaces()) place = far->PlaceOf(manifest_->oid(index));
    if (!place || together.emplace(node, place->group).second) ++report->far_requests;
  };
  report->objects = manifest_->size();
  report->bytes = manifest_->total_bytes();
  for (uint32_t i = 0; i < manifest_->size(); ++i) {
    const NodeId node = NodeOf(i);
    const uint64_t bytes = manifest_->object_bytes(i);
    if (node == kNoNode) {
      ++report->far_objects;
      report->far_bytes += bytes;
      count_request(node, i);
      continue;
    }
    auto at = std::lower_bound(
        report->nodes.begin(), report->nodes.end(), node,
        [](const PlanReport::PerNode& n, NodeId wanted) { return n.node < wanted; });
    at->bytes += bytes;
    if (kept_.Get(i)) {
      ++at->keeps;
      ++report->kept_objects;
      report->kept_bytes += bytes;
      if (node == reader) ++report->local_objects;
    } else {
      ++at->loads;
      ++report->load_objects;
      report->load_bytes += bytes;
      if (near_.Get(i)) {
        ++report->disk_objects;
        report->disk_bytes += bytes;
      } else {
        count_request(node, i);
      }
    }
  }
}

}  // namespace holdfast::jobclient
