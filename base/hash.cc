// SPDX-License-Identifier: Apache-2.0
#include "base/hash.h"

// The library's own choice among SSE2, AVX2 and AVX-512 at run time, through macros: programs are
// built for any x86-64, and a processor of this decade hashes more than twice as fast as that.
#define XXH_STATIC_LINKING_ONLY  // the state as a value
#if defined(__x86_64__)
#include <immintrin.h>
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

namespace holdfast {
namespace {

// The library leaves the upper halves of the vector registers in use, with which every SSE
// instruction after it waits for them, in whatever code: decisions took seven times as long in a
// process that had hashed once.
class VectorUse {
 public:
  explicit VectorUse(size_t bytes) : long_(bytes > kLongestScalar) {}
  ~VectorUse() {
#if defined(__x86_64__)
    if (long_ && __builtin_cpu_supports("avx")) End();
#endif
  }

 private:
#if defined(__x86_64__)
  __attribute__((target("avx"))) static void End() { _mm256_zeroupper(); }
#endif
  static constexpr size_t kLongestScalar = 240;  // shorter ones are hashed without vectors
  bool long_;
};

}  // namespace

uint64_t Hash64(ByteView bytes) {
  const VectorUse use(bytes.size());
  return XXH3_64bits(bytes.data(), bytes.size());
}

Oid Hash128(ByteView bytes) {
  const VectorUse use(bytes.size());
  XXH128_hash_t h = XXH3_128bits(bytes.data(), bytes.size());
  return {h.high64, h.low64};
}

Oid Hash128(std::initializer_list<ByteView> parts) {
  size_t bytes = 0;
  for (ByteView part : parts) bytes += part.size();
  const VectorUse use(bytes);
  alignas(64) XXH3_state_t state;
  XXH3_128bits_reset(&state);
  for (ByteView part : parts) XXH3_128bits_update(&state, part.data(), part.size());
  XXH128_hash_t h = XXH3_128bits_digest(&state);
  return {h.high64, h.low64};
}

VersionHash HashVersion(std::string_view etag, uint64_t size) {
  std::string text(sizeof(size), '\0');
  std::memcpy(text.data(), &size, sizeof(size));
  text += etag;
  uint64_t h = Hash64(AsBytes(text));
  return h == 0 ? 1 : h;
}

struct Hasher64::State {
  alignas(64) XXH3_state_t xxh;
};

Hasher64::Hasher64() : state_(new State) { XXH3_64bits_reset(&state_->xxh); }
Hasher64::~Hasher64() { delete state_; }
Hasher64::Hasher64(Hasher64&& o) noexcept : state_(std::exchange(o.state_, nullptr)) {}
Hasher64& Hasher64::operator=(Hasher64&& o) noexcept {
  std::swap(state_, o.state_);
  return *this;
}
void Hasher64::Update(ByteView bytes) {
  const VectorUse use(SIZE_MAX);
  XXH3_64bits_update(&state_->xxh, bytes.data(), bytes.size());
}
uint64_t Hasher64::Digest() const {
  const VectorUse use(SIZE_MAX);
  return XXH3_64bits_digest(&state_->xxh);
}

}  // namespace holdfast
