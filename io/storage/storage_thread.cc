// SPDX-License-Identifier: Apache-2.0
#include "io/storage/storage_thread.h"

#include <future>
#include <utility>

#include "io/disk/short_slice.h"

namespace holdfast::storage {

Result<std::unique_ptr<StorageThread>> StorageThread::Start() {
  Result<std::unique_ptr<net::EventLoop>> loop = net::EventLoop::Create();
  if (!loop.ok()) return loop.status();
  auto started = std::unique_ptr<StorageThread>(new StorageThread());
  started->loop_ = *std::move(loop);
  started->thread_ = std::thread([run = started->loop_.get()] {
    disk::AskForShortSlice();
    run->Run();
  });
  return started;
}

void StorageThread::Stop() {
  if (!thread_.joinable()) return;
  loop_->Stop();
  thread_.join();
}

template <typename Store>
void StorageThread::Discard(std::unique_ptr<Store> store) {
  std::promise<void> gone;
  loop_->Post([&] {
    store.reset();
    gone.set_value();
  });
  gone.get_future().wait();
}

Result<std::unique_ptr<RemoteJournal>> StorageThread::OpenJournal(const RemoteOptions& options,
                                                                  uint64_t bytes,
                                                                  RemoteJournal::Post post,
                                                                  uint64_t* real_bytes) {
  auto journal = std::make_unique<RemoteJournal>(loop_.get(), options, bytes, std::move(post));
  std::promise<Result<uint64_t>> opened;
  journal->Open([&](Result<uint64_t> result) { opened.set_value(std::move(result)); });
  Result<uint64_t> result = opened.get_future().get();
  if (!result.ok()) return Discard(std::move(journal)), result.status();
  *real_bytes = *result;
  return journal;
}

Result<std::unique_ptr<RemoteDisk>> StorageThread::OpenDisk(const RemoteOptions& options,
                                                            uint32_t segments,
                                                            uint64_t segment_bytes,
                                                            RemoteDisk::Post post) {
  auto disk =
      std::make_unique<RemoteDisk>(loop_.get(), options, segments, segment_bytes, std::move(post));
  std::promise<Status> opened;
  disk->Open([&](const Status& status) { opened.set_value(status); });
  Status result = opened.get_future().get();
  if (!result.ok()) return Discard(std::move(disk)), result;
  return disk;
}

std::unique_ptr<RemoteMover> StorageThread::OpenMover(const RemoteOptions& options,
                                                      std::string segments_at, Clock* clock,
                                                      RemoteDisk* disk, RemoteMover::Post post) {
  auto mover = std::make_unique<RemoteMover>(loop_.get(), options, std::move(segments_at), clock,
                                             disk, std::move(post));
  mover->Start();
  return mover;
}

}  // namespace holdfast::storage
