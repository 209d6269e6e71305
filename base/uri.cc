// SPDX-License-Identifier: Apache-2.0
#include "base/uri.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include "base/hash.h"
#include "base/range_name.h"

namespace holdfast {
namespace {

constexpr size_t kMaxName = 4096;

struct SchemeRule {
  std::string_view prefix;
  FarScheme scheme;
  std::string_view default_port;
};
constexpr std::array<SchemeRule, 5> kSchemes{{{"file://", FarScheme::kFile, ""},
                                              {"http://", FarScheme::kHttp, "80"},
                                              {"https://", FarScheme::kHttps, "443"},
                                              {"s3+http://", FarScheme::kS3Http, "80"},
                                              {"s3+https://", FarScheme::kS3Https, "443"}}};
constexpr std::string_view kPlainS3 = "s3://";

// What a name is wanted for: an object needs a key, a prefix does not and keeps its last '/'.
enum class Use { kObject, kPrefix };

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsUnreserved(char c) {
  return (Lower(c) >= 'a' && Lower(c) <= 'z') || IsDigit(c) || c == '-' || c == '.' || c == '_' ||
         c == '~';
}
bool IsS3(FarScheme scheme) {
  return scheme == FarScheme::kS3Http || scheme == FarScheme::kS3Https;
}

void AppendEncoded(std::string& out, char c) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(c);
  out += '%';
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

int HexValue(char c) {
  if (IsDigit(c)) return c - '0';
  const char l = Lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

bool StartsWithNoCase(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(),
                    [](char want, char got) { return want == Lower(got); });
}

const SchemeRule* FindScheme(std::string_view text) {
  for (const SchemeRule& rule : kSchemes) {
    if (StartsWithNoCase(text, rule.prefix)) return &rule;
  }
  return nullptr;
}
const SchemeRule& RuleOf(FarScheme scheme) { return kSchemes[static_cast<size_t>(scheme)]; }

// The name in an error: whole if it is short, and never with bytes that a terminal would obey.
std::string Quoted(std::string_view text) {
  std::string shown = "\"";
  for (char c : text.substr(0, 200)) {
    if (c < ' ' || c == 127) {
      AppendEncoded(shown, c);
    } else {
      shown += c;
    }
  }
  return shown + (text.size() > 200 ? "...\"" : "\"");
}

Status Bad(std::string_view text, std::string_view why) {
  return Status::Invalid(Quoted(text) + " " + std::string(why));
}

// "." and ".." and "//" resolved as the kernel would without symbolic links; ".." at the root stays
// there.
std::string ResolvePath(std::string_view path, Use use) {
  std::vector<std::string_view> parts;
  bool ends_in_name = false;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    ends_in_name = false;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
      ends_in_name = end == path.size();
    }
    at = end + 1;
  }
  std::string resolved;
  for (std::string_view part : parts) resolved.append("/").append(part);
  if (resolved.empty() || (use == Use::kPrefix && !ends_in_name)) resolved += '/';
  return resolved;
}

// "Host:0080" to "host" for scheme http; nothing for what is no host and port.
std::optional<std::string> CanonicalAuthority(std::string_view text,
                                              std::string_view default_port) {
  std::string host;
  size_t at = 0;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos || close < 3) return std::nullopt;
    for (char c : text.substr(1, close - 1)) {
      if (HexValue(c) < 0 && c != ':' && c != '.') return std::nullopt;
    }
    at = close + 1;
  } else {
    at = std::min(text.find(':'), text.size());
    for (char c : text.substr(0, at)) {
      if (!IsUnreserved(c) || c == '~') return std::nullopt;
    }
  }
  if (at == 0) return std::nullopt;
  for (char c : text.substr(0, at)) host += Lower(c);
  if (at == text.size()) return host;
  const std::string_view port = text.substr(at + 1);
  uint16_t number = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (text[at] != ':' || error != std::errc() || end != port.data() + port.size() || number == 0) {
    return std::nullopt;
  }
  const std::string shown = std::to_string(number);
  return shown == default_port ? host : host + ":" + shown;
}

bool IsBucket(std::string_view text) {
  return !text.empty() && text.size() <= 255 && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), [](char c) { return IsUnreserved(c) && c != '~'; });
}

// Queries belong to their server and stay as given; what could not stand in a request line is
// encoded.
std::string CanonicalQuery(std::string_view text) {
  std::string query;
  for (char c : text) {
    if (c <= ' ' || c >= 127) {
      AppendEncoded(query, c);
    } else {
      query += c;
    }
  }
  return query;
}

