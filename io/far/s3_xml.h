// SPDX-License-Identifier: Apache-2.0
// The two XML documents of S3 that are read: a page of ListObjectsV2 and an error. Both are hostile
// input: no document types, hence no entities, a limit on depth, and everything typed is checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace holdfast::far {

struct ListedObject {
  std::string key;
  uint64_t size = 0;
  std::string etag;  // without quotes, never empty
};

struct Listing {
  std::vector<ListedObject> objects;  // at most kMaxListed with the prefixes
  std::vector<std::string> prefixes;
  std::string next_token;  // empty at the end
};

inline constexpr size_t kMaxListed = 1000;

// kCorrupt for what is no page of a listing.
Result<Listing> ParseListing(std::string_view xml);

// Text for people: printable, at most 300 bytes each.
struct S3Error {
  std::string code;
  std::string message;
};
// Nothing where `xml` is no error document.
std::optional<S3Error> ParseError(std::string_view xml);

}  // namespace holdfast::far
