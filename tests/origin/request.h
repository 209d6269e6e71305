// SPDX-License-Identifier: Apache-2.0
// One HTTP request as the origin understands it: enough for clients that read objects.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::origin {

struct Request {
  std::string method;
  std::string path;                                          // as sent, percent-encoded
  std::string query;                                         // without '?'
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case

  // The value of a header; empty if it is not there.
  std::string_view Header(std::string_view lower_name) const;
  // Of a "Range: bytes=first-last"; the last is inclusive.
  std::optional<std::pair<uint64_t, uint64_t>> Range() const;
};

// Parses a head that ends with an empty line; false for what is no request.
bool ParseRequest(std::string_view head, Request* request);

}  // namespace holdfast::origin
