// SPDX-License-Identifier: Apache-2.0
// Where each object of a packed set is (docs/formats.md, "Packs"). Immutable once made; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"

namespace holdfast::packs {

class PackIndex {
 public:
  struct Pack {
    Oid name;
    uint64_t payload_bytes = 0;
  };
  struct Entry {
    uint32_t pack = 0;  // of packs()
    uint32_t offset = 0;
    uint32_t size = 0;
    uint64_t hash = 0;
    std::string_view etag;  // lives as long as the index
  };
  // What an index is made of; any order.
  struct Row {
    Oid oid;
    uint32_t pack = 0;
    uint32_t offset = 0;
    uint32_t size = 0;
    uint64_t hash = 0;
    std::string etag;
  };

  // Of one OID the first row counts. For writers; `packs` are those that rows name.
  static Buffer Encode(const std::vector<Pack>& packs, std::vector<Row> rows);
  // kCorrupt for anything that is no index; kInvalid for another version; kNoSpace for one that
  // takes more than `max_bytes` of memory.
  static Result<PackIndex> Decode(ByteView bytes, uint64_t max_bytes);

  std::optional<Entry> Find(const Oid& oid) const;
  const std::vector<Pack>& packs() const { return packs_; }
  size_t objects() const { return objects_; }
  uint64_t memory_bytes() const;

 private:
  Entry EntryOf(size_t n) const;
  Status Check() const;

  Buffer body_;
  size_t objects_ = 0;
  std::vector<Pack> packs_;
  // Inside body_.
  ColumnView<uint64_t> oids_;  // hi and lo in turn
  ColumnView<uint32_t> pack_of_, offsets_, sizes_;
  ColumnView<uint64_t> hashes_;
  ColumnView<uint32_t> etag_ends_;
  std::string_view etags_;
};

}  // namespace holdfast::packs
