// SPDX-License-Identifier: Apache-2.0
// The daemon's side of the sessions: one file per client (wire/shm_layout.h), and who of them is
// dead.
//
// The life of a session: created for a client that asks (pending) → the client holds the fcntl
// record lock on its first byte and says so (attached) → the lock is free: the client's process is
// gone, and with it every view it had (removed). A client must not read before it was told that it
// is attached: a process that was stopped between its two steps would else pin in a file that
// nobody looks at any more.
//
// The kernel drops a record lock when the locking process closes ANY descriptor of that file, and
// never shows a process its own locks: so this side never takes one, and one process cannot be both
// daemon and client of the same session.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "io/shm/fd.h"
#include "wire/shm_layout.h"

namespace holdfast::shm {

struct SessionFilesOptions {
  std::string directory;  // on a tmpfs; created, 0700: clients are given descriptors, not names
  uint32_t segments = 0;
  Incarnation incarnation = 0;
  // Called as sessions come and go, also from inside Open for those that lived through the daemon's
  // restart: normally store::Sessions::Attach and Detach. The memory is valid until `detach` has
  // returned.
  std::function<void(uint32_t session, ByteSpan memory)> attach;
  std::function<void(uint32_t session)> detach;
  Log* log = nullptr;  // may be null
};

// Not thread-safe: the deciding thread's.
class SessionFiles {
 public:
  // Scans the directory: sessions whose lock is held are attached again, the others removed.
  static Result<std::unique_ptr<SessionFiles>> Open(SessionFilesOptions options);
  // Leaves the files as they are and detaches nobody, as a kill would.
  ~SessionFiles();
  SessionFiles(const SessionFiles&) = delete;

  struct Created {
    uint32_t session = 0;  // 1 ... kMaxSessions
    int fd = -1;           // owned by SessionFiles; read and write
  };
  // A pending session for the process `pid`. kNoSpace when there are kMaxSessions, or no memory for
  // the file.
  Result<Created> Create(uint32_t pid, Time now);
  // Attaches a pending session. kInvalid when its lock is not held; it stays pending.
  Status Confirm(uint32_t session);
  // Removes a pending session whose client has gone away.
  void Abandon(uint32_t session);
  // Detaches and removes the sessions whose lock is free, and the pending ones older than 10 s. A
  // system call per session; once a second is often enough.
  void Sweep(Time now);

  size_t attached() const;
  uint64_t session_bytes() const { return SessionBytes(options_.segments); }

 private:
  struct Session {
    Fd fd;
    ByteSpan memory;
    bool attached = false;
    Time created;
  };
  explicit SessionFiles(SessionFilesOptions options) : options_(std::move(options)) {}
  std::string PathOf(uint32_t session) const;
  Status Scan();
  void Readopt(uint32_t session);
  Status Map(Session* session) const;
  void Remove(std::map<uint32_t, Session>::iterator session);

  SessionFilesOptions options_;
  std::map<uint32_t, Session> sessions_;
};

}  // namespace holdfast::shm
