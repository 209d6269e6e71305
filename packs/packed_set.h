// SPDX-License-Identifier: Apache-2.0
// One packed data set as a reader knows it: its index, once it is there, and the packs that gave
// trouble. Without an index it has no objects, and readers go to where those were packed from.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/env.h"
#include "packs/pack_index.h"

namespace holdfast::packs {

// The canonical prefix of a packed set as people write it, with or without its last '/'.
Result<std::string> SetPrefix(std::string_view written, std::string_view s3_endpoint);
// The same of one that is to be written: kInvalid for a web server, too.
Result<std::string> WritablePrefix(std::string_view written, std::string_view s3_endpoint);

class PackedSet {
 public:
  static constexpr Duration kDeadline = 60s;  // to load the index
  static constexpr Duration kRest = 60s;      // after trouble, before something is tried again

  // `prefix` is canonical and ends in '/'; `max_bytes` is what the index may take. All outlive it.
  PackedSet(Clock* clock, FarStore* far, Log* log, std::string prefix, uint64_t max_bytes);

  // Loads the index, in the place of the one that is there; `done` runs when it has or has failed,
  // which is logged.
  void Load(std::function<void()> done);
  // The index is to be loaded once more: it could not be, or it names packs that are not there.
  bool Due() const;

  // Null while there is none. Shared with reads under way: another one may come meanwhile.
  const std::shared_ptr<const PackIndex>& index() const { return index_; }
  const std::string& prefix() const { return prefix_; }
  std::string PackUri(const Oid& name) const;

  // Something is wrong with a pack, which is logged; one that cannot be read at all is left alone for
  // a while.
  void Trouble(const Oid& pack, const Status& status, bool readable);
  bool LeftAlone(const Oid& pack) const;

 private:
  void OnHead(const Result<FarInfo>& info, std::function<void()> done);
  void OnIndex(const Status& status, const Buffer& bytes);
  void Failed(const Status& status);

  Clock* clock_;
  FarStore* far_;
  Log* log_;
  std::string prefix_;
  std::string index_uri_;
  uint64_t max_bytes_;
  std::shared_ptr<const PackIndex> index_;
  bool loading_ = false;
  bool wanted_ = true;  // once more
  Time rest_until_;
  std::map<Oid, Time> troubled_;  // until when each is neither read (if it cannot be) nor logged
  std::map<Oid, Time> logged_;
};

}  // namespace holdfast::packs
