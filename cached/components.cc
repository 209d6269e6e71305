// SPDX-License-Identifier: Apache-2.0
#include "cached/components.h"

#include <filesystem>
#include <utility>

#include "io/disk/local_journal.h"
#include "io/storage/hybrid_disk.h"

namespace holdfast::cached {

Status Components::StartThread() {
  if (thread_ != nullptr) return {};
  Result<std::unique_ptr<storage::StorageThread>> started = storage::StorageThread::Start();
  if (!started.ok()) return started.status();
  thread_ = *std::move(started);
  return {};
}

void Components::Stop() {
  if (thread_ != nullptr) thread_->Stop();
}

storage::RemoteOptions Components::Remote(const std::string& endpoint, Duration patience) const {
  return {.endpoint = endpoint,
          .cluster = config_->node.cluster,
          .token = token_,
          .node = config_->node.node,
          .store = "node-" + std::to_string(config_->node.node),
          .patience = patience,
          .log = log_};
}

Result<std::unique_ptr<Disk>> Components::OpenNearDisk() {
  const auto segments = static_cast<uint32_t>(config_->disk_segments);
  if (!config_->disk_at.empty()) {
    HF_RETURN_IF_ERROR(StartThread());
    auto remote = thread_->OpenDisk(Remote(config_->disk_at, config_->disk_patience), segments,
                                    config_->disk_segment, post_);
    if (!remote.ok()) return remote.status().Annotate("disk.at");
    remote_disk_ = remote->get();
    return std::unique_ptr<Disk>(*std::move(remote));
  }
  if (config_->disk_directory.empty()) return std::unique_ptr<Disk>();
  auto files = disk::SegmentFiles::Open({.directory = config_->disk_directory,
                                         .cluster = config_->node.cluster,
                                         .node = config_->node.node,
                                         .segments = segments,
                                         .segment_bytes = config_->disk_segment,
                                         .depth = static_cast<uint32_t>(config_->disk_depth),
                                         .group = config_->group,
                                         .log = log_},
                                        post_, watcher_);
  if (!files.ok()) return files.status().Annotate("disk");
  return std::unique_ptr<Disk>(*std::move(files));
}

Result<std::unique_ptr<Disk>> Components::OpenDisk(Clock* clock, far::FarClient* far,
                                                   SegmentReader** copies) {
  *copies = nullptr;
  Result<std::unique_ptr<Disk>> near = OpenNearDisk();
  if (!near.ok() || *near == nullptr || config_->disk_far_copy.empty()) return near;
  auto hybrid = std::make_unique<storage::HybridDisk>(
      *std::move(near), storage::HybridDisk::Options{.prefix = config_->disk_far_copy,
                                                     .node = config_->node.node,
                                                     .clock = clock,
                                                     .far = far,
                                                     .writer = far,
                                                     .log = log_});
  *copies = hybrid->copies();
  hybrid->Check();
  return std::unique_ptr<Disk>(std::move(hybrid));
}

std::unique_ptr<SegmentMover> Components::OpenMover(Clock* clock) {
  if (config_->reclaim_at.empty()) return nullptr;
  // Where the segments are it needs no connection to them.
  const bool there = config_->reclaim_at == config_->disk_at;
  return thread_->OpenMover(Remote(config_->reclaim_at, config_->reclaim_patience),
                            there ? std::string() : config_->disk_at, clock, remote_disk_, post_);
}

std::string Components::JournalPath(const DaemonConfig& config) {
  return config.journal_directory + "/promises.journal";
}

Result<std::unique_ptr<Journal>> Components::OpenJournal(uint64_t* bytes) {
  if (config_->journal_limit == 0) return std::unique_ptr<Journal>();
  if (config_->journal_at.empty()) return OpenLocalJournal(bytes);
  HF_RETURN_IF_ERROR(StartThread());
  auto remote = thread_->OpenJournal(Remote(config_->journal_at, config_->journal_patience),
                                     config_->journal_limit, post_, bytes);
  if (!remote.ok()) return remote.status().Annotate("journal.at");
  return std::unique_ptr<Journal>(*std::move(remote));
}

// One that is damaged is put aside: what it promised is void, and the jobs call again.
Result<std::unique_ptr<Journal>> Components::OpenLocalJournal(uint64_t* bytes) {
  std::error_code failed;
  std::filesystem::create_directories(config_->journal_directory, failed);
  const std::string path = JournalPath(*config_);
  const disk::CommitLogOptions options{
      .path = path,
      .bytes = config_->journal_limit,
      .sync =
          config_->journal_directory != config_->state_directory};  // memory outlives no machine
  auto opened = disk::LocalJournal::Open(options, post_);
  if (!opened.ok() && opened.status().code() == Code::kCorrupt) {
    log_->Error("the promises of earlier starts are void: " + opened.status().message() +
                "; the journal is now " + path + ".damaged");
    std::filesystem::rename(path, path + ".damaged", failed);
    opened = disk::LocalJournal::Open(options, post_);
  }
  if (!opened.ok()) return opened.status().Annotate("journal");
  *bytes = config_->journal_limit;
  // One that is there keeps its size.
  const uint64_t size = std::filesystem::file_size(path, failed);
  if (!failed) *bytes = size - disk::kHeadsBytes;
  return std::unique_ptr<Journal>(*std::move(opened));
}

}  // namespace holdfast::cached
