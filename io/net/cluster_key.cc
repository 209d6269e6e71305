// SPDX-License-Identifier: Apache-2.0
#include "io/net/cluster_key.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace holdfast::net {
namespace {

std::array<std::byte, 32> Derive(const ClusterKey& key, std::string_view label) {
  std::array<std::byte, 32> out;
  unsigned length = 0;
  HF_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                reinterpret_cast<const unsigned char*>(label.data()), label.size(),
                reinterpret_cast<unsigned char*>(out.data()), &length) != nullptr &&
           length == out.size());
  return out;
}

// ZeroMQ computes public keys from and into Z85 alone.
Result<CurveKeys> KeysOf(const std::array<std::byte, 32>& secret) {
  char secret_text[41], public_text[41];
  CurveKeys keys{secret, {}};
  if (zmq_z85_encode(secret_text, reinterpret_cast<const uint8_t*>(secret.data()), 32) == nullptr ||
      zmq_curve_public(public_text, secret_text) != 0 ||
      zmq_z85_decode(reinterpret_cast<uint8_t*>(keys.public_key.data()), public_text) == nullptr) {
    return Status::Unavailable(
        "this build of ZeroMQ has no CURVE encryption: install one with libsodium, or remove the "
        "cluster key and use loopback addresses");
  }
  return keys;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool FromHex(std::string_view text, ClusterKey* key) {
  for (size_t i = 0; i < key->size(); ++i) {
    int high = HexDigit(text[2 * i]), low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    (*key)[i] = static_cast<std::byte>(high * 16 + low);
  }
  return true;
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  size_t first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

Result<ClusterKey> ParseClusterKey(std::string_view text) {
  text = Trim(text);
  ClusterKey key;
  if (text.size() == 64 && FromHex(text, &key)) return key;
  if (text.size() == 40 && zmq_z85_decode(reinterpret_cast<uint8_t*>(key.data()),
                                          std::string(text).c_str()) != nullptr) {
    return key;
  }
  return Status::Invalid(
      "the cluster key must be 64 hexadecimal digits or 40 characters of Z85; make one with "
      "'openssl rand -hex 32'");
}

Result<std::optional<ClusterKey>> ReadClusterKey(const std::string& path) {
  if (path.empty()) return std::optional<ClusterKey>();
  std::ifstream in(path);
  if (!in) {
    Code code = errno == EACCES ? Code::kDenied : Code::kNotFound;
    return Status(code, "cluster_key_file: cannot read \"" + path + "\": " + std::strerror(errno));
  }
  std::ostringstream text;
  text << in.rdbuf();
  Result<ClusterKey> key = ParseClusterKey(text.str());
  if (!key.ok()) return key.status().Annotate("cluster_key_file \"" + path + "\"");
  return std::optional<ClusterKey>(*key);
}

bulk::Token BulkToken(const ClusterKey& key) { return Derive(key, "holdfast bulk v1"); }

Result<CurveKeys> ServerKeys(const ClusterKey& key) {
  return KeysOf(Derive(key, "holdfast control server v1"));
}

Result<CurveKeys> ClientKeys(const ClusterKey& key) {
  return KeysOf(Derive(key, "holdfast control client v1"));
}

}  // namespace holdfast::net
