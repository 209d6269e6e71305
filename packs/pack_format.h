// SPDX-License-Identifier: Apache-2.0
// A pack: one far object that holds many small ones (docs/formats.md, "Packs"). Decoders take any
// bytes and name what is wrong.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"

namespace holdfast::packs {

inline constexpr uint64_t kMaxPackBytes = 256ull << 20;
inline constexpr size_t kFooterBytes = 64;

// An object as a pack's table has it. Its offset is the sum of the sizes before it.
struct PackedObject {
  std::string name;  // canonical URI
  std::string etag;  // at most 256 bytes
  uint64_t size = 0;
  uint64_t hash = 0;  // XXH3-64 of its bytes
  friend bool operator==(const PackedObject&, const PackedObject&) = default;
};

// What follows the payloads: table and footer.
Buffer EncodeTail(const std::vector<PackedObject>& objects);

// Checks all of a pack: its footer, its table, and every payload against its hash. kCorrupt says
// which.
Result<std::vector<PackedObject>> ReadPack(ByteView pack);

// The name of a pack of these objects, in this order; sizes and ETags count, hashes do not. It is
// known before the first of them is read.
Oid PackName(const std::vector<PackedObject>& objects);
// "<32 hexadecimal digits>.pack".
std::string PackFileName(const Oid& name);
inline constexpr std::string_view kIndexFileName = "index";

}  // namespace holdfast::packs
