// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <new>

namespace holdfast {
namespace {
constexpr std::align_val_t kAlign{64};
void FreeAligned(void* p) { ::operator delete(p, kAlign); }
}  // namespace

Buffer::Buffer(size_t size) : size_(size) {
  if (size == 0) return;
  data_ = static_cast<std::byte*>(::operator new(size, kAlign));
  release_ = FreeAligned;
  context_ = data_;
}

bool Buffer::TryResize(uint64_t size) {
  void* data = size == 0 ? nullptr : ::operator new(size, kAlign, std::nothrow);
  if (size > 0 && data == nullptr) return false;
  *this =
      data == nullptr ? Buffer() : Adopt(static_cast<std::byte*>(data), size, FreeAligned, data);
  return true;
}

Buffer Buffer::CopyOf(ByteView bytes) {
  Buffer b(bytes.size());
  if (!bytes.empty()) std::memcpy(b.data_, bytes.data(), bytes.size());
  return b;
}

Buffer Buffer::Adopt(std::byte* data, size_t size, void (*release)(void*), void* context) {
  Buffer b;
  b.data_ = data;
  b.size_ = size;
  b.release_ = release;
  b.context_ = context;
  return b;
}

void Buffer::Reset() {
  if (release_ != nullptr) release_(context_);
  data_ = nullptr;
  size_ = 0;
  release_ = nullptr;
}

}  // namespace holdfast
