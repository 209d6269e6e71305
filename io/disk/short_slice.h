// SPDX-License-Identifier: Apache-2.0
// For threads that sleep and wake often while others wait for them: where processors are busy, a thread
// with a slice of 0.1 ms gets one at once instead of after the 3 ms of another's slice (Linux 6.12;
// earlier ones ignore it). It gets no more of them by that.
#pragma once

namespace holdfast::disk {

// For the thread that calls it.
void AskForShortSlice();

}  // namespace holdfast::disk
