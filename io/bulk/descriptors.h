// SPDX-License-Identifier: Apache-2.0
// How many files and sockets this process may have open.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace holdfast::bulk {

// The soft limit becomes the hard one: a node has a connection per peer and reader. For main().
void RaiseDescriptorLimit();

// Whether `count` more can be opened now; else kNoSpace, which names the limit. For where a library
// aborts or nothing can work without them.
Status CheckDescriptors(uint32_t count);

}  // namespace holdfast::bulk
