// SPDX-License-Identifier: Apache-2.0
// What a node's journal says, put together: the promises that were not ended, with what is known of
// their objects. Entries come in the order in which they were written; a checkpoint says again what
// was said before, and what it says counts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cached/promise_records.h"

namespace holdfast::cached {

class PromiseReplay {
 public:
  struct Object {
    uint32_t index = 0;  // in the list
    planner::ManifestEntry described{};
  };
  struct Named {
    uint32_t index = 0;
    uint32_t need_by_ms = 0;
    uint64_t text = 0;  // of the list's texts; the name, then the ETag
    uint16_t name_bytes = 0;
    uint16_t etag_bytes = 0;
  };
  struct List {
    uint32_t count = 0;
    std::vector<Object> objects{};  // rising, once Finish was called
    std::vector<Named> names{};     // likewise; the last that was said of each
    std::string texts{};

    std::string_view NameOf(const Named& n) const {
      return std::string_view(texts).substr(n.text, n.name_bytes);
    }
    std::string_view EtagOf(const Named& n) const {
      return std::string_view(texts).substr(n.text + n.name_bytes, n.etag_bytes);
    }
  };
  struct Job {
    uint64_t tenancy = 0;
    Duration lease{};
    std::map<uint32_t, entry::Promise> calls{};  // all of a call in one
  };

  // `owner` is whose journal it should be. kInvalid for another's, and the errors of VisitEntries.
  Status Add(ByteView record, const entry::Owner& owner);
  // Takes out what cannot be right: promises of objects that nobody has described.
  void Finish();

  std::map<JobId, Job>& jobs() { return jobs_; }
  std::map<ManifestDigest, List>& lists() { return lists_; }
  uint64_t records() const { return records_; }
  uint32_t lives() const { return lives_; }  // that have written it

 private:
  void On(const entry::Owner& owner);
  void On(entry::Objects& objects);
  void On(const entry::Names& names);
  void On(entry::Promise& promise);
  void On(const entry::Lease& lease);
  void On(const entry::End& end);
  bool Describes(const entry::Promise& promise) const;

  std::map<JobId, Job> jobs_;
  std::map<ManifestDigest, List> lists_;
  entry::Owner owner_;
  bool foreign_ = false;
  uint64_t records_ = 0;
  uint32_t lives_ = 0;
};

}  // namespace holdfast::cached
