// SPDX-License-Identifier: Apache-2.0
// What a node writes into its journal about its promises, and the bytes of it: docs/formats.md,
// "Promises in the journal". A record of the journal is a sequence of entries.
//
// An object is described once, however many promises there are of it (Objects, 30 bytes); how it is
// loaded is said while it waits (Names); a promise names it by its place in the list (2 bytes).
#pragma once

#include <functional>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"
#include "planner/manifest.h"

namespace holdfast::cached {

namespace entry {

// The most that a list may have, as on the wire.
constexpr uint32_t kMaxObjects = 4'000'000;
// Indices of one entry lie in one run of so many, which begins at a multiple of it.
constexpr uint32_t kRun = 65'536;

// Whose journal it is, and which of the node's lives writes it, counted from 1. The first entry of
// every life and of every checkpoint.
struct Owner {
  uint32_t node = 0;
  uint32_t life = 0;
  uint64_t cluster_hash = 0;  // XXH3-64 of the cluster's name
};

// Objects of a list, which is named by the digest of its manifest.
struct Objects {
  ManifestDigest digest{};
  uint32_t count = 0;                               // of the whole list
  std::vector<uint32_t> indices{};                  // rising
  std::vector<planner::ManifestEntry> described{};  // of each index
};

// How an object that is waited for can be had. The texts are whose the entry's bytes are.
struct Name {
  uint32_t index = 0;
  uint32_t need_by_ms = 0;  // from when this was written
  std::string_view name{};  // canonical URI
  std::string_view etag{};
};
struct Names {
  ManifestDigest digest{};
  std::vector<Name> names{};  // indices rising
};

// Objects that were promised to a job in one call.
struct Promise {
  JobId job = 0;
  uint64_t tenancy = 0;
  Duration lease{};
  uint32_t call = 0;
  ManifestDigest digest{};
  uint32_t count = 0;  // of the whole list
  uint8_t priority = 0;
  uint16_t name_allowance = 0;
  Duration left{};  // until t2, from when this was written
  // When that was: the machine's start, and the time since. Only times of one start are compared.
  uint64_t boot = 0;
  Duration since_boot{};
  std::vector<uint32_t> indices{};  // rising
};

struct Lease {  // of a job; of tenancies that are not known it says nothing
  JobId job = 0;
  uint64_t tenancy = 0;
  Duration lease{};
};

struct End {  // of a job's promises
  JobId job = 0;
  uint64_t tenancy = 0;
};

}  // namespace entry

using Entry = std::variant<entry::Owner, entry::Objects, entry::Names, entry::Promise, entry::Lease,
                           entry::End>;

// Adds the entry to a record. Its indices are within one run.
void AppendEntry(const Entry& entry, std::vector<std::byte>* record);

// Hands out the entries of a record in order; texts are views of the record. kCorrupt for what is no
// record, kInvalid for one of a newer version; what was visited before is right.
Status VisitEntries(ByteView record, const std::function<void(Entry&&)>& visit);

}  // namespace holdfast::cached
