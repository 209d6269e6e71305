// SPDX-License-Identifier: Apache-2.0
// AWS Signature Version 4 for requests whose body, if any, is known whole: "Authenticating Requests (AWS Signature
// Version 4)", Amazon S3 API Reference. Pure: the caller gives the time. Not thread-safe; one
// Signer per thread.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"

struct evp_md_st;

namespace holdfast::far {

// Keys of one principal; an empty access key means anonymous requests, which are not signed.
struct Credentials {
  std::string access_key = {};
  std::string secret_key = {};
  std::string session_token = {};
  bool anonymous() const { return access_key.empty(); }
};

// The SHA-256 of no bytes in hexadecimal: the payload of every GET and HEAD.
inline constexpr std::string_view kEmptySha256 =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// Name in lower case and value without spaces around it.
using SignedHeader = std::pair<std::string_view, std::string_view>;

struct SignableRequest {
  std::string_view method = "GET";
  std::string_view path;        // percent-encoded exactly as it is sent, beginning with '/'
  std::string_view query = {};  // as made by EncodeQuery; empty if there is none
  std::span<const SignedHeader> headers;  // ascending by name; with host and x-amz-date
  std::string_view payload_sha256 = kEmptySha256;
};

// "20130524T000000Z".
std::string AmzDate(int64_t unix_seconds);
// name=value pairs percent-encoded and sorted, every name with its '='.
std::string EncodeQuery(std::vector<std::pair<std::string, std::string>> parameters);
std::string CanonicalRequest(const SignableRequest& request);

class Signer {
 public:
  Signer(Credentials credentials, std::string region, std::string service = "s3");
  ~Signer();
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;

  const Credentials& credentials() const { return credentials_; }
  // The value of the Authorization header. `amz_date` is the value of the request's x-amz-date.
  std::string Authorization(const SignableRequest& request, std::string_view amz_date);
  // Of a payload, as a SignableRequest wants it.
  std::string HexSha256(ByteView bytes) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  Digest Sha256(std::string_view text) const;
  Digest Hmac(std::string_view key, std::string_view text) const;
  // The key of a day is derived once.
  const Digest& KeyOf(std::string_view day);

  Credentials credentials_;
  std::string region_;
  std::string service_;
  evp_md_st* sha256_;
  std::string key_day_;
  Digest key_{};
};

}  // namespace holdfast::far
