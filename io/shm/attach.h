// SPDX-License-Identifier: Apache-2.0
// A client's end of attaching: a process gets to read its own node's memory without messages.
#pragma once

#include <sys/un.h>

#include <atomic>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"
#include "io/shm/fd.h"
#include "wire/local_reader.h"

namespace holdfast::shm {

struct LocalAttachOptions {
  std::string path;       // the daemon's <directory>/attach.sock
  Duration timeout = 5s;  // for each of the four messages
  // Builds the page tables in a thread of its own while the first reads go on: with 4 KiB pages a
  // first touch costs 65 ms per GiB otherwise. Nothing to do with 2 MiB pages.
  bool populate = true;
};

// An attached process. Owns the mappings, the session's lock and the reader; views must be gone
// before it is destroyed. The process must not close descriptors that it did not open (nor may
// anything it calls, as "close all from 3 on" does): the kernel would drop the session's lock, and
// the daemon would take the process for dead. A forked child does not share the session: reads fail
// there (LocalReader says how) and it attaches by itself.
class LocalAttachment {
 public:
  ~LocalAttachment();
  LocalAttachment(const LocalAttachment&) = delete;

  LocalReader& reader() { return *reader_; }
  NodeId node() const { return node_; }
  Incarnation incarnation() const { return reader_->incarnation(); }  // of the daemon that runs now
  uint32_t session() const { return session_; }
  ByteView region() const { return region_; }
  // Where the node's segments on disk are; empty: there are none that a client may read.
  const std::string& disk_directory() const { return disk_directory_; }

 private:
  friend class Attaching;
  LocalAttachment() = default;
  void Populate();

  struct Populator;
  ByteSpan region_;
  ByteSpan session_memory_;
  Fd session_fd_;  // holds the lock
  NodeId node_ = kNoNode;
  uint32_t session_ = 0;
  std::string disk_directory_;
  uint32_t forks_ = 0;  // of this process when it attached
  std::unique_ptr<LocalReader> reader_;
  std::shared_ptr<Populator> populator_;  // shared with its thread
};

// Blocks for at most four times the timeout. kUnavailable when no daemon listens there, kDenied
// when this user may not, kTimeout, kInvalid for another version, kNoSpace when the node has no
// session left, kCorrupt for what is not a daemon's.
Result<std::unique_ptr<LocalAttachment>> AttachLocal(const LocalAttachOptions& options);

// How often this process is a fork of the one that it once was: 0 in the first, one more in each
// child of a child.
const std::atomic<uint32_t>* ForkCounter();

// kInvalid for a path that does not fit into a socket's address.
Result<struct sockaddr_un> AttachAddress(const std::string& path);

}  // namespace holdfast::shm
