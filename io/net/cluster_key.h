// SPDX-License-Identifier: Apache-2.0
// What follows from a cluster's key. Whoever has the key is a member: nodes and jobs alike. From it
// come, each as HMAC-SHA256(key, label), so that none of them tells the others or the key:
//   "holdfast control server v1"   the CURVE secret key of every node's control socket
//   "holdfast control client v1"   the CURVE secret key of everybody who connects to one
//   "holdfast bulk v1"             the token of bulk connections
// A CURVE secret key is any 32 bytes; its public key is computed from it. A client knows the
// server's public key by the cluster key, and a server takes that one client key and no other.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/status.h"
#include "wire/bulk_format.h"

namespace holdfast::net {

using ClusterKey = std::array<std::byte, 32>;

// 64 hexadecimal digits, or 40 characters of Z85 (as zmq_z85_encode writes); white space around it
// is ignored. The error says what is allowed and how to make a key, and never shows the text.
Result<ClusterKey> ParseClusterKey(std::string_view text);

// The key in the file `path`; nothing for an empty path. kNotFound or kDenied (the text says why)
// when it cannot be read, and what ParseClusterKey says.
Result<std::optional<ClusterKey>> ReadClusterKey(const std::string& path);

// Of the bulk protocol; goes into bulk::ClientHello and BulkServerOptions.
bulk::Token BulkToken(const ClusterKey& key);

struct CurveKeys {
  std::array<std::byte, 32> secret;
  std::array<std::byte, 32> public_key;
};
// kUnavailable when ZeroMQ was built without CURVE.
Result<CurveKeys> ServerKeys(const ClusterKey& key);
Result<CurveKeys> ClientKeys(const ClusterKey& key);

}  // namespace holdfast::net
