// SPDX-License-Identifier: Apache-2.0
// The core's journal in a file of this machine: a CommitLog whose completions come back to the
// deciding thread, one post for all of those that ended together.
#pragma once

#include <functional>
#include <memory>

#include "base/env.h"
#include "io/disk/commit_log.h"
#include "io/disk/deliveries.h"

namespace holdfast::disk {

// Used on the deciding thread, which goes on until it is destroyed; callbacks that have not run then
// are dropped, and what was appended is written.
class LocalJournal : public Journal {
 public:
  using Post = Deliveries::Post;

  static Result<std::unique_ptr<LocalJournal>> Open(const CommitLogOptions& options, Post post);
  LocalJournal(std::unique_ptr<CommitLog> log, Post post);

  void Append(ByteView record, std::function<void(Status, uint64_t sequence)> done) override;
  Status Truncate(uint64_t before) override { return log_->Truncate(before); }
  void Replay(std::function<void(uint64_t sequence, ByteView record)> each,
              std::function<void(Status)> done) override;

 private:
  Deliveries deliveries_;
  std::unique_ptr<CommitLog> log_;
};

}  // namespace holdfast::disk
