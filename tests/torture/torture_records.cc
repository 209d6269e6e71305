// SPDX-License-Identifier: Apache-2.0
#include "tests/torture/torture_records.h"

#include <algorithm>

#include "base/hash.h"

namespace holdfast::torture {
namespace {

uint64_t SeedOf(uint32_t key, VersionHash version) { return Mix64(version ^ Mix64(key + 1)); }
// Cheap, so that checking does not hide the races that are looked for; different in every word of
// every record.
uint64_t Word(uint64_t seed, uint64_t at) { return (seed + at) * 0x9e3779b97f4a7c15u; }

}  // namespace

Oid OidOfKey(uint32_t key) { return {Mix64(key), Mix64(key ^ 0x5bd1e995u)}; }

uint64_t SizeOf(uint32_t key, VersionHash version) {
  uint64_t seed = Mix64(SeedOf(key, version));
  uint64_t most = seed % 16 == 0 ? kMaxPayload : 400;
  return 1 + (seed >> 8) % most;
}

void Fill(uint32_t key, VersionHash version, ByteSpan payload) {
  uint64_t seed = SeedOf(key, version);
  for (size_t at = 0; at < payload.size(); at += 8) {
    uint64_t word = Word(seed, at);
    std::memcpy(payload.data() + at, &word, std::min<size_t>(8, payload.size() - at));
  }
}

bool Right(uint32_t key, VersionHash version, ByteView payload) {
  if (payload.size() != SizeOf(key, version)) return false;
  uint64_t seed = SeedOf(key, version);
  uint64_t differences = 0;
  size_t at = 0;
  for (; at + 8 <= payload.size(); at += 8) {
    differences |= LoadAs<uint64_t>(payload.data() + at) ^ Word(seed, at);
  }
  if (at < payload.size()) {
    uint64_t word = Word(seed, at);
    differences |=
        static_cast<uint64_t>(std::memcmp(payload.data() + at, &word, payload.size() - at) != 0);
  }
  return differences == 0;
}

}  // namespace holdfast::torture
