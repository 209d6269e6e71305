// SPDX-License-Identifier: Apache-2.0
// Ranges of objects are objects, too (docs/decisions/0020-ranges-are-names.md):
//
//   <canonical URI>#bytes=FIRST-LAST    both ends included, from 0 on, decimal without leading zeros
//
// A canonical URI has no '#', so that none of them is the name of anything else. The whole range lies
// within the object: one that ends past it does not exist. The ETag of a range is that of the whole
// with its size, "<ETag>#<size>": ranges with equal ETags are of one version of one object.
//
// The only place that knows how names and ETags of ranges are written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace holdfast {

struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;  // at least 1
  uint64_t end() const { return offset + length; }
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

// No range goes beyond it.
constexpr uint64_t kMaxRangeEnd = uint64_t{1} << 62;

// kInvalid for an empty range and one that goes beyond kMaxRangeEnd; `name` is whose it is.
Result<ByteRange> MakeRange(std::string_view name, uint64_t offset, uint64_t length);

struct RangeName {
  std::string_view whole;  // of the text that was parsed
  ByteRange range;
};
// `whole` is canonical, and the name of no range.
std::string NameOfRange(std::string_view whole, const ByteRange& range);
// Nothing for the name of a whole object, and for what is none at all. Whether the whole's name is
// canonical is for whoever asks for it.
std::optional<RangeName> ParseRangeName(std::string_view canonical);

// A name as users write it: in any form that CanonicalUri takes (base/uri.h), "#bytes=FIRST-LAST" may
// follow, with leading zeros if they like. kInvalid where something else follows the first "#bytes=", a
// second one for example: a key that has this in itself is written with "%23", in a form that is decoded.
struct WrittenName {
  std::string_view whole;
  std::optional<ByteRange> range;
};
Result<WrittenName> SplitWrittenRange(std::string_view text);

struct WholeVersion {
  std::string_view etag;  // of the text that was parsed; not empty
  uint64_t size = 0;
};
std::string EtagOfRange(std::string_view whole_etag, uint64_t whole_size);
std::optional<WholeVersion> ParseRangeEtag(std::string_view etag);

}  // namespace holdfast
