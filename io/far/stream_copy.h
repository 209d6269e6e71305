// SPDX-License-Identifier: Apache-2.0
// Copies bytes to where they will lie for a while before anybody looks at them: past the caches,
// which would first have to read what is overwritten. Into a segment that costs half of what memcpy
// does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace holdfast::far {

// As memcpy, and ordered like it before whatever the thread does next.
inline void StreamCopy(std::byte* to, const std::byte* from, size_t size) {
#ifdef __SSE2__
  constexpr size_t kLine = 64;
  constexpr size_t kWorthwhile = 16 * kLine;
  if (size >= kWorthwhile) {
    const size_t head = (kLine - reinterpret_cast<uintptr_t>(to) % kLine) % kLine;
    std::memcpy(to, from, head);
    size_t at = head;
    for (; at + kLine <= size; at += kLine) {
      for (size_t part = 0; part < kLine; part += sizeof(__m128i)) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at + part));
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + at + part), bytes);
      }
    }
    std::memcpy(to + at, from + at, size - at);
    _mm_sfence();  // streaming stores are not ordered with those that tell others of them
    return;
  }
#endif
  if (size > 0) std::memcpy(to, from, size);
}

}  // namespace holdfast::far
