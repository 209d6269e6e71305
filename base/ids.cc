// SPDX-License-Identifier: Apache-2.0
#include "base/ids.h"

#include <charconv>

namespace holdfast {

std::string ToHex(const Oid& oid) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex(32, '0');
  for (size_t i = 0; i < 16; ++i) {
    hex[i] = kDigits[(oid.hi >> (60 - 4 * i)) & 15];
    hex[16 + i] = kDigits[(oid.lo >> (60 - 4 * i)) & 15];
  }
  return hex;
}

std::optional<Oid> OidFromHex(std::string_view hex) {
  if (hex.size() != 32) return std::nullopt;
  Oid oid;
  const char* p = hex.data();
  auto [hi_end, hi_error] = std::from_chars(p, p + 16, oid.hi, 16);
  auto [lo_end, lo_error] = std::from_chars(p + 16, p + 32, oid.lo, 16);
  if (hi_error != std::errc() || lo_error != std::errc()) return std::nullopt;
  if (hi_end != p + 16 || lo_end != p + 32) return std::nullopt;
  return oid;
}

}  // namespace holdfast
