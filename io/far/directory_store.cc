// SPDX-License-Identifier: Apache-2.0
#include "io/far/directory_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>

#include "base/hash.h"
#include "io/far/file_errors.h"
#include "io/far/file_names.h"
#include "io/far/file_writer.h"

namespace holdfast::far {
namespace {

constexpr size_t kReadAtOnce = 256 * 1024;  // hashed while it is in the cache

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() { close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

FarInfo InfoOf(const struct stat& status) {
  const auto size = static_cast<uint64_t>(status.st_size);
  return {.size = size,
          .etag = FileETag(status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec, size)};
}

Status CheckRegular(const std::string& path, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return Status();
  if (S_ISDIR(status.st_mode)) {
    return Status::Invalid(path + ": is a directory, not an object; list what is in it");
  }
  return Status::Invalid(path + ": is not a regular file");
}

Result<FarInfo> InfoOf(const std::string& path, int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return FileError(path, errno);
  HF_RETURN_IF_ERROR(CheckRegular(path, status));
  return InfoOf(status);
}

// Fills `into` from `offset` on and hashes it, after `before`.
Status ReadAndHash(const std::string& path, int fd, uint64_t offset, ByteView before, ByteSpan into,
                   uint64_t* hash) {
  Hasher64 hasher;
  if (!before.empty()) hasher.Update(before);
  for (size_t done = 0; done < into.size();) {
    const size_t n = std::min(kReadAtOnce, into.size() - done);
    const ssize_t got = pread(fd, into.data() + done, n, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(path, errno);
    if (got == 0) return Status::Changed(path + ": became shorter while it was read");
    const ByteSpan part = into.subspan(done, static_cast<size_t>(got));
    done += part.size();
    if (part.size() == into.size() && before.empty()) {
      *hash = Hash64(part);
      return Status();
    }
    hasher.Update(part);
  }
  *hash = hasher.Digest();
  return Status();
}

}  // namespace

Result<std::unique_ptr<DirectoryStore>> DirectoryStore::Open(const FarOptions& options,
                                                             Outbox* outbox, Spending* spending) {
  std::unique_ptr<DirectoryStore> store(new DirectoryStore(options, outbox, spending));
  for (const std::string& root : options.directory_roots) {
    std::array<char, PATH_MAX> resolved;
    if (realpath(root.c_str(), resolved.data()) == nullptr) {
      return FileError(root, errno).Annotate("a root of the directory far store");
    }
    std::string text = resolved.data();
    if (text == "/") text.clear();
    store->roots_.push_back(text);
  }
  for (uint32_t i = 0; i < std::max<uint32_t>(options.limits.directory_threads, 1); ++i) {
    store->threads_.emplace_back([self = store.get()] { self->RunThread(); });
  }
  return store;
}

DirectoryStore::DirectoryStore(const FarOptions& options, Outbox* outbox, Spending* spending)
    : options_(options), outbox_(outbox), spending_(spending) {}

DirectoryStore::~DirectoryStore() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void DirectoryStore::Submit(Work work) {
  calls_.fetch_add(1, std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  arrived_.notify_one();
}

void DirectoryStore::RunThread() {
  std::vector<std::function<void()>> answers;
  std::unique_lock lock(mutex_);
  while (true) {
    arrived_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const Work work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    answers.push_back(work());
    calls_.fetch_sub(1, std::memory_order_relaxed);
    outbox_->Add(answers);
    lock.lock();
  }
}

Status DirectoryStore::CheckDeadline(const std::string& path, Time deadline) const {
  if (options_.now() < deadline) return Status();
  return Status::Timeout(path + ": its deadline passed before it was read");
}

Status DirectoryStore::CheckRoots(const std::string& real_path) const {
  if (roots_.empty()) return Status();
  for (const std::string& root : roots_) {
    const std::string_view rest =
        std::string_view(real_path).substr(std::min(root.size(), real_path.size()));
    if (real_path.starts_with(root) && (rest.empty() || rest.starts_with('/'))) return Status();
  }
  return Status::Denied(real_path +
                        ": is not below a directory that may be read; see directory_roots");
}

// What is no file is not even opened: that rewinds a tape, arms a watchdog, lets the writer of a
// FIFO go on. It may still become one meanwhile; then at least nothing blocks, and InfoOf refuses
// it.
Result<int> DirectoryStore::OpenFile(const std::string& path) const {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return FileError(path, errno);
  HF_RETURN_IF_ERROR(CheckRegular(path, status));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return FileError(path, errno);
  if (roots_.empty()) return fd;
  std::array<char, PATH_MAX> real;
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t n = readlink(link.c_str(), real.data(), real.size());
  const Status allowed =
      n < 0 ? FileError(path, errno) : CheckRoots(std::string(real.data(), static_cast<size_t>(n)));
  if (allowed.ok()) return fd;
  close(fd);
  return allowed;
}

void DirectoryStore::Get(std::string path, FarGet get,
                         std::function<void(Status, FarInfo, uint64_t)> done) {
  Submit([this, path = std::move(path), get = std::move(get), done = std::move(done)]() mutable {
    FarInfo info;
    uint64_t hash = 0;
    const Status status = Read(path, get, &info, &hash);
    if (!status.ok()) spending_->CountError();
    return [done = std::move(done), status, info, hash] { done(status, info, hash); };
  });
}

Status DirectoryStore::Read(const std::string& path, const FarGet& get, FarInfo* info,
                            uint64_t* hash) {
  HF_RETURN_IF_ERROR(CheckDeadline(path, get.deadline));
  spending_->CountRequest(Ask::Kind::kGet, false, false);
  const Result<int> fd = OpenFile(path);
  if (!fd.ok()) return fd.status();
  const File file(*fd);
  const Result<FarInfo> before = InfoOf(path, file.fd());
  if (!before.ok()) return before.status();
  if (!get.etag.empty() && before->etag != get.etag) {
    return Status::Changed(path + ": has changed: it is version " + before->etag + " now, " +
                           get.etag + " was planned; list it again");
  }
  const uint64_t size = before->size;
  const bool fits = get.whole ? size == get.length : get.offset == 0 || get.offset < size;
  if (!fits) {
    return Status::Changed(path + ": has " + std::to_string(size) +
                           " bytes, not those that were planned");
  }
  const uint64_t wanted = std::min(size - get.offset, get.length);
  const uint64_t begin = get.whole ? get.offset : 0;
  if (get.pieces != nullptr) {
    HF_RETURN_IF_ERROR(ReadPieces(path, file.fd(), size, get));
  } else {
    const ByteView there = get.whole ? ByteView(get.into).first(begin) : get.before;
    HF_RETURN_IF_ERROR(
        ReadAndHash(path, file.fd(), get.offset, there, get.into.subspan(begin, wanted), hash));
  }
  spending_->CountBytes(wanted, false);
  const Result<FarInfo> after = InfoOf(path, file.fd());
  if (!after.ok()) return after.status();
  if (after->etag != before->etag) return Status::Changed(path + ": changed while it was read");
  *info = *before;
  return Status();
}

// What lies between them costs nothing here.
Status DirectoryStore::ReadPieces(const std::string& path, int fd, uint64_t size,
                                  const FarGet& get) {
  for (FarPiece& piece : *get.pieces) {
    piece.filled = false;
    if (piece.offset + piece.into.size() > size) continue;
    HF_RETURN_IF_ERROR(ReadAndHash(path, fd, piece.offset, {}, piece.into, &piece.hash));
    piece.filled = true;
  }
  return {};
}

void DirectoryStore::Put(std::string path, FarPut put, std::function<void(Result<FarInfo>)> done) {
  Submit([this, path = std::move(path), put = std::move(put), done = std::move(done)]() mutable {
    Result<FarInfo> info = Write(path, put);
    if (!info.ok()) spending_->CountError();
    return [done = std::move(done), info = std::move(info)] { done(info); };
  });
}

Result<FarInfo> DirectoryStore::Write(const std::string& path, const FarPut& put) {
  HF_RETURN_IF_ERROR(CheckDeadline(path, put.deadline));
  HF_RETURN_IF_ERROR(CheckRoots(path));
  spending_->CountRequest(Ask::Kind::kPut, false, false);
  HF_RETURN_IF_ERROR(WriteWhole(path, put.bytes));
  return ReadInfo(path, put.deadline);
}

void DirectoryStore::Head(std::string path, Time deadline,
                          std::function<void(Result<FarInfo>)> done) {
  Submit([this, path = std::move(path), deadline, done = std::move(done)]() mutable {
    Result<FarInfo> info = ReadInfo(path, deadline);
    if (!info.ok()) spending_->CountError();
    return [done = std::move(done), info = std::move(info)] { done(info); };
  });
}

Result<FarInfo> DirectoryStore::ReadInfo(const std::string& path, Time deadline) {
  HF_RETURN_IF_ERROR(CheckDeadline(path, deadline));
  spending_->CountRequest(Ask::Kind::kHead, false, false);
  const Result<int> fd = OpenFile(path);
  if (!fd.ok()) return fd.status();
  const File file(*fd);
  return InfoOf(path, file.fd());
}

}  // namespace holdfast::far
