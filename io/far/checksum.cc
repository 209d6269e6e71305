// SPDX-License-Identifier: Apache-2.0
#include "io/far/checksum.h"

#include <openssl/evp.h>

#include <array>
#include <span>
#ifdef __x86_64__
#include <nmmintrin.h>
#endif

#include "base/status.h"

namespace holdfast::far {
namespace {

// A reflected CRC by eight tables ("slicing by 8", Kounavis and Berry 2005): eight bytes per step.
template <typename Word, Word kReflectedPolynomial>
class SlicedCrc {
 public:
  constexpr SlicedCrc() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      Word crc = byte;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kReflectedPolynomial : 0);
      tables_[0][byte] = crc;
    }
    for (unsigned t = 1; t < 8; ++t) {
      for (unsigned byte = 0; byte < 256; ++byte) {
        const Word before = tables_[t - 1][byte];
        tables_[t][byte] = (before >> 8) ^ tables_[0][before & 255];
      }
    }
  }

  Word Of(ByteView bytes) const {
    Word crc = ~Word{0};
    const std::byte* p = bytes.data();
    size_t left = bytes.size();
    for (; left >= 8; left -= 8, p += 8) {
      const uint64_t word = LoadAs<uint64_t>(p) ^ crc;
      crc = 0;
      for (unsigned i = 0; i < 8; ++i) crc ^= tables_[7 - i][(word >> (8 * i)) & 255];
    }
    for (; left > 0; --left, ++p) {
      crc = static_cast<Word>(crc >> 8) ^ tables_[0][(crc ^ static_cast<Word>(*p)) & 255];
    }
    return ~crc;
  }

 private:
  std::array<std::array<Word, 256>, 8> tables_{};
};

constexpr SlicedCrc<uint32_t, 0xedb88320u> kCrc32;
constexpr SlicedCrc<uint32_t, 0x82f63b78u> kCrc32c;
constexpr SlicedCrc<uint64_t, 0x9a6c9329ac4bc9b5u> kCrc64Nvme;

#ifdef __x86_64__
__attribute__((target("sse4.2"))) uint32_t Crc32cBySse(ByteView bytes) {
  uint64_t crc = 0xffffffffu;
  const std::byte* p = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; left -= 8, p += 8) crc = _mm_crc32_u64(crc, LoadAs<uint64_t>(p));
  auto narrow = static_cast<uint32_t>(crc);
  for (; left > 0; --left, ++p) narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(*p));
  return ~narrow;
}
uint32_t Crc32c(ByteView bytes) {
  return __builtin_cpu_supports("sse4.2") ? Crc32cBySse(bytes) : kCrc32c.Of(bytes);
}
#else
uint32_t Crc32c(ByteView bytes) { return kCrc32c.Of(bytes); }
#endif

std::string Base64(std::span<const unsigned char> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(n));
  return text;
}

template <typename Word>
std::string Base64OfWord(Word word) {
  std::array<unsigned char, sizeof(Word)> bytes;
  for (size_t i = 0; i < sizeof(Word); ++i) {
    bytes[i] = static_cast<unsigned char>(word >> (8 * (sizeof(Word) - 1 - i)));
  }
  return Base64(bytes);
}

std::string Base64OfDigest(const EVP_MD* kind, ByteView bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  HF_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, kind, nullptr) == 1);
  return Base64(std::span(digest).first(size));
}

struct KindName {
  ChecksumKind kind;
  std::string_view name;
  std::string_view header;
};
constexpr std::array<KindName, 6> kNames{{
    {ChecksumKind::kCrc32, "CRC32", "x-amz-checksum-crc32"},
    {ChecksumKind::kCrc32c, "CRC32C", "x-amz-checksum-crc32c"},
    {ChecksumKind::kCrc64Nvme, "CRC64NVME", "x-amz-checksum-crc64nvme"},
    {ChecksumKind::kSha1, "SHA1", "x-amz-checksum-sha1"},
    {ChecksumKind::kSha256, "SHA256", "x-amz-checksum-sha256"},
    {ChecksumKind::kMd5, "MD5", "content-md5"},
}};

}  // namespace

std::string_view ChecksumName(ChecksumKind kind) { return kNames[static_cast<size_t>(kind)].name; }

std::optional<ChecksumKind> ChecksumOfHeader(std::string_view header) {
  for (const KindName& name : kNames) {
    if (name.header == header) return name.kind;
  }
  return std::nullopt;
}

std::string ChecksumBase64(ChecksumKind kind, ByteView bytes) {
  switch (kind) {
    case ChecksumKind::kCrc32:
      return Base64OfWord(kCrc32.Of(bytes));
    case ChecksumKind::kCrc32c:
      return Base64OfWord(Crc32c(bytes));
    case ChecksumKind::kCrc64Nvme:
      return Base64OfWord(kCrc64Nvme.Of(bytes));
    case ChecksumKind::kSha1:
      return Base64OfDigest(EVP_sha1(), bytes);
    case ChecksumKind::kSha256:
      return Base64OfDigest(EVP_sha256(), bytes);
    case ChecksumKind::kMd5:
      return Base64OfDigest(EVP_md5(), bytes);
  }
  return "";
}

}  // namespace holdfast::far
