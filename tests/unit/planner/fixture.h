// SPDX-License-Identifier: Apache-2.0
// Small manifests for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "base/bitmap.h"
#include "base/random.h"
#include "planner/manifest.h"

namespace holdfast::planner {

inline Manifest RandomManifest(uint32_t count, Random& random, uint64_t max_size = 1000) {
  std::vector<ManifestEntry> entries(count);
  for (ManifestEntry& e : entries)
    e = {{random.Next(), random.Next()}, 1 + random.Below(max_size), 1};
  Result<Manifest> m = Manifest::Build(std::move(entries));
  EXPECT_TRUE(m.ok());
  return std::move(*m);
}

inline Bitmap RandomBitmap(size_t bits, Random& random, double share) {
  Bitmap b(bits);
  for (size_t i = 0; i < bits; ++i) {
    if (random.Chance(share)) b.Set(i);
  }
  return b;
}

inline Bitmap And(const Bitmap& a, const Bitmap& b) {
  Bitmap c(a.size());
  for (size_t w = 0; w < a.words(); ++w) c.set_word(w, a.word(w) & b.word(w));
  return c;
}

}  // namespace holdfast::planner
