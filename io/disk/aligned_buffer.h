// SPDX-License-Identifier: Apache-2.0
// A buffer as O_DIRECT wants it.
#pragma once

#include <cstdlib>
#include <memory>

#include "base/status.h"
#include "io/disk/disk_op.h"
#include "wire/disk_segment.h"

namespace holdfast::disk {

struct FreeBuffer {
  void operator()(std::byte* data) const { std::free(data); }
};
using AlignedBuffer = std::unique_ptr<std::byte, FreeBuffer>;

inline AlignedBuffer NewAlignedBuffer() {
  AlignedBuffer buffer(static_cast<std::byte*>(std::aligned_alloc(kBlock, DiskOp::kBufferBytes)));
  HF_CHECK(buffer != nullptr);
  return buffer;
}

}  // namespace holdfast::disk
