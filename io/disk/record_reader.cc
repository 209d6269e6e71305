// SPDX-License-Identifier: Apache-2.0
#include "io/disk/record_reader.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/hash.h"
#include "io/disk/disk_op.h"
#include "io/disk/short_slice.h"

namespace holdfast::disk {
namespace {

// Of heads as they mostly are, so that a record of known size comes with one read.
constexpr uint64_t kUsualHead = 512;
constexpr uint64_t kUsualSize = 64 * kKiB;  // of a record whose size is not known

uint64_t CeilBlock(uint64_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

// The bytes from `at` on, at most `bytes` and what is left of their last block, by whole blocks.
Result<ByteView> ReadBlocks(int fd, uint64_t file_bytes, uint64_t at, uint64_t bytes,
                            std::byte* buffer) {
  const uint64_t from = at / kBlock * kBlock;
  const uint64_t wanted =
      std::min({CeilBlock(at + bytes) - from, DiskOp::kBufferBytes, file_bytes - from});
  for (uint64_t got = 0; got < wanted;) {
    const ssize_t n = ::pread(fd, buffer + got, wanted - got, static_cast<off_t>(from + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return shm::ErrnoStatus("reading a segment");
    if (n == 0) return Status::Unavailable("a segment's file has become shorter");
    got += static_cast<uint64_t>(n);
  }
  return ByteView(buffer + (at - from), wanted - (at - from));
}

RecordReader::Outcome Failed(Status status, bool file_failed = false) {
  return {.status = std::move(status), .file_failed = file_failed};
}

}  // namespace

RecordReader::RecordReader(Options options)
    : options_(std::move(options)), buffers_(options_.threads, DiskOp::kBufferBytes) {}

// --- What is asked for ---------------------------------------------------------------------------

void RecordReader::Read(const Place& place, const Want& want, Time deadline, Done done) {
  auto reading = std::make_shared<Reading>();
  reading->place = place;
  reading->want = want;
  reading->deadline = deadline;
  reading->done = std::move(done);
  {
    std::lock_guard lock(mutex_);
    if (!ending_ && waiting_.size() < options_.most_waiting) {
      StartThreads();
      if (!threads_.empty()) {
        waiting_.push_back(reading);
        open_.insert(std::move(reading));
        return came_.notify_one();
      }
    }
  }
  reading->done(Failed(Status::Unavailable("too many reads of the disk wait, or it is the end")));
}

void RecordReader::Expire(Time now) {
  std::vector<ReadingPtr> late;
  {
    std::lock_guard lock(mutex_);
    for (const ReadingPtr& reading : open_) {
      if (reading->deadline <= now) late.push_back(reading);
    }
  }
  for (const ReadingPtr& reading : late) {
    End(reading, Failed(Status::Timeout("the deadline passed before the disk had read it")));
  }
}

void RecordReader::Stop() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  came_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  for (const ReadingPtr& reading : std::set(open_)) {
    End(reading, Failed(Status::Unavailable("the reader is shutting down")));
  }
}

// As many as the machine lets this process have.
void RecordReader::StartThreads() {
  try {
    while (threads_.size() < options_.threads) {
      threads_.emplace_back([this, thread = threads_.size()] { Work(thread); });
    }
  } catch (const std::system_error&) {
  }
}

void RecordReader::End(const ReadingPtr& reading, Outcome outcome) {
  {
    std::lock_guard lock(reading->mutex);
    if (std::exchange(reading->over, true)) return;
  }
  {
    std::lock_guard lock(mutex_);
    open_.erase(reading);
  }
  reading->done(std::move(outcome));
}

// --- On the threads ------------------------------------------------------------------------------

void RecordReader::Work(size_t thread) {
  ::pthread_setname_np(::pthread_self(), "own-disk");
  AskForShortSlice();
  std::unique_lock lock(mutex_);
  while (true) {
    came_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    const ReadingPtr reading = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Outcome outcome = ReadRecord(reading.get(), buffers_[thread]);
    // Its file may have been replaced: the next one opens it anew.
    if (!outcome.status.ok()) Forget(reading->place.segment);
    End(reading, std::move(outcome));
    lock.lock();
  }
}

RecordReader::Outcome RecordReader::ReadRecord(Reading* reading, std::byte* buffer) {
  if (!Put(reading, 0, {})) return Failed(Status::Timeout("its deadline has passed"));
  const Place& place = reading->place;
  const Want& want = reading->want;
  Result<std::shared_ptr<File>> file = Open(place.segment);
  if (!file.ok()) return Failed(file.status(), true);
  const uint64_t limit = (*file)->bytes;
  if (place.offset >= limit) return Failed(Status::NotFound("no record can lie there"));
  const uint64_t guess = want.size == 0 ? kUsualSize : want.size + kUsualHead;
  Result<ByteView> bytes =
      ReadBlocks((*file)->fd.get(), limit, place.offset, std::max(guess, kMostHead), buffer);
  if (!bytes.ok()) return Failed(bytes.status(), true);
  Result<Head> head = DecodeHead(*bytes, place.offset, limit);
  if (!head.ok()) return Failed(head.status());
  if (Status other = CheckHead(*head, want.oid, want.version); !other.ok()) return Failed(other);
  if (options_.wall && HasExpired(head->expires_s, options_.wall()))
    return Failed(Status::NotFound("it has expired"));
  const Entry& entry = head->entry;
  if (want.size != 0 && entry.size != want.size)
    return Failed(Status::NotFound("it has another size"));
  if (entry.size > want.into.size()) {
    return {
        .status = Status::NoSpace("the object has " + std::to_string(entry.size) +
                                  " bytes, there is room for " + std::to_string(want.into.size())),
        .version = entry.version,
        .size = entry.size};
  }
  return ReadPayload(reading, **file, *head, *bytes, buffer);
}

// `bytes` begin with the record, and are in the buffer.
RecordReader::Outcome RecordReader::ReadPayload(Reading* reading, const File& file,
                                                const Head& head, ByteView bytes,
                                                std::byte* buffer) {
  const Entry& entry = head.entry;
  Hasher64 hasher;
  bytes = bytes.subspan(std::min(entry.payload_offset() - entry.offset, bytes.size()));
  for (uint64_t done = 0; done < entry.size || entry.size == 0;) {
    const ByteView part = bytes.first(std::min<uint64_t>(bytes.size(), entry.size - done));
    hasher.Update(part);
    if (!Put(reading, done, part)) return Failed(Status::Timeout("its deadline has passed"));
    done += part.size();
    if (done == entry.size) break;
    Result<ByteView> more = ReadBlocks(file.fd.get(), file.bytes, entry.payload_offset() + done,
                                       entry.size - done, buffer);
    if (!more.ok()) return Failed(more.status(), true);
    bytes = *more;
  }
  const uint64_t hash = hasher.Digest();
  if (hash != head.payload_hash)
    return Failed(Status::Corrupt("a record on the disk does not have its checksum"));
  return {.status = {}, .version = entry.version, .size = entry.size, .hash = hash};
}

// False when it is over, and nothing was written.
bool RecordReader::Put(Reading* reading, uint64_t at, ByteView bytes) {
  std::lock_guard lock(reading->mutex);
  if (reading->over) return false;
  if (!bytes.empty()) std::memcpy(reading->want.into.data() + at, bytes.data(), bytes.size());
  return true;
}

// --- Files ---------------------------------------------------------------------------------------

Result<std::shared_ptr<RecordReader::File>> RecordReader::Open(uint32_t segment) {
  {
    std::lock_guard lock(mutex_);
    auto found = files_.find(segment);
    if (found != files_.end()) {
      found->second->last_use = ++uses_;
      return found->second;
    }
  }
  std::array<char, 32> name;
  std::snprintf(name.data(), name.size(), "/%06u.segment", segment);
  const std::string path = options_.directory + name.data();
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
  auto file = std::make_shared<File>();
  file->fd = shm::Fd(::open(path.c_str(), kFlags | O_DIRECT));
  if (!file->fd && errno == EINVAL) file->fd = shm::Fd(::open(path.c_str(), kFlags));
  if (!file->fd) return shm::ErrnoStatus("cannot open " + path);
  struct stat info {};
  if (::fstat(file->fd.get(), &info) != 0) return shm::ErrnoStatus("cannot look at " + path);
  file->bytes = static_cast<uint64_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || file->bytes % kBlock != 0 || file->bytes > kMaxSegmentBytes)
    return Status::Unavailable(path + " is no segment");
  std::lock_guard lock(mutex_);
  if (files_.size() >= options_.most_files) {
    files_.erase(std::min_element(files_.begin(), files_.end(), [](const auto& a, const auto& b) {
      return a.second->last_use < b.second->last_use;
    }));
  }
  file->last_use = ++uses_;
  files_[segment] = file;
  return file;
}

void RecordReader::Forget(uint32_t segment) {
  std::lock_guard lock(mutex_);
  files_.erase(segment);
}

}  // namespace holdfast::disk
