// SPDX-License-Identifier: Apache-2.0
// One Zstandard frame that declares its content's size: tables of packs and their indices.
#pragma once

#include "base/bytes.h"
#include "base/status.h"

namespace holdfast::packs {

Buffer Compress(ByteView raw);
// kCorrupt for anything but one frame of exactly `raw_bytes`, kNoSpace when there is no such memory.
// The caller has checked that `raw_bytes` is not too much.
Result<Buffer> Decompress(ByteView packed, uint64_t raw_bytes);

}  // namespace holdfast::packs
