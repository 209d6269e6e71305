// SPDX-License-Identifier: Apache-2.0
// Sleeping on a word in this process's memory until somebody wakes those who sleep there: one
// system call for any number of them, which is what a group of acknowledgements needs.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

namespace holdfast::disk {

using FutexWord = std::atomic<uint32_t>;
static_assert(sizeof(FutexWord) == 4 && FutexWord::is_always_lock_free);

// Sleeps while the word is `seen`. May return early: the caller looks at its condition again.
inline void FutexWait(FutexWord* word, uint32_t seen) {
  ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, nullptr, nullptr, 0);
}
inline void FutexWake(FutexWord* word, int sleepers = INT_MAX) {
  ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, sleepers, nullptr, nullptr, 0);
}

// Changes the word, so that whoever looked before does not fall asleep, and wakes all.
inline void FutexAdvance(FutexWord* word) {
  word->fetch_add(1, std::memory_order_seq_cst);
  FutexWake(word);
}

}  // namespace holdfast::disk
