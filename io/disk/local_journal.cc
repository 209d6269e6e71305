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
    : deliveries_(std::move(post)), log_(std::move(log)) {}

void LocalJournal::Append(ByteView record, std::function<void(Status, uint64_t)> done) {
  auto shared = std::make_shared<std::function<void(Status, uint64_t)>>(std::move(done));
  Status refused =
      log_->AppendThen(record, [this, shared](const Status& status, uint64_t sequence) {
        deliveries_.Add([shared, status, sequence] { (*shared)(status, sequence); });
      });
  if (!refused.ok()) deliveries_.Add([shared, refused] { (*shared)(refused, 0); });
}

void LocalJournal::Replay(std::function<void(uint64_t, ByteView)> each,
                          std::function<void(Status)> done) {
  deliveries_.Add(
      [this, each = std::move(each), done = std::move(done)] { done(log_->Replay(each)); });
}

}  // namespace holdfast::disk
