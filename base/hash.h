// SPDX-License-Identifier: Apache-2.0
// XXH3 with the fixed seed 0: the only hash of the project. It does not resist crafted input.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "base/bytes.h"
#include "base/ids.h"

namespace holdfast {

uint64_t Hash64(ByteView bytes);
Oid Hash128(ByteView bytes);
Oid Hash128(std::initializer_list<ByteView> parts);  // of the parts, one after the other
// Of a string and a number, for versions: XXH3-64 of `number` as 8 little-endian bytes and then
// `text`; never 0.
VersionHash HashVersion(std::string_view etag, uint64_t size);
// A bijection that spreads every bit (splitmix64's finaliser, Steele et al. 2014).
inline uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Hash64 of bytes that arrive in parts.
class Hasher64 {
 public:
  Hasher64();
  ~Hasher64();
  Hasher64(Hasher64&& o) noexcept;
  Hasher64& operator=(Hasher64&& o) noexcept;
  void Update(ByteView bytes);
  uint64_t Digest() const;

 private:
  struct State;
  State* state_;
};

}  // namespace holdfast
