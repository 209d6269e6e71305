// SPDX-License-Identifier: Apache-2.0
// Lets the daemon outlive a client that truncates its session file: to read such a mapping raises
// SIGBUS, and the handler here puts empty pages in its place (as libwayland does for the buffers of
// its clients). The client loses only its own session's pins. The one piece of state that is not
// owned by an object: a signal handler has nothing else.
#pragma once

#include "base/bytes.h"

namespace holdfast::shm {

// Guards `memory` (whole pages, mapped) until Unguard. False when kMaxGuarded ranges are guarded
// already. Installs the handler for SIGBUS at the first call; faults elsewhere go on to the handler
// that was there before.
bool Guard(ByteSpan memory);
void Unguard(ByteSpan memory);

constexpr int kMaxGuarded = 1024;

}  // namespace holdfast::shm
