// SPDX-License-Identifier: Apache-2.0
// The daemon: the core of a node in the real world. One thread decides (the event loop); the far
// store, the bulk server, the bulk client and ZeroMQ have threads of their own, and bytes go
// between them and the segments without it.
#pragma once

#include <memory>

#include "cached/daemon_config.h"

namespace holdfast::cached {

class Daemon {
 public:
  // Takes its directory, its memory and its ports. The error says what is in the way and what to
  // do.
  static Result<std::unique_ptr<Daemon>> Open(DaemonConfig config, Log* log);
  // Stops the threads. Removes the state directory when no client is attached; else leaves it to
  // the clients' views.
  ~Daemon();
  Daemon(const Daemon&) = delete;

  // Returns after SIGTERM or SIGINT.
  void Run();

 private:
  struct Parts;
  explicit Daemon(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace holdfast::cached
