// SPDX-License-Identifier: Apache-2.0
// The set of a job's objects in the order of their OIDs.
#pragma once

#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"

namespace holdfast::planner {

struct ManifestEntry {
  Oid oid;
  uint64_t size = 0;
  VersionHash version = 0;
};

// Immutable once made. Two jobs with the same objects have the same digest, whatever the order of
// their reading.
class Manifest {
 public:
  Manifest() = default;
  // Sorts. The same OID twice with the same version is one object; with two versions it is kInvalid
  // (the text names the OID). kInvalid for an empty list.
  static Result<Manifest> Build(std::vector<ManifestEntry> entries);
  // From the wire. kCorrupt unless the columns have the right lengths, are strictly ascending, name
  // a version for every object, and have `digest`.
  static Result<Manifest> FromColumns(uint32_t count, uint8_t size_width, Buffer oids, Buffer sizes,
                                      Buffer versions, const ManifestDigest& digest);

  uint32_t size() const { return count_; }
  Oid oid(uint32_t i) const {
    return {LoadAs<uint64_t>(oids_.data() + 16 * size_t{i}),
            LoadAs<uint64_t>(oids_.data() + 16 * size_t{i} + 8)};
  }
  uint64_t object_bytes(uint32_t i) const {
    return size_width_ == 4 ? LoadAs<uint32_t>(sizes_.data() + 4 * size_t{i})
                            : LoadAs<uint64_t>(sizes_.data() + 8 * size_t{i});
  }
  VersionHash version(uint32_t i) const {
    return LoadAs<uint64_t>(versions_.data() + 8 * size_t{i});
  }
  const ManifestDigest& digest() const { return digest_; }

  // Interpolation search: OIDs are uniform, so a handful of probes.
  std::optional<uint32_t> Find(const Oid& oid) const;

  uint64_t total_bytes() const { return total_bytes_; }  // of all objects
  uint64_t memory_bytes() const { return oids_.size() + sizes_.size() + versions_.size(); }

  // The columns as they travel: hi and lo of each OID; sizes in size_width bytes (4 when all fit,
  // else 8); versions.
  uint8_t size_width() const { return size_width_; }
  ByteView oid_column() const { return oids_.view(); }
  ByteView size_column() const { return sizes_.view(); }
  ByteView version_column() const { return versions_.view(); }

 private:
  uint32_t count_ = 0;
  uint8_t size_width_ = 4;
  uint64_t total_bytes_ = 0;
  ManifestDigest digest_;
  Buffer oids_, sizes_, versions_;
};

}  // namespace holdfast::planner
