// SPDX-License-Identifier: Apache-2.0
// The names and versions of files as objects (docs/formats.md).
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

#include "base/uri.h"

namespace holdfast::far {

inline std::string FileETag(int64_t mtime_ns, uint64_t size) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%llx-%llx", static_cast<unsigned long long>(mtime_ns),
                static_cast<unsigned long long>(size));
  return text.data();
}

inline std::string FileUri(const std::string& path) {
  return ToCanonical(
      {.scheme = FarScheme::kFile, .authority = "", .bucket = "", .path = path, .query = ""});
}

}  // namespace holdfast::far
