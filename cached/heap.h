// SPDX-License-Identifier: Apache-2.0
// The daemon's own memory, taken once.
#pragma once

#include <cstdint>

namespace holdfast::cached {

// From here on malloc has `bytes` that are the process's already, and gives nothing back to the
// kernel: a manifest, a job's names, the next manifest find their pages in place. Fresh pages are
// slow (0.07 to 2.7 s per GiB, the latter on virtual machines that give free memory back to their
// host), and a plan of 10^6 objects would wait for 40 MB of them on each node. Less is there when
// the kernel has less. To be called before there is a second thread, for the life of the process.
void TakeHeap(uint64_t bytes);

}  // namespace holdfast::cached
