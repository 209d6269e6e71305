// SPDX-License-Identifier: Apache-2.0
// The core's journal in a file of this machine: a CommitLog whose completions come back to the
// deciding thread, one post for all of those that ended together.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/env.h"
#include "io/disk/commit_log.h"

namespace holdfast::disk {

// Used on the deciding thread, which goes on until it is destroyed.
class LocalJournal : public Journal {
 public:
  // Runs `run` on the deciding thread, in the order of the calls; callable from any thread.
  using Post = std::function<void(std::function<void()> run)>;

  static Result<std::unique_ptr<LocalJournal>> Open(const CommitLogOptions& options, Post post);
  LocalJournal(std::unique_ptr<CommitLog> log, Post post);
  // Callbacks that have not run are dropped; what was appended is written.
  ~LocalJournal() override;

  void Append(ByteView record, std::function<void(Status, uint64_t sequence)> done) override;
  Status Truncate(uint64_t before) override { return log_->Truncate(before); }
  void Replay(std::function<void(uint64_t sequence, ByteView record)> each,
              std::function<void(Status)> done) override;

 private:
  // Shared with what was posted, which may run after the journal is gone.
  struct Ended {
    std::mutex mutex;
    std::vector<std::function<void()>> runs;  // guarded by mutex
    bool posted = false;                      // guarded by mutex
    bool closed = false;                      // the deciding thread's
  };
  void Deliver(std::function<void()> run);
  static void RunAll(Ended* ended);

  const Post post_;
  const std::shared_ptr<Ended> ended_ = std::make_shared<Ended>();
  std::unique_ptr<CommitLog> log_;
};

}  // namespace holdfast::disk
