// SPDX-License-Identifier: Apache-2.0
// Addresses of control sockets: "tcp://HOST:PORT", the host a name, an IPv4 address, or an IPv6
// address in brackets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace holdfast::net {

struct ControlEndpoint {
  std::string host;  // without brackets; "*" for every interface
  uint16_t port = 0;
  bool loopback = false;  // "localhost", 127.0.0.0/8 or ::1; other names count as not
};

// kInvalid names the text and the accepted form.
Result<ControlEndpoint> ParseControlEndpoint(std::string_view text);

}  // namespace holdfast::net