Result<FarName> CheckName(std::string_view text, FarName name, Use use) {
  if (name.path.find('\0') != std::string::npos || text.find('\0') != std::string_view::npos) {
    return Bad(text, "has a NUL byte in its name");
  }
  if (name.scheme == FarScheme::kFile) name.path = ResolvePath(name.path, use);
  if (use == Use::kObject &&
      (name.path.empty() || (name.scheme == FarScheme::kFile && name.path == "/"))) {
    return Bad(text, "names no object: after the bucket or the root there must be a key");
  }
  if (ToCanonical(name).size() > kMaxName) {
    return Bad(text, "is too long: a canonical name has at most 4096 bytes");
  }
  return name;
}

Result<FarName> SplitS3(std::string_view text, FarName name, std::string_view bucket_and_key,
                        Use use) {
  const size_t slash = std::min(bucket_and_key.find('/'), bucket_and_key.size());
  name.bucket = bucket_and_key.substr(0, slash);
  if (!IsBucket(name.bucket)) {
    return Bad(text, "has no valid bucket name: letters, digits, '.', '-' and '_' are allowed");
  }
  if (slash < bucket_and_key.size()) name.path = bucket_and_key.substr(slash + 1);
  return CheckName(text, std::move(name), use);
}

Result<FarName> ParseFile(std::string_view text, std::string_view rest, Use use) {
  if (!rest.starts_with('/')) return Bad(text, "must be an absolute path: file:///a/b");
  Result<std::string> path = PercentDecode(rest);
  if (!path.ok()) return Bad(text, path.status().message());
  FarName name;
  name.path = std::move(*path);
  return CheckName(text, std::move(name), use);
}

// One of the five canonical schemes, in any spelling.
Result<FarName> ParseUri(std::string_view text, const SchemeRule& rule, Use use) {
  std::string_view rest = text.substr(rule.prefix.size());
  if (rule.scheme == FarScheme::kFile) return ParseFile(text, rest, use);
  const bool s3 = IsS3(rule.scheme);
  if (!s3) rest = rest.substr(0, rest.find('#'));
  const size_t host_end = std::min(rest.find_first_of(s3 ? "/" : "/?"), rest.size());
  std::optional<std::string> authority =
      CanonicalAuthority(rest.substr(0, host_end), rule.default_port);
  if (!authority.has_value()) {
    // A password in the text is not repeated.
    const bool secret = rest.substr(0, host_end).find('@') != std::string_view::npos;
    return Bad(secret ? rule.prefix : text,
               "has no valid host: write host or host:port, without user and password");
  }
  FarName name;
  name.scheme = rule.scheme;
  name.authority = std::move(*authority);
  rest = rest.substr(host_end);
  if (const size_t question = rest.find('?'); !s3 && question != std::string_view::npos) {
    name.query = CanonicalQuery(rest.substr(question + 1));
    rest = rest.substr(0, question);
  }
  Result<std::string> path = PercentDecode(rest);
  if (!path.ok()) return Bad(text, path.status().message());
  if (s3) return SplitS3(text, std::move(name), path->empty() ? *path : path->substr(1), use);
  name.path = path->empty() ? "/" : std::move(*path);
  return CheckName(text, std::move(name), use);
}

Result<FarName> ParsePlainS3(std::string_view text, std::string_view s3_endpoint, Use use) {
  if (s3_endpoint.empty()) {
    return Bad(
        text, "needs an S3 endpoint: configure one, such as https://s3.eu-central-1.amazonaws.com");
  }
  const SchemeRule* rule = FindScheme(s3_endpoint);
  const bool web =
      rule != nullptr && (rule->scheme == FarScheme::kHttp || rule->scheme == FarScheme::kHttps);
  std::optional<std::string> authority;
  if (web) {
    std::string_view host = s3_endpoint.substr(rule->prefix.size());
    if (host.ends_with('/')) host.remove_suffix(1);
    authority = CanonicalAuthority(host, rule->default_port);
  }
  if (!authority.has_value()) {
    return Bad(s3_endpoint, "is no S3 endpoint: write http://host:port or https://host");
  }
  FarName name;
  name.scheme = rule->scheme == FarScheme::kHttp ? FarScheme::kS3Http : FarScheme::kS3Https;
  name.authority = std::move(*authority);
  return SplitS3(text, std::move(name), text.substr(kPlainS3.size()), use);
}

