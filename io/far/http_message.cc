// SPDX-License-Identifier: Apache-2.0
#include "io/far/http_message.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace holdfast::far {
namespace {

constexpr size_t kMaxHeaderName = 64;
constexpr size_t kMaxETag = 1024;

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<ContentRange> ParseContentRange(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  const size_t dash = text.find('-');
  const size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) {
    return std::nullopt;
  }
  const auto first = ParseNumber(text.substr(0, dash));
  const auto last = ParseNumber(text.substr(dash + 1, slash - dash - 1));
  const std::string_view total = text.substr(slash + 1);
  if (!first || !last || (total != "*" && !ParseNumber(total))) return std::nullopt;
  return ContentRange{.first = *first, .last = *last, .total = ParseNumber(total)};
}

// Seconds, or a date relative to now.
std::optional<Duration> ParseRetryAfter(const std::string& text) {
  if (const auto seconds = ParseNumber(text); seconds) {
    return std::chrono::seconds(std::min<uint64_t>(*seconds, 86'400));
  }
  const time_t when = curl_getdate(text.c_str(), nullptr);
  if (when < 0) return std::nullopt;
  return std::chrono::seconds(std::clamp<int64_t>(when - time(nullptr), 0, 86'400));
}

// expiry-date="Fri, 23 Dec 2012 00:00:00 GMT", rule-id="..."; 0 for what is no such date.
uint32_t ParseExpiration(std::string_view value) {
  constexpr std::string_view kBefore = "expiry-date=\"";
  const size_t begin = value.find(kBefore);
  if (begin == std::string_view::npos) return 0;
  const std::string_view rest = value.substr(begin + kBefore.size());
  const std::string date(rest.substr(0, rest.find('"')));
  const int64_t seconds = curl_getdate(date.c_str(), nullptr);
  if (seconds <= 0) return 0;
  return static_cast<uint32_t>(std::min<int64_t>(seconds, UINT32_MAX));
}

std::string HexPair(const char* prefix, uint64_t a, uint64_t b) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%s-%llx-%llx", prefix,
                static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
  return text.data();
}

}  // namespace

void ResponseHead::Clear() {
  status = 0;
  content_length.reset();
  content_range.reset();
  etag.clear();
  last_modified = -1;
  retry_after.reset();
  checksums.clear();
  bucket_region.clear();
  expires_s = 0;
}

void ResponseHead::AddLine(std::string_view line) {
  if (line.starts_with("HTTP/")) {
    Clear();
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) return;
    status = static_cast<int>(ParseNumber(line.substr(space + 1, 3)).value_or(0));
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon > kMaxHeaderName) return;
  std::array<char, kMaxHeaderName> lower;
  std::transform(line.begin(), line.begin() + static_cast<ptrdiff_t>(colon), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const std::string_view name(lower.data(), colon);
  const std::string_view value = Trim(line.substr(colon + 1));
  if (name == "content-length") {
    content_length = ParseNumber(value);
  } else if (name == "content-range") {
    content_range = ParseContentRange(value);
  } else if (name == "etag") {
    etag = UnquotedETag(value);
  } else if (name == "last-modified") {
    last_modified = curl_getdate(std::string(value).c_str(), nullptr);
  } else if (name == "retry-after") {
    retry_after = ParseRetryAfter(std::string(value));
  } else if (name == "x-amz-expiration") {
    expires_s = ParseExpiration(value);
  } else if (name == "x-amz-bucket-region") {
    bucket_region = value.substr(0, kMaxHeaderName);
  } else if (const auto kind = ChecksumOfHeader(name); kind) {
    // A multipart object's checksum "...-N" is one of its parts' checksums; the bytes alone cannot
    // be tested against it.
    const bool composite = value.find('-') != std::string_view::npos;
    if (!composite && checksums.size() < 8) checksums.push_back({*kind, std::string(value)});
  }
}

std::string UnquotedETag(std::string_view text) {
  if (text.size() > kMaxETag) return "";
  std::string weak;
  if (text.starts_with("W/")) {
    weak = "W/";
    text.remove_prefix(2);
  }
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  return text.empty() ? "" : weak + std::string(text);
}

std::string QuotedETag(std::string_view etag) {
  std::string quoted;
  if (etag.starts_with("W/")) {
    quoted = "W/";
    etag.remove_prefix(2);
  }
  return quoted.append("\"").append(etag).append("\"");
}

bool IsSendableETag(std::string_view etag) {
  return etag.size() <= kMaxETag && std::all_of(etag.begin(), etag.end(), [](char c) {
           return c > ' ' && c < 127 && c != '"';
         });
}

std::string VersionOf(const ResponseHead& head, uint64_t object_size) {
  if (!head.etag.empty()) return head.etag;
  if (head.last_modified >= 0) {
    return HexPair("lm", static_cast<uint64_t>(head.last_modified), object_size);
  }
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "len-%llx", static_cast<unsigned long long>(object_size));
  return text.data();
}

bool CanMatch(std::string_view version) {
  return !version.empty() && !version.starts_with("W/") && !version.starts_with("lm-") &&
         !version.starts_with("len-");
}

}  // namespace holdfast::far
