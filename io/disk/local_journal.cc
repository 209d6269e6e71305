// SPDX-License-Identifier: Apache-2.0
#include "io/disk/local_journal.h"

#include <utility>

namespace holdfast::disk {

Result<std::unique_ptr<LocalJournal>> LocalJournal::Open(const CommitLogOptions& options,
                                                         Post post) {
  auto log = CommitLog::Open(options);
  if (!log.ok()) return log.status();
  return std::make_unique<LocalJournal>(*std::move(log), std::move(post));
}

LocalJournal::LocalJournal(std::unique_ptr<CommitLog> log, Post post)
    : post_(std::move(post)), log_(std::move(log)) {}

LocalJournal::~LocalJournal() { ended_->closed = true; }

void LocalJournal::Append(ByteView record, std::function<void(Status, uint64_t)> done) {
  auto shared = std::make_shared<std::function<void(Status, uint64_t)>>(std::move(done));
  Status refused =
      log_->AppendThen(record, [this, shared](const Status& status, uint64_t sequence) {
        Deliver([shared, status, sequence] { (*shared)(status, sequence); });
      });
  if (!refused.ok()) Deliver([shared, refused] { (*shared)(refused, 0); });
}

void LocalJournal::Replay(std::function<void(uint64_t, ByteView)> each,
                          std::function<void(Status)> done) {
  Deliver([this, each = std::move(each), done = std::move(done)] { done(log_->Replay(each)); });
}

void LocalJournal::Deliver(std::function<void()> run) {
  {
    std::lock_guard lock(ended_->mutex);
    ended_->runs.push_back(std::move(run));
    if (std::exchange(ended_->posted, true)) return;
  }
  post_([ended = ended_] { RunAll(ended.get()); });
}

void LocalJournal::RunAll(Ended* ended) {
  std::vector<std::function<void()>> runs;
  {
    std::lock_guard lock(ended->mutex);
    ended->posted = false;
    runs.swap(ended->runs);
  }
  for (auto& run : runs) {
    if (ended->closed) return;
    run();
  }
}

}  // namespace holdfast::disk
