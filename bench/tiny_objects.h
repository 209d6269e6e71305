// SPDX-License-Identifier: Apache-2.0
// Tiny objects for benchmarks of the disk tier: 100 to 400 bytes, that nothing compresses, in versions.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "bench/disk_world.h"

namespace holdfast::bench {

class TinyObjects {
 public:
  TinyObjects() : noise_(kNoise + kMost) {
    Random random(11);
    for (std::byte& b : noise_) b = static_cast<std::byte>(random.Next());
  }
  static std::string NameOf(uint64_t n) { return "file:///data/" + std::to_string(n); }
  static Oid OidOf(uint64_t n) { return Hash128(AsBytes(NameOf(n))); }
  static uint64_t SizeOf(uint64_t n) { return kLeast + Mix64(n) % (kMost - kLeast + 1); }
  // Good as long as this is.
  ByteView PayloadOf(uint64_t n, uint32_t version) const {
    return {noise_.data() + Mix64(n * 256 + version) % kNoise, SizeOf(n)};
  }
  DiskWriter::Item ItemOf(uint64_t n, uint32_t version, int64_t loaded_us) const {
    const std::string name = NameOf(n), etag = std::to_string(version);
    const ByteView payload = PayloadOf(n, version);
    return {.head = {.entry = {.oid = Hash128(AsBytes(name)),
                               .version = HashVersion(etag, payload.size()),
                               .size = payload.size(),
                               .loaded_us = loaded_us,
                               .name_bytes = static_cast<uint16_t>(name.size()),
                               .etag_bytes = static_cast<uint16_t>(etag.size())},
                     .payload_hash = Hash64(payload),
                     .name = name,
                     .etag = etag},
            .payload = payload};
  }

 private:
  static constexpr uint64_t kNoise = kMiB;
  static constexpr uint64_t kLeast = 100, kMost = 400;

  std::vector<std::byte> noise_;
};

}  // namespace holdfast::bench
