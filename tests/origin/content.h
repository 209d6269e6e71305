// SPDX-License-Identifier: Apache-2.0
// The only right bytes of the origin's objects: f(path, version, offset). Cheap to serve, because
// all but the first 64 bytes of an object are a window into one pool of random bytes; the first 64
// are its own, so that no two are equal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace holdfast::origin {

inline constexpr uint64_t kOwnBytes = 64;
inline constexpr uint64_t kPoolBytes = 8 << 20;

class Content {
 public:
  // Of the object at `path` ("/o/<size>/<id>") in its `version`, which the origin counts from 0.
  Content(std::string_view path, uint64_t version);
  // Writes the bytes from `offset` on.
  void Read(uint64_t offset, ByteSpan out) const;
  // The longest run from `offset` on that lies in memory as it is; `offset` >= kOwnBytes.
  ByteView Run(uint64_t offset) const;
  // Without quotes: 16 hexadecimal digits.
  std::string ETag() const;

 private:
  uint64_t seed_;
};

// The size in "/anything/o/<size>/<id>"; nothing for another path.
std::optional<uint64_t> SizeInPath(std::string_view path);

}  // namespace holdfast::origin
