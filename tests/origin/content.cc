// SPDX-License-Identifier: Apache-2.0
#include "tests/origin/content.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "base/hash.h"
#include "base/random.h"

namespace holdfast::origin {
namespace {

const Buffer& Pool() {
  static const Buffer pool = [] {
    Buffer bytes(kPoolBytes);
    Random random(20130524);
    for (size_t i = 0; i < kPoolBytes; i += 8) StoreAs(bytes.data() + i, random.Next());
    return bytes;
  }();
  return pool;
}

}  // namespace

Content::Content(std::string_view path, uint64_t version)
    : seed_(Mix64(Hash64(AsBytes(path)) + Mix64(version))) {}

void Content::Read(uint64_t offset, ByteSpan out) const {
  if (offset < kOwnBytes) {
    std::array<std::byte, kOwnBytes> own;
    for (size_t i = 0; i < kOwnBytes / 8; ++i) StoreAs(own.data() + 8 * i, Mix64(seed_ + i));
    const size_t n = std::min<size_t>(out.size(), kOwnBytes - offset);
    std::copy_n(own.begin() + static_cast<ptrdiff_t>(offset), n, out.begin());
    offset += n;
    out = out.subspan(n);
  }
  while (!out.empty()) {
    const ByteView run = Run(offset);
    const size_t n = std::min(out.size(), run.size());
    std::copy_n(run.begin(), n, out.begin());
    offset += n;
    out = out.subspan(n);
  }
}

ByteView Content::Run(uint64_t offset) const {
  return Pool().view().subspan((seed_ + offset) % kPoolBytes);
}

std::string Content::ETag() const {
  std::array<char, 17> text;
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(seed_));
  return text.data();
}

std::optional<uint64_t> SizeInPath(std::string_view path) {
  const size_t at = path.find("/o/");
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = path.substr(at + 3);
  uint64_t size = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), size);
  if (error != std::errc() || end == rest.data() + rest.size() || *end != '/') return std::nullopt;
  return size;
}

}  // namespace holdfast::origin
