// SPDX-License-Identifier: Apache-2.0
// The names of things. See docs/formats.md for how an OID is made from a URI.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

// XXH3-128 of an object's canonical URI. Orders by (hi, lo).
struct Oid {
  uint64_t hi = 0;
  uint64_t lo = 0;
  friend auto operator<=>(const Oid&, const Oid&) = default;
};

// 32 lower-case hexadecimal digits.
std::string ToHex(const Oid& oid);
std::optional<Oid> OidFromHex(std::string_view hex);

// XXH3-64 of size and ETag (docs/formats.md). 0 means "any version" in a question and never names
// one.
using VersionHash = uint64_t;

// A node's number in the membership list; stable over restarts.
using NodeId = uint16_t;
constexpr NodeId kNoNode = 0xffff;

// Random at each start of a daemon, never 0.
using Incarnation = uint64_t;
// Random at each start of a job, never 0.
using JobId = uint64_t;
// Digest of a manifest's content.
using ManifestDigest = Oid;

}  // namespace holdfast
