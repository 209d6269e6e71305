// SPDX-License-Identifier: Apache-2.0
// The check values of "123456789": the CRC catalogue (reveng.sourceforge.io), sha1sum, sha256sum
// and md5sum.
#include "io/far/checksum.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace holdfast::far {
namespace {

TEST(Checksum, KnownValues) {
  const ByteView digits = AsBytes("123456789");
  EXPECT_EQ(ChecksumBase64(ChecksumKind::kCrc32, digits), "y/Q5Jg==");          // cbf43926
  EXPECT_EQ(ChecksumBase64(ChecksumKind::kCrc32c, digits), "4waSgw==");         // e3069283
  EXPECT_EQ(ChecksumBase64(ChecksumKind::kCrc64Nvme, digits), "rosUhgp5mIg=");  // ae8b14860a799888
  EXPECT_EQ(ChecksumBase64(ChecksumKind::kSha1, digits), "98O8HYCOBHMq32eZZczDTKeuNEE=");
  EXPECT_EQ(ChecksumBase64(ChecksumKind::kSha256, digits),
            "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
  EXPECT_EQ(ChecksumBase64(ChecksumKind::kMd5, digits), "JfnnlDI7RTiF9RgfG2JNCw==");
  EXPECT_EQ(ChecksumBase64(ChecksumKind::kMd5, {}), "1B2M2Y8AsgTpgAmY7PhCfg==");
  EXPECT_EQ(ChecksumBase64(ChecksumKind::kCrc32, {}), "AAAAAA==");
}

// The definition, a bit at a time.
uint64_t SlowCrc(ByteView bytes, uint64_t polynomial, int bits) {
  const uint64_t ones = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  uint64_t crc = ones;
  for (std::byte byte : bytes) {
    crc ^= static_cast<uint64_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? polynomial : 0);
  }
  return crc ^ ones;
}

std::string Base64OfBytes(uint64_t value, int bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  uint32_t group = 0;
  int in_group = 0;
  const auto flush = [&] {
    const int kept = in_group + 1;
    group <<= 8 * (3 - in_group);
    for (int i = 0; i < 4; ++i) text += i < kept ? kAlphabet[(group >> (18 - 6 * i)) & 63] : '=';
    group = 0;
    in_group = 0;
  };
  for (int i = bytes - 1; i >= 0; --i) {
    group = (group << 8) | static_cast<uint32_t>((value >> (8 * i)) & 255);
    if (++in_group == 3) flush();
  }
  if (in_group > 0) flush();
  return text;
}

TEST(Checksum, CrcsAgreeWithTheDefinitionAtEveryLengthAndAlignment) {
  Random random(2);
  std::vector<std::byte> bytes(300);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.Next());
  for (size_t first = 0; first < 9; ++first) {
    for (size_t size : {0u, 1u, 7u, 8u, 9u, 15u, 16u, 17u, 255u, 290u}) {
      const ByteView part = ByteView(bytes).subspan(first, size);
      EXPECT_EQ(ChecksumBase64(ChecksumKind::kCrc32, part),
                Base64OfBytes(SlowCrc(part, 0xedb88320u, 32), 4));
      EXPECT_EQ(ChecksumBase64(ChecksumKind::kCrc32c, part),
                Base64OfBytes(SlowCrc(part, 0x82f63b78u, 32), 4));
      EXPECT_EQ(ChecksumBase64(ChecksumKind::kCrc64Nvme, part),
                Base64OfBytes(SlowCrc(part, 0x9a6c9329ac4bc9b5u, 64), 8));
    }
  }
}

TEST(Checksum, HeadersNameTheirKind) {
  EXPECT_EQ(ChecksumOfHeader("x-amz-checksum-crc32c"), ChecksumKind::kCrc32c);
  EXPECT_EQ(ChecksumOfHeader("content-md5"), ChecksumKind::kMd5);
  EXPECT_EQ(ChecksumOfHeader("x-amz-checksum-type"), std::nullopt);
  EXPECT_EQ(ChecksumName(ChecksumKind::kSha256), "SHA256");
}

}  // namespace
}  // namespace holdfast::far