Result<FarName> ParseAny(std::string_view text, std::string_view s3_endpoint, Use use) {
  if (text.starts_with('/')) {
    FarName name;
    name.path = text;
    return CheckName(text, std::move(name), use);
  }
  if (StartsWithNoCase(text, kPlainS3)) return ParsePlainS3(text, s3_endpoint, use);
  if (const SchemeRule* rule = FindScheme(text); rule != nullptr) return ParseUri(text, *rule, use);
  return Bad(
      text,
      "is no name that is understood: write an absolute path, file:///path, s3://bucket/key, "
      "s3+http(s)://endpoint/bucket/key or http(s)://host/path");
}

Result<std::string> Canonicalise(std::string_view text, std::string_view s3_endpoint, Use use) {
  Result<FarName> name = ParseAny(text, s3_endpoint, use);
  if (!name.ok()) return name.status();
  return ToCanonical(*name);
}

Result<FarName> ParseStrict(std::string_view canonical, Use use) {
  const SchemeRule* rule = FindScheme(canonical);
  if (rule == nullptr) return Bad(canonical, "is no canonical name: its scheme is unknown");
  Result<FarName> name = ParseUri(canonical, *rule, use);
  if (name.ok() && ToCanonical(*name) != canonical) {
    return Bad(canonical, "is not in canonical form; that would be " + Quoted(ToCanonical(*name)));
  }
  return name;
}

// Unreserved characters and '/' alone; of a file's path also that ResolvePath would leave it as it
// is.
bool IsPlainPath(std::string_view path, bool file) {
  for (size_t at = 0; at < path.size(); ++at) {
    if (path[at] != '/') {
      if (!IsUnreserved(path[at])) return false;
      continue;
    }
    if (!file) continue;
    const std::string_view rest = path.substr(at + 1);
    const std::string_view part = rest.substr(0, rest.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
  }
  return true;
}

// True only for names that are canonical: most are, and seeing that costs a tenth of taking them
// apart and putting them together again. False says nothing.
bool IsPlainlyCanonical(std::string_view text) {
  const auto rule = std::find_if(kSchemes.begin(), kSchemes.end(),
                                 [&](const SchemeRule& r) { return text.starts_with(r.prefix); });
  if (rule == kSchemes.end() || text.size() > kMaxName) return false;
  std::string_view rest = text.substr(rule->prefix.size());
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view authority = rest.substr(0, slash);
  rest = rest.substr(slash);
  if (rule->scheme == FarScheme::kFile) return authority.empty() && IsPlainPath(rest, true);
  if (CanonicalAuthority(authority, rule->default_port) != authority) return false;
  if (!IsS3(rule->scheme)) return IsPlainPath(rest, false);
  const size_t bucket_end = rest.find('/', 1);
  return bucket_end != std::string_view::npos && bucket_end + 1 < rest.size() &&
         IsBucket(rest.substr(1, bucket_end - 1)) && IsPlainPath(rest.substr(bucket_end), false);
}

}  // namespace

Result<std::string> CanonicalUri(std::string_view text, std::string_view s3_endpoint) {
  if (IsPlainlyCanonical(text)) return std::string(text);
  const Result<WrittenName> written = SplitWrittenRange(text);
  if (!written.ok()) return written.status();
  Result<std::string> whole = Canonicalise(written->whole, s3_endpoint, Use::kObject);
  if (!whole.ok() || !written->range) return whole;
  std::string name = NameOfRange(*whole, *written->range);
  if (name.size() > kMaxName) return Bad(text, "is too long: a name has at most 4096 bytes");
  return name;
}

Result<std::string> CanonicalPrefix(std::string_view text, std::string_view s3_endpoint) {
  return Canonicalise(text, s3_endpoint, Use::kPrefix);
}

Result<FarName> ParseCanonical(std::string_view canonical) {
  return ParseStrict(canonical, Use::kObject);
}

Result<FarName> ParsePrefix(std::string_view canonical) {
  return ParseStrict(canonical, Use::kPrefix);
}

std::string ToCanonical(const FarName& name) {
  std::string uri(RuleOf(name.scheme).prefix);
  uri += name.authority;
  if (IsS3(name.scheme)) uri.append("/").append(name.bucket).append("/");
  uri += PercentEncode(name.path, true);
  if (!name.query.empty()) uri.append("?").append(name.query);
  return uri;
}

std::string PercentEncode(std::string_view text, bool keep_slash) {
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    if (IsUnreserved(c) || (keep_slash && c == '/')) {
      out += c;
    } else {
      AppendEncoded(out, c);
    }
  }
  return out;
}

Result<std::string> PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? HexValue(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? HexValue(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return Status::Invalid("has a '%' without two hexadecimal digits; write %25 for a '%'");
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Oid OidOf(std::string_view canonical_uri) { return Hash128(AsBytes(canonical_uri)); }

}  // namespace holdfast
