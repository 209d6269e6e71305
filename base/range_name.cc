// SPDX-License-Identifier: Apache-2.0
#include "base/range_name.h"

#include <charconv>

namespace holdfast {
namespace {

constexpr std::string_view kMark = "#bytes=";

enum class Zeros { kAllowed, kRefused };

// Digits alone; nothing also for what is too large.
std::optional<uint64_t> ParseNumber(std::string_view text, Zeros zeros) {
  uint64_t number = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  if (zeros == Zeros::kRefused && text.size() > 1 && text.front() == '0') return std::nullopt;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// "FIRST-LAST".
std::optional<ByteRange> ParseBounds(std::string_view text, Zeros zeros) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::optional<uint64_t> first = ParseNumber(text.substr(0, dash), zeros);
  const std::optional<uint64_t> last = ParseNumber(text.substr(dash + 1), zeros);
  if (!first || !last || *first > *last || *last >= kMaxRangeEnd) return std::nullopt;
  return ByteRange{*first, *last - *first + 1};
}

}  // namespace

Result<ByteRange> MakeRange(std::string_view name, uint64_t offset, uint64_t length) {
  if (length == 0) {
    return Status::Invalid(std::string(name) + ": a range of no bytes; it has at least one");
  }
  if (offset >= kMaxRangeEnd || length > kMaxRangeEnd - offset) {
    return Status::Invalid(std::string(name) + ": a range of " + std::to_string(length) +
                           " bytes from byte " + std::to_string(offset) +
                           " on goes beyond 2^62, where no object goes");
  }
  return ByteRange{offset, length};
}

std::string NameOfRange(std::string_view whole, const ByteRange& range) {
  HF_CHECK(range.length > 0);
  return std::string(whole)
      .append(kMark)
      .append(std::to_string(range.offset))
      .append("-")
      .append(std::to_string(range.end() - 1));
}

std::optional<RangeName> ParseRangeName(std::string_view canonical) {
  const size_t hash = canonical.find('#');
  if (hash == std::string_view::npos || hash == 0) return std::nullopt;
  const std::string_view rest = canonical.substr(hash);
  if (!rest.starts_with(kMark)) return std::nullopt;
  const std::optional<ByteRange> range = ParseBounds(rest.substr(kMark.size()), Zeros::kRefused);
  if (!range) return std::nullopt;
  return RangeName{canonical.substr(0, hash), *range};
}

Result<WrittenName> SplitWrittenRange(std::string_view text) {
  const size_t mark = text.find(kMark);
  if (mark == std::string_view::npos) return WrittenName{text, std::nullopt};
  const std::optional<ByteRange> range =
      ParseBounds(text.substr(mark + kMark.size()), Zeros::kAllowed);
  if (!range) {
    return Status::Invalid(
        "\"" + std::string(text.substr(0, 200)) +
        "\" names no range: write #bytes=FIRST-LAST, both included, FIRST not after LAST; a '#' of "
        "the name itself is written %23 in a canonical URI");
  }
  return WrittenName{text.substr(0, mark), range};
}

std::string EtagOfRange(std::string_view whole_etag, uint64_t whole_size) {
  return std::string(whole_etag).append("#").append(std::to_string(whole_size));
}

std::optional<WholeVersion> ParseRangeEtag(std::string_view etag) {
  const size_t hash = etag.rfind('#');
  if (hash == std::string_view::npos || hash == 0) return std::nullopt;
  const std::optional<uint64_t> size = ParseNumber(etag.substr(hash + 1), Zeros::kRefused);
  if (!size) return std::nullopt;
  return WholeVersion{etag.substr(0, hash), *size};
}

}  // namespace holdfast
