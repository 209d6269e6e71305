// SPDX-License-Identifier: Apache-2.0
// A job's list as the protocol needs it: the manifest, and for each of its objects where in the
// list its name is and when it is read first. Made in slices, so that other work on the same thread
// goes on.
//
//   1. Hash   names become OIDs
//   2. Build  the manifest: one slice, about 0.1 s for 10^6 objects
//   3. Map    positions to objects
//   4. Rank   objects in the order of the first reading
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "holdfast/object_list.h"
#include "planner/manifest.h"

namespace holdfast::jobclient {

class JobList {
 public:
  static constexpr size_t kSliceObjects = 16'384;

  // `read_order` holds positions; empty: the order of the list. `list` outlives this.
  JobList(const ObjectList* list, std::vector<uint32_t> read_order);

  // Does one slice; true when all is done. kInvalid as Job::Plan says.
  Result<bool> Step();

  const ObjectList& list() const { return *list_; }
  const planner::Manifest& manifest() const { return *manifest_; }
  // For messages on their way, which may outlive the job.
  std::shared_ptr<const planner::Manifest> shared_manifest() const { return manifest_; }
  // The most that name and ETag of one object take together.
  uint16_t name_bytes() const { return name_bytes_; }
  uint32_t IndexOf(size_t position) const { return index_of_[position]; }
  // The first position of an object.
  uint32_t PositionOf(uint32_t index) const { return position_of_[index]; }
  // Name and ETag of an object. By index, because a confirm names objects in the order of the
  // manifest: then each costs the cache misses of its texts and no more.
  const ObjectList::Place& PlaceOf(uint32_t index) const { return places_[index]; }
  // How many objects are read before it, at most; objects that the reading order leaves out come
  // last.
  uint32_t RankOf(uint32_t index) const {
    return rank_of_.empty() ? position_of_[index] : rank_of_[index];
  }

 private:
  Status HashSlice();
  Status BuildManifest();
  Status InNames(const Status& why) const;
  void MapSlice();
  Status Rank();

  const ObjectList* list_;
  std::vector<uint32_t> read_order_;
  std::vector<planner::ManifestEntry> entries_;  // by position, until the manifest is built
  std::shared_ptr<const planner::Manifest> manifest_ = std::make_shared<planner::Manifest>();
  uint16_t name_bytes_ = 0;
  std::vector<uint32_t> index_of_;
  std::vector<uint32_t> position_of_;
  std::vector<uint32_t> rank_of_;
  std::vector<ObjectList::Place> places_;
  std::vector<Oid> oids_;  // by position, until they are mapped
};

}  // namespace holdfast::jobclient
