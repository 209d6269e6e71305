// SPDX-License-Identifier: Apache-2.0
#include "io/disk/block_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "base/units.h"
#include "io/shm/durable_file.h"
#include "io/shm/fd.h"

namespace holdfast::disk {
namespace {

using shm::ErrnoStatus;
using shm::Fd;

std::string DirectoryOf(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

class PosixBlockFile : public BlockFile {
 public:
  PosixBlockFile(Fd fd, std::string path, uint64_t bytes)
      : fd_(std::move(fd)), path_(std::move(path)), bytes_(bytes) {}
  // Not only by closing: a child that was forked and has not called exec holds the same lock.
  ~PosixBlockFile() override { ::flock(fd_.get(), LOCK_UN); }

  Status Read(uint64_t at, ByteSpan into) override {
    while (!into.empty()) {
      ssize_t n = ::pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus("cannot read " + path_ + " at " + std::to_string(at));
      if (n == 0) return Status::Corrupt(path_ + " was cut off at " + std::to_string(at));
      at += static_cast<uint64_t>(n);
      into = into.subspan(static_cast<size_t>(n));
    }
    return {};
  }

  Status Write(uint64_t at, ByteView bytes) override {
    while (!bytes.empty()) {
      ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus("cannot write " + path_ + " at " + std::to_string(at));
      at += static_cast<uint64_t>(n);
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return {};
  }

  Status Sync() override {
    if (::fdatasync(fd_.get()) == 0) return {};
    return ErrnoStatus("cannot sync " + path_);
  }

  uint64_t bytes() const override { return bytes_; }
  const std::string& path() const override { return path_; }

 private:
  Fd fd_;
  std::string path_;
  uint64_t bytes_;
};

Status Full(const std::string& path, uint64_t bytes) {
  struct statvfs space;
  uint64_t free = 0;
  if (::statvfs(DirectoryOf(path).c_str(), &space) == 0) free = space.f_bavail * space.f_frsize;
  return Status::NoSpace("the disk is too full for " + path + ": it needs " + FormatBytes(bytes) +
                         " and " + FormatBytes(free) +
                         " are free; make room there, or choose a smaller size or another disk");
}

Status Lock(const Fd& fd, const std::string& path) {
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return ErrnoStatus("cannot lock " + path);
  return Status::Unavailable("another process is using " + path +
                             "; stop it, or give this one another directory");
}

// Space and written zeros: a write into space that was never written changes the file system's own
// records too, and costs its sync a second write.
Status Fill(const Fd& fd, const std::string& path, const BlockFileOptions& options) {
  const uint64_t bytes = options.new_bytes;
  const ByteView first = options.new_blocks;
  int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) return Full(path, bytes);
  if (error != 0) return ErrnoStatus("cannot allocate " + path, error);
  Buffer zeros = BlockBuffer(static_cast<size_t>(std::min(bytes, kMiB)));
  for (uint64_t at = 0; at < bytes;) {
    ByteView part = at < first.size() ? first.subspan(at) : zeros.view();
    part = part.first(static_cast<size_t>(std::min<uint64_t>(part.size(), bytes - at)));
    ssize_t n = ::pwrite(fd.get(), part.data(), part.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT)) return Full(path, bytes);
    if (n < 0) return ErrnoStatus("cannot write " + path);
    at += static_cast<uint64_t>(n);
  }
  if (::fsync(fd.get()) != 0) return ErrnoStatus("cannot sync " + path);
  return {};
}

// The file appears under its own name only when it is whole. Another process that makes it at the
// same time fails at the lock; one that got the lock after the file was renamed finds it there.
Status Create(const BlockFileOptions& options) {
  const std::string fresh = options.path + ".new";
  Fd fd(::open(fresh.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    Status failed = ErrnoStatus("cannot create " + fresh);
    return {failed.code(), failed.message() + "; its directory must exist and be writable"};
  }
  HF_RETURN_IF_ERROR(Lock(fd, fresh));
  if (::access(options.path.c_str(), F_OK) == 0) return {};
  Status filled = ::ftruncate(fd.get(), 0) == 0 ? Status() : ErrnoStatus("cannot empty " + fresh);
  if (filled.ok()) filled = Fill(fd, fresh, options);
  if (!filled.ok()) {
    ::unlink(fresh.c_str());
    return filled;
  }
  if (::rename(fresh.c_str(), options.path.c_str()) != 0) {
    return ErrnoStatus("cannot rename " + fresh + " to " + options.path);
  }
  return shm::SyncDirectory(DirectoryOf(options.path));
}

// Past the kernel's cache where the file system can, through it otherwise.
Fd OpenExisting(const std::string& path) {
  constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
  Fd fd(::open(path.c_str(), kFlags | O_DIRECT));
  if (!fd && errno == EINVAL) return Fd(::open(path.c_str(), kFlags));
  return fd;
}

}  // namespace

// By calloc, which does not touch memory that is fresh from the kernel.
Buffer BlockBuffer(size_t bytes) {
  void* memory = std::calloc(1, bytes + kBlockBytes);
  if (memory == nullptr) throw std::bad_alloc();
  const uint64_t aligned = RoundUpToBlock(reinterpret_cast<uint64_t>(memory));
  return Buffer::Adopt(reinterpret_cast<std::byte*>(aligned), bytes, std::free, memory);
}

Result<std::unique_ptr<BlockFile>> OpenBlockFile(const BlockFileOptions& options) {
  Fd fd = OpenExisting(options.path);
  if (!fd && errno == ENOENT) {
    HF_RETURN_IF_ERROR(Create(options));
    fd = OpenExisting(options.path);
  }
  if (!fd) {
    Status failed = ErrnoStatus("cannot open " + options.path + " for writing");
    return Status(failed.code(), failed.message() + "; check who may write it, and its disk");
  }
  HF_RETURN_IF_ERROR(Lock(fd, options.path));
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus("cannot look at " + options.path);
  if (!S_ISREG(info.st_mode)) return Status::Invalid(options.path + " is not a file");
  return std::unique_ptr<BlockFile>(std::make_unique<PosixBlockFile>(
      std::move(fd), options.path, static_cast<uint64_t>(info.st_size)));
}

}  // namespace holdfast::disk
