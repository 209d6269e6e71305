// SPDX-License-Identifier: Apache-2.0
// The checksums that far stores give with an object, as they write them: base64 of the big-endian
// digest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace holdfast::far {

enum class ChecksumKind : uint8_t { kCrc32, kCrc32c, kCrc64Nvme, kSha1, kSha256, kMd5 };

// "CRC32C", ..., for people.
std::string_view ChecksumName(ChecksumKind kind);
// The kind that a response header in lower case gives ("x-amz-checksum-crc32c", "content-md5").
std::optional<ChecksumKind> ChecksumOfHeader(std::string_view header);
std::string ChecksumBase64(ChecksumKind kind, ByteView bytes);

}  // namespace holdfast::far
