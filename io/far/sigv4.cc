// SPDX-License-Identifier: Apache-2.0
#include "io/far/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <ctime>

#include "base/status.h"
#include "base/uri.h"

namespace holdfast::far {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string Hex(std::span<const unsigned char> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (unsigned char b : bytes) {
    hex += kDigits[b >> 4];
    hex += kDigits[b & 15];
  }
  return hex;
}

std::string_view View(std::span<const unsigned char> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string HeaderNames(std::span<const SignedHeader> headers) {
  std::string names;
  for (const SignedHeader& header : headers) {
    if (!names.empty()) names += ';';
    names += header.first;
  }
  return names;
}

}  // namespace

std::string AmzDate(int64_t unix_seconds) {
  const time_t seconds = unix_seconds;
  tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 32> text;
  const size_t n = std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &utc);
  return {text.data(), n};
}

std::string EncodeQuery(std::vector<std::pair<std::string, std::string>> parameters) {
  for (auto& [name, value] : parameters) {
    name = PercentEncode(name, false);
    value = PercentEncode(value, false);
  }
  std::sort(parameters.begin(), parameters.end());
  std::string query;
  for (const auto& [name, value] : parameters) {
    if (!query.empty()) query += '&';
    query.append(name).append("=").append(value);
  }
  return query;
}

std::string CanonicalRequest(const SignableRequest& request) {
  std::string text;
  text.reserve(512);
  text.append(request.method).append("\n");
  text.append(request.path).append("\n");
  text.append(request.query).append("\n");
  for (const auto& [name, value] : request.headers) {
    text.append(name).append(":").append(value).append("\n");
  }
  text.append("\n").append(HeaderNames(request.headers)).append("\n");
  return text.append(request.payload_sha256);
}

// The digest is fetched once: looking it up by name for each request costs more than hashing it.
Signer::Signer(Credentials credentials, std::string region, std::string service)
    : credentials_(std::move(credentials)),
      region_(std::move(region)),
      service_(std::move(service)),
      sha256_(EVP_MD_fetch(nullptr, "SHA256", nullptr)) {
  HF_CHECK(sha256_ != nullptr);
}

Signer::~Signer() {
  OPENSSL_cleanse(key_.data(), key_.size());
  EVP_MD_free(sha256_);
}

Signer::Digest Signer::Sha256(std::string_view text) const {
  Digest digest;
  HF_CHECK(EVP_Digest(text.data(), text.size(), digest.data(), nullptr, sha256_, nullptr) == 1);
  return digest;
}

// RFC 2104, with blocks of 64 bytes.
Signer::Digest Signer::Hmac(std::string_view key, std::string_view text) const {
  std::array<unsigned char, 64> block{};
  if (key.size() > block.size()) {
    const Digest digest = Sha256(key);
    std::copy(digest.begin(), digest.end(), block.begin());
  } else {
    std::copy(key.begin(), key.end(), block.begin());
  }
  std::string inner(block.size(), '\0');
  std::string outer(block.size(), '\0');
  for (size_t i = 0; i < block.size(); ++i) {
    inner[i] = static_cast<char>(block[i] ^ 0x36);
    outer[i] = static_cast<char>(block[i] ^ 0x5c);
  }
  const Digest digest = Sha256(inner.append(text));
  return Sha256(outer.append(View(digest)));
}

const Signer::Digest& Signer::KeyOf(std::string_view day) {
  if (key_day_ != day) {
    key_ = Hmac("AWS4" + credentials_.secret_key, day);
    key_ = Hmac(View(key_), region_);
    key_ = Hmac(View(key_), service_);
    key_ = Hmac(View(key_), "aws4_request");
    key_day_ = day;
  }
  return key_;
}

std::string Signer::HexSha256(ByteView bytes) const { return Hex(Sha256(AsText(bytes))); }

std::string Signer::Authorization(const SignableRequest& request, std::string_view amz_date) {
  const std::string_view day = amz_date.substr(0, 8);
  std::string scope(day);
  scope.append("/").append(region_).append("/").append(service_).append("/aws4_request");
  std::string to_sign(kAlgorithm);
  to_sign.append("\n").append(amz_date).append("\n").append(scope).append("\n");
  to_sign += Hex(Sha256(CanonicalRequest(request)));
  const Digest signature = Hmac(View(KeyOf(day)), to_sign);
  std::string value(kAlgorithm);
  value.append(" Credential=").append(credentials_.access_key).append("/").append(scope);
  value.append(", SignedHeaders=").append(HeaderNames(request.headers));
  return value.append(", Signature=").append(Hex(signature));
}

}  // namespace holdfast::far
