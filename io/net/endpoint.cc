// SPDX-License-Identifier: Apache-2.0
#include "io/net/endpoint.h"

#include <arpa/inet.h>

#include <charconv>

namespace holdfast::net {
namespace {

bool IsLoopback(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
  }
  return host == "localhost";
}

bool IsHost(std::string_view host, bool bracketed) {
  if (bracketed) {
    in6_addr v6{};
    return inet_pton(AF_INET6, std::string(host).c_str(), &v6) == 1;
  }
  if (host == "*") return true;
  return !host.empty() && host.size() <= 253 &&
         host.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == host.npos;
}

}  // namespace

Result<ControlEndpoint> ParseControlEndpoint(std::string_view text) {
  Status wrong = Status::Invalid("'" + std::string(text) +
                                 "' is not an address: use tcp://HOST:PORT, for example "
                                 "tcp://127.0.0.1:7070 or tcp://[::1]:7070");
  constexpr std::string_view kScheme = "tcp://";
  if (!text.starts_with(kScheme)) return wrong;
  text.remove_prefix(kScheme.size());
  size_t colon = text.rfind(':');
  if (colon == text.npos) return wrong;
  std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  ControlEndpoint out;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (error != std::errc() || end != port.data() + port.size() || !IsHost(host, bracketed)) {
    return wrong;
  }
  out.host = host;
  out.loopback = IsLoopback(out.host);
  return out;
}

}  // namespace holdfast::net
