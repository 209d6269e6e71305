// SPDX-License-Identifier: Apache-2.0
#include "jobclient/job_list.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace holdfast::jobclient {

JobList::JobList(const ObjectList* list, std::vector<uint32_t> read_order)
    : list_(list), read_order_(std::move(read_order)) {}

Result<bool> JobList::Step() {
  if (manifest_->size() == 0) {
    if (list_->empty()) return Status::Invalid("the list is empty; name at least one object");
    Status done = entries_.size() < list_->size() ? HashSlice() : BuildManifest();
    if (!done.ok()) return done;
    return false;
  }
  if (index_of_.size() < list_->size()) {
    MapSlice();
    return false;
  }
  HF_RETURN_IF_ERROR(Rank());
  return true;
}

Status JobList::HashSlice() {
  entries_.reserve(list_->size());
  oids_.reserve(list_->size());
  const size_t end = std::min(list_->size(), entries_.size() + kSliceObjects);
  for (size_t i = entries_.size(); i < end; ++i) {
    ObjectList::Item item = list_->item(i);
    if (!item.has_size) {
      return Status::Invalid(std::string(item.uri) +
                             " has no size and ETag in the list; look it up before planning");
    }
    name_bytes_ = std::max(name_bytes_, static_cast<uint16_t>(item.uri.size() + item.etag.size()));
    Oid oid = Hash128(AsBytes(item.uri));
    entries_.push_back(
        {.oid = oid, .size = item.size, .version = HashVersion(item.etag, item.size)});
    oids_.push_back(oid);
  }
  return {};
}

Status JobList::BuildManifest() {
  Result<planner::Manifest> built = planner::Manifest::Build(std::exchange(entries_, {}));
  if (!built.ok()) return InNames(built.status());
  manifest_ = std::make_shared<planner::Manifest>(std::move(*built));
  index_of_.reserve(list_->size());
  position_of_.assign(manifest_->size(), UINT32_MAX);
  places_.resize(manifest_->size());
  return {};
}

// A manifest knows objects by OID, the writer of a list by name.
Status JobList::InNames(const Status& why) const {
  std::vector<size_t> order(oids_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return oids_[a] < oids_[b]; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (oids_[order[i - 1]] != oids_[order[i]]) continue;
    ObjectList::Item a = list_->item(order[i - 1]), b = list_->item(order[i]);
    if (a.size == b.size && a.etag == b.etag) continue;
    return Status::Invalid(std::string(a.uri) + " is in the list with two versions, " +
                           std::string(a.etag) + " and " + std::string(b.etag) +
                           "; a job reads one of them: take the other out");
  }
  return why;
}

void JobList::MapSlice() {
  const size_t end = std::min(list_->size(), index_of_.size() + kSliceObjects);
  for (size_t i = index_of_.size(); i < end; ++i) {
    std::optional<uint32_t> index = manifest_->Find(oids_[i]);
    HF_CHECK(index.has_value());
    index_of_.push_back(*index);
    if (position_of_[*index] != UINT32_MAX) continue;
    position_of_[*index] = static_cast<uint32_t>(i);
    places_[*index] = list_->place(i);
  }
  if (end == list_->size()) oids_ = {};
}

Status JobList::Rank() {
  if (read_order_.empty()) return {};
  rank_of_.assign(manifest_->size(), static_cast<uint32_t>(read_order_.size()));
  for (size_t i = read_order_.size(); i-- > 0;) {
    if (read_order_[i] >= list_->size()) {
      return Status::Invalid("the reading order names position " + std::to_string(read_order_[i]) +
                             " of a list of " + std::to_string(list_->size()) + " objects");
    }
    rank_of_[index_of_[read_order_[i]]] = static_cast<uint32_t>(i);
  }
  read_order_ = {};
  return {};
}

}  // namespace holdfast::jobclient
