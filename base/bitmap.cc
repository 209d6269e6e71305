// SPDX-License-Identifier: Apache-2.0
#include "base/bitmap.h"

#include <algorithm>

#include "base/status.h"

namespace holdfast {

Bitmap Bitmap::FromBytes(ByteView bytes, size_t bits) {
  Bitmap b(bits);
  size_t n = std::min(bytes.size(), b.words_.size() * 8);
  if (n > 0) std::memcpy(b.words_.data(), bytes.data(), n);
  b.ClearTail();
  return b;
}

size_t Bitmap::Count() const {
  size_t n = 0;
  for (uint64_t w : words_) n += static_cast<size_t>(std::popcount(w));
  return n;
}

Bitmap Bitmap::Slice(size_t first, size_t count) const {
  HF_CHECK(first % 64 == 0 && first + count <= bits_);
  Bitmap b(count);
  std::copy_n(words_.begin() + static_cast<ptrdiff_t>(first / 64), b.words_.size(),
              b.words_.begin());
  b.ClearTail();
  return b;
}

void Bitmap::OrAt(size_t first, const Bitmap& part) {
  HF_CHECK(first % 64 == 0 && first + part.bits_ <= bits_);
  for (size_t w = 0; w < part.words_.size(); ++w) words_[first / 64 + w] |= part.words_[w];
}

void Bitmap::ClearTail() {
  if (bits_ % 64 != 0) words_.back() &= (uint64_t{1} << (bits_ % 64)) - 1;
}

}  // namespace holdfast
