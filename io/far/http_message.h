// SPDX-License-Identifier: Apache-2.0
// The head of an HTTP response, as far as the far stores look at it. Every line is hostile input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/units.h"
#include "io/far/checksum.h"

namespace holdfast::far {

// "bytes first-last/total".
struct ContentRange {
  uint64_t first = 0;
  uint64_t last = 0;
  std::optional<uint64_t> total;  // unset for '*'
};

struct GivenChecksum {
  ChecksumKind kind;
  std::string base64;
};

struct ResponseHead {
  int status = 0;  // 0: no response yet
  std::optional<uint64_t> content_length;
  std::optional<ContentRange> content_range;
  std::string etag;            // without quotes, with W/ of a weak one; empty if none
  int64_t last_modified = -1;  // Unix seconds; -1 if none
  std::optional<Duration> retry_after;
  std::vector<GivenChecksum> checksums;  // of the whole object
  std::string bucket_region;             // x-amz-bucket-region
  // x-amz-expiration: when S3's lifecycle rules end it, since 1970; 0: never.
  uint32_t expires_s = 0;

  // A line with or without its end. A status line starts a new head: after a redirect only the last
  // one counts.
  void AddLine(std::string_view line);
  void Clear();
};

// An ETag as headers and listings write it, without its quotes: "x" is x, W/"x" is W/x. Empty for
// one over 1 KiB.
std::string UnquotedETag(std::string_view text);
// An ETag for the wire: quotes around it, those of a weak one after its W/.
std::string QuotedETag(std::string_view etag);
// Printable ASCII without quotes: what may stand in a header.
bool IsSendableETag(std::string_view etag);

// The version that a response names: its ETag; without one "lm-<Last-Modified>-<size>", without
// either "len-<size>", the numbers in hexadecimal. Servers that give no ETag are only as safe as
// that (docs/formats.md).
std::string VersionOf(const ResponseHead& head, uint64_t object_size);
// Whether If-Match can ask for this version: not for weak ETags (RFC 9110, 13.1.1) and those made
// by VersionOf.
bool CanMatch(std::string_view version);

}  // namespace holdfast::far
