// SPDX-License-Identifier: Apache-2.0
// Records of segments on disk, with right checksums.
#pragma once

#include <cstring>
#include <string>

#include "base/hash.h"
#include "base/uri.h"
#include "wire/disk_segment.h"

namespace holdfast::test {

// Object `number` of `size` bytes as it lies at `offset`; `entry` is what its table says.
inline std::string RecordOf(uint64_t number, uint64_t size, uint64_t offset, disk::Entry* entry) {
  std::string payload(size, '\0');
  for (uint64_t i = 0; i < size; ++i)
    payload[i] = static_cast<char>(Mix64(number * 31 + i / 8) >> (i % 8 * 8));
  const std::string name = "mem:" + std::to_string(number);
  const disk::Head head{.entry = {.oid = OidOf(name),
                                  .version = HashVersion("e", size),
                                  .size = size,
                                  .loaded_us = 1,
                                  .offset = offset,
                                  .name_bytes = static_cast<uint16_t>(name.size()),
                                  .etag_bytes = 1},
                        .payload_hash = Hash64(AsBytes(payload)),
                        .name = name,
                        .etag = "e"};
  *entry = head.entry;
  std::string record(entry->end() - offset, '\0');
  disk::EncodeHead(head, reinterpret_cast<std::byte*>(record.data()));
  std::memcpy(record.data() + (entry->payload_offset() - offset), payload.data(), size);
  return record;
}

}  // namespace holdfast::test
