// SPDX-License-Identifier: Apache-2.0
#include "io/far/http_request.h"

namespace holdfast::far {
namespace {

bool IsS3(const FarName& name) {
  return name.scheme == FarScheme::kS3Http || name.scheme == FarScheme::kS3Https;
}
bool IsSecure(const FarName& name) {
  return name.scheme == FarScheme::kHttps || name.scheme == FarScheme::kS3Https;
}

bool BringsChecksums(const Ask& ask) {
  return ask.kind == Ask::Kind::kGet || ask.kind == Ask::Kind::kHead;
}
std::string_view MethodOf(const Ask& ask) {
  if (ask.kind == Ask::Kind::kPut) return "PUT";
  return ask.kind == Ask::Kind::kHead ? "HEAD" : "GET";
}

std::string ListQuery(const FarName& prefix, const ListAsk& list) {
  std::vector<std::pair<std::string, std::string>> parameters{
      {"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", "1000"}, {"prefix", prefix.path}};
  if (!list.token.empty()) parameters.emplace_back("continuation-token", list.token);
  if (list.delimited) parameters.emplace_back("delimiter", "/");
  return EncodeQuery(std::move(parameters));
}

}  // namespace

std::string HttpTarget::Url() const {
  std::string url = scheme + "://" + host + path;
  if (!query.empty()) url.append("?").append(query);
  return url;
}

HttpRequestMaker::HttpRequestMaker(const S3Options& options)
    : virtual_hosted_(options.virtual_hosted) {
  if (!options.credentials.anonymous()) {
    signer_ = std::make_unique<Signer>(options.credentials, options.region);
  }
  // A made-up bucket gives the endpoint the form in which names carry it.
  Result<std::string> uri = CanonicalPrefix("s3://bucket", options.endpoint);
  if (uri.ok()) endpoint_ = *ParsePrefix(*uri);
}

bool HttpRequestMaker::Signs(const FarName& name) const {
  if (signer_ == nullptr || !IsS3(name)) return false;
  return !endpoint_ || (endpoint_->scheme == name.scheme && endpoint_->authority == name.authority);
}

HttpTarget HttpRequestMaker::TargetOf(const FarName& name, const ListAsk* list) const {
  HttpTarget target;
  target.scheme = IsSecure(name) ? "https" : "http";
  target.host = name.authority;
  if (!IsS3(name)) {
    target.path = PercentEncode(name.path, true);
    target.query = name.query;
    return target;
  }
  target.path = "/";
  if (virtual_hosted_) {
    target.host = name.bucket + "." + name.authority;
  } else {
    target.path += name.bucket + "/";
  }
  if (list != nullptr) {
    target.query = ListQuery(name, *list);
  } else {
    target.path += PercentEncode(name.path, true);
  }
  return target;
}

void HttpRequestMaker::Headers(const Ask& ask, const HttpTarget& target, ByteView body,
                               int64_t unix_seconds, std::vector<std::string>& headers) {
  headers.clear();
  headers.emplace_back("User-Agent: holdfast");
  headers.emplace_back("Accept: */*");
  if (CanMatch(ask.etag)) headers.push_back("If-Match: " + QuotedETag(ask.etag));
  if (ask.ranged) {
    headers.push_back("Range: bytes=" + std::to_string(ask.offset) + "-" +
                      std::to_string(ask.end() - 1));
  }
  if (ask.kind == Ask::Kind::kPut) {
    headers.emplace_back("Content-Type: application/octet-stream");
    headers.emplace_back("Expect:");  // or curl would ask first, which costs a round trip
  }
  if (ask.is_signed) {
    SignedHeaders(ask, target, body, unix_seconds, headers);
  } else if (ask.s3 && BringsChecksums(ask)) {
    headers.emplace_back("x-amz-checksum-mode: ENABLED");
  }
}

void HttpRequestMaker::SignedHeaders(const Ask& ask, const HttpTarget& target, ByteView body,
                                     int64_t unix_seconds, std::vector<std::string>& headers) {
  const std::string date = AmzDate(unix_seconds);
  const std::string& token = signer_->credentials().session_token;
  std::vector<SignedHeader> to_sign{{"host", target.host}};
  if (BringsChecksums(ask)) to_sign.emplace_back("x-amz-checksum-mode", "ENABLED");
  const std::string sha256 =
      ask.kind == Ask::Kind::kPut ? signer_->HexSha256(body) : std::string(kEmptySha256);
  to_sign.emplace_back("x-amz-content-sha256", sha256);
  to_sign.emplace_back("x-amz-date", date);
  if (!token.empty()) to_sign.emplace_back("x-amz-security-token", token);
  const std::string authorization = signer_->Authorization({.method = MethodOf(ask),
                                                            .path = target.path,
                                                            .query = target.query,
                                                            .headers = to_sign,
                                                            .payload_sha256 = sha256},
                                                           date);
  for (size_t i = 1; i < to_sign.size(); ++i) {
    headers.push_back(std::string(to_sign[i].first).append(": ").append(to_sign[i].second));
  }
  headers.push_back("Authorization: " + authorization);
}

}  // namespace holdfast::far
