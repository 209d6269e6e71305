// SPDX-License-Identifier: Apache-2.0
// What the origin answers to a request, before any byte of it is sent.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/origin/content.h"
#include "tests/origin/fault.h"
#include "tests/origin/request.h"

namespace holdfast::origin {

// A test's own answer.
struct CannedResponse {
  int status = 200;
  std::vector<std::string> headers;  // "Name: value"; Content-Length is added
  std::string body;
};
using CannedAnswers = std::function<std::optional<CannedResponse>(const Request&)>;

// What happens once `send_bytes` of the body are out.
enum class Ending : uint8_t { kKeepAlive, kClose, kReset, kHang };

struct Response {
  std::string head;
  std::string text;                // a body that is no object's
  std::optional<Content> content;  // an object's
  uint64_t offset = 0;             // in `content`
  uint64_t send_bytes = 0;         // of the body
  int64_t wrong_at = -1;           // the byte of the object that is sent inverted
  bool chunked = false;            // the body is one chunk
  Ending ending = Ending::kKeepAlive;
};

struct ResponseOptions {
  bool checksums = false;  // x-amz-checksum-crc32c with whole objects, and ranges that are all
};

// `version` of the object at the request's path; `fault` may be null.
Response MakeResponse(const Request& request, uint64_t version, const FaultRule* fault,
                      const ResponseOptions& options);
Response MakeCanned(const Request& request, CannedResponse canned);

}  // namespace holdfast::origin
