// SPDX-License-Identifier: Apache-2.0
// A fixed-size bitmap in 64-bit words, so that settling and offers work a word at a time.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace holdfast {

class Bitmap {
 public:
  Bitmap() = default;
  explicit Bitmap(size_t bits, bool value = false)
      : bits_(bits), words_((bits + 63) / 64, value ? ~uint64_t{0} : 0) {
    ClearTail();
  }
  // From the wire; bits beyond `bits` are cleared, missing words are zero.
  static Bitmap FromBytes(ByteView bytes, size_t bits);

  size_t size() const { return bits_; }
  bool Get(size_t i) const { return (words_[i / 64] >> (i % 64)) & 1; }
  void Set(size_t i) { words_[i / 64] |= uint64_t{1} << (i % 64); }
  void Clear(size_t i) { words_[i / 64] &= ~(uint64_t{1} << (i % 64)); }
  size_t Count() const;
  bool None() const { return Count() == 0; }

  size_t words() const { return words_.size(); }
  uint64_t word(size_t w) const { return words_[w]; }
  void set_word(size_t w, uint64_t value) { words_[w] = value; }
  ByteView bytes() const { return std::as_bytes(std::span(words_)); }

  // The bits [first, first + count); `first` must be a multiple of 64.
  Bitmap Slice(size_t first, size_t count) const;
  // Ors `part` in at `first`, a multiple of 64.
  void OrAt(size_t first, const Bitmap& part);

  // Calls visit(i) for every set bit in ascending order.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (size_t w = 0; w < words_.size(); ++w) {
      for (uint64_t left = words_[w]; left != 0; left &= left - 1) {
        visit(w * 64 + static_cast<size_t>(std::countr_zero(left)));
      }
    }
  }

  friend bool operator==(const Bitmap&, const Bitmap&) = default;

 private:
  void ClearTail();

  size_t bits_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace holdfast
