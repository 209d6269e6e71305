// SPDX-License-Identifier: Apache-2.0
#include "packs/compressed.h"

#include <zstd.h>

namespace holdfast::packs {
namespace {
constexpr int kLevel = 3;
}  // namespace

Buffer Compress(ByteView raw) {
  Buffer room(ZSTD_compressBound(raw.size()));
  const size_t size = ZSTD_compress(room.data(), room.size(), raw.data(), raw.size(), kLevel);
  HF_CHECK(ZSTD_isError(size) == 0);
  return Buffer::CopyOf(room.view().first(size));
}

Result<Buffer> Decompress(ByteView packed, uint64_t raw_bytes) {
  const Status corrupt = Status::Corrupt("what should be one Zstandard frame does not unpack");
  if (ZSTD_getFrameContentSize(packed.data(), packed.size()) != raw_bytes ||
      ZSTD_findFrameCompressedSize(packed.data(), packed.size()) != packed.size()) {
    return corrupt;
  }
  Buffer raw;
  if (!raw.TryResize(raw_bytes)) {
    return Status::NoSpace("there is no memory for " + std::to_string(raw_bytes) + " bytes");
  }
  if (ZSTD_decompress(raw.data(), raw.size(), packed.data(), packed.size()) != raw_bytes) {
    return corrupt;
  }
  return raw;
}

}  // namespace holdfast::packs
