// SPDX-License-Identifier: Apache-2.0
// What exists far away: the one oracle of right bytes, bytes = f(uri, version, offset), and the
// count of who fetched what.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/env.h"
#include "base/ids.h"
#include "base/units.h"
#include "tests/sim/world.h"

namespace holdfast::sim {

struct FarObject {
  std::string uri;
  Oid oid;
  uint64_t size = 0;
  std::string etag;
  VersionHash version = 0;
  bool missing = false;  // deleted after it was listed
  bool denied = false;
  Time changes_at = Time::Max();  // from then on it is another version, of another size
  FarInfo later;
  Time ends_at = Time::Max();  // a whole second; it has expired from then on, and is gone
  // Of a range (base/range_name.h): of what, and from where on. Its state is that of the whole.
  const FarObject* whole = nullptr;
  uint64_t offset = 0;
  const std::string& far_uri() const { return whole == nullptr ? uri : whole->uri; }
};

class FarWorld {
 public:
  // Returns its index. The name is canonical.
  uint32_t Add(std::string uri, uint64_t size, std::string etag);
  // Of what is larger than `chunk` there are its chunks from now on, those of both of its versions; once,
  // after all objects. They are found, and not counted by size().
  void Cut(uint64_t chunk);
  // Those that begin there.
  std::vector<const FarObject*> RangesAt(const FarObject& whole, uint64_t offset) const;
  FarObject& object(uint32_t index) { return objects_[index]; }
  const FarObject& object(uint32_t index) const { return objects_[index]; }
  size_t size() const { return objects_.size(); }
  const FarObject* Find(std::string_view uri) const;
  const FarObject* Find(const Oid& oid) const;
  FarInfo InfoAt(const FarObject& object, Time now) const;

  // The right bytes.
  static void Fill(std::string_view uri, VersionHash version, uint64_t offset, ByteSpan into);
  static bool Right(std::string_view uri, VersionHash version, ByteView bytes, uint64_t offset = 0);
  static bool Right(const FarObject& object, VersionHash version, ByteView bytes);

  using Version = std::pair<Oid, VersionHash>;
  // Successful GETs so far, by object and version.
  void CountGet(const Version& version, ProcessId process, Time now) {
    ++gets_[version];
    last_gets_[{version, process}] = now;
  }
  const std::map<Version, uint64_t>& gets() const { return gets_; }
  // The last one of this process; before all time for none.
  Time LastGet(const Version& version, ProcessId process) const {
    auto it = last_gets_.find({version, process});
    return it == last_gets_.end() ? Time{-1} : it->second;
  }
  uint64_t requests = 0;  // of every kind, failed ones included
  Time outage_until{};    // until then everybody gets 503

 private:
  void AddRange(const FarObject& whole, std::string uri, uint64_t offset, uint64_t size,
                std::string etag);

  std::vector<FarObject> objects_;
  std::map<Oid, FarObject> ranges_;
  std::map<std::pair<const FarObject*, uint64_t>, std::vector<const FarObject*>> ranges_at_;
  std::unordered_map<std::string, uint32_t> by_uri_;  // looked up only
  std::map<Oid, uint32_t> by_oid_;
  std::map<Version, uint64_t> gets_;
  std::map<std::pair<Version, ProcessId>, Time> last_gets_;
};

}  // namespace holdfast::sim
