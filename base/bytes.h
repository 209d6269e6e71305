// SPDX-License-Identifier: Apache-2.0
// Byte views, an owning buffer that a library's memory can back without a copy, and unaligned
// little-endian loads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast {

using ByteView = std::span<const std::byte>;
using ByteSpan = std::span<std::byte>;

inline ByteView AsBytes(std::string_view s) {
  return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}
inline std::string_view AsText(ByteView b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// Loads and stores of little-endian integers at any alignment. The project runs on little-endian
// machines only.
template <typename T>
T LoadAs(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}
template <typename T>
void StoreAs(std::byte* p, T value) {
  std::memcpy(p, &value, sizeof(T));
}

// Move-only owner of immutable-once-shared bytes. Memory comes from here or from a library (a
// received message); `release` gives it back. Not zeroed.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t size);  // 64-byte aligned
  // For sizes that others name: false when there is not so much memory.
  [[nodiscard]] bool TryResize(uint64_t size);
  static Buffer CopyOf(ByteView bytes);
  static Buffer Adopt(std::byte* data, size_t size, void (*release)(void*), void* context);
  Buffer(Buffer&& o) noexcept { *this = std::move(o); }
  Buffer& operator=(Buffer&& o) noexcept {
    if (this != &o) {
      Reset();
      data_ = std::exchange(o.data_, nullptr);
      size_ = std::exchange(o.size_, 0);
      release_ = std::exchange(o.release_, nullptr);
      context_ = std::exchange(o.context_, nullptr);
    }
    return *this;
  }
  ~Buffer() { Reset(); }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  ByteView view() const { return {data_, size_}; }
  ByteSpan span() { return {data_, size_}; }

 private:
  void Reset();

  std::byte* data_ = nullptr;
  size_t size_ = 0;
  void (*release_)(void*) = nullptr;
  void* context_ = nullptr;
};

// A column of T inside somebody else's bytes, at any alignment.
template <typename T>
class ColumnView {
 public:
  ColumnView() = default;
  explicit ColumnView(ByteView bytes) : data_(bytes.data()), size_(bytes.size() / sizeof(T)) {}
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T operator[](size_t i) const { return LoadAs<T>(data_ + i * sizeof(T)); }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace holdfast
