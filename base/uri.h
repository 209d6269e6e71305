// SPDX-License-Identifier: Apache-2.0
// The canonical name of an object. A canonical URI contains the far store's identity, so two
// endpoints are two stores, and equal objects have equal bytes of name. The table of rules and test
// vectors is docs/formats.md.
#pragma once

#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/status.h"

namespace holdfast {

enum class FarScheme { kFile, kHttp, kHttps, kS3Http, kS3Https };

// A canonical URI in parts, every part decoded.
struct FarName {
  FarScheme scheme = FarScheme::kFile;
  std::string
      authority;  // "host" or "host:port" in lower case without a default port; empty for files
  std::string bucket;  // S3 only
  std::string path;    // files: absolute path; HTTP: path with leading '/'; S3: key without one
  std::string query;   // HTTP only, as given, without '?'
};

// What a user writes becomes canonical; "#bytes=FIRST-LAST" behind it, which names a range of the object
// (base/range_name.h), stays:
//   /a/b, file:///a/b            file:///a/b            (absolute; "." and ".." and "//" are resolved)
//   http(s)://Host:80/p?q        http(s)://host/p?q
//   s3://bucket/key              s3+https://ENDPOINT/bucket/key or s3+http://..., by `s3_endpoint`
//   s3+http(s)://ep/bucket/key   itself
// Keys of S3 are opaque: "//", "." and ".." stay. Every byte outside A-Za-z0-9-._~/ is
// percent-encoded in upper case; in s3:// and plain paths the input is taken literally (a '%' is a
// '%'), in file:, http: and s3+ forms it is decoded first. kInvalid for relative paths, NUL bytes,
// empty keys, unknown schemes, names over 4096 bytes, and s3:// without an endpoint; the text names
// the URI and says what is allowed.
Result<std::string> CanonicalUri(std::string_view text, std::string_view s3_endpoint);

// The same for what is to be listed: an S3 bucket without a key and the root directory are allowed,
// and a '/' at the end of a path stays, so that "/a/" means what is below the directory and
// "s3://b" or "s3://b/" the whole bucket.
Result<std::string> CanonicalPrefix(std::string_view text, std::string_view s3_endpoint);

// Takes a canonical URI apart; kInvalid for one that is not canonical (CanonicalUri would change
// it).
Result<FarName> ParseCanonical(std::string_view canonical);
// The same for a canonical prefix.
Result<FarName> ParsePrefix(std::string_view canonical);
std::string ToCanonical(const FarName& name);

// Percent-encodes every byte outside A-Za-z0-9-._~ (and '/', if keep_slash), in upper case: RFC
// 3986, as SigV4 wants it.
std::string PercentEncode(std::string_view text, bool keep_slash);
// kInvalid for a '%' without two hexadecimal digits.
Result<std::string> PercentDecode(std::string_view text);

Oid OidOf(std::string_view canonical_uri);

}  // namespace holdfast
