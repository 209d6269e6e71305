// SPDX-License-Identifier: Apache-2.0
// What a fuzzer can give beside LLVMFuzzerTestOneInput.
#pragma once

#include <cstdlib>
#include <vector>

#include "base/bytes.h"

namespace holdfast::fuzz {

// Valid inputs to begin from. Weak: without them mutations begin from random bytes.
std::vector<std::vector<std::byte>> Seeds() __attribute__((weak));

// What must hold for every input; on in every build.
inline void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace holdfast::fuzz
