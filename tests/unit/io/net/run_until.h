// SPDX-License-Identifier: Apache-2.0
// Drives an event loop in a test until something has happened.
#pragma once

#include <functional>

#include "io/net/event_loop.h"

namespace holdfast::net {

// False when `done` did not come true within `limit`, which is far above what anything here takes.
inline bool RunUntil(EventLoop& loop, const std::function<bool()>& done, Duration limit = 20s) {
  Time deadline = loop.Now() + limit;
  bool reached = false;
  std::function<void()> check = [&] {
    reached = done();
    if (reached || loop.Now() >= deadline) return loop.Stop();
    loop.At(loop.Now() + 200us, [&] { check(); });
  };
  check();
  loop.Run();
  return reached;
}

// Lets the loop work for a while, for things that must not happen.
inline void RunFor(EventLoop& loop, Duration time) {
  RunUntil(
      loop, [] { return false; }, time);
}

}  // namespace holdfast::net
