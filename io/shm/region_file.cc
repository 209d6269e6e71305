// SPDX-License-Identifier: Apache-2.0
#include "io/shm/region_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <filesystem>

#include "base/units.h"
#include "io/shm/access.h"
#include "io/shm/private_mount.h"

namespace holdfast::shm {
namespace {

// Small enough that progress is seen, large enough that the calls do not count.
constexpr uint64_t kSliceBytes = 64 * kMiB;

std::string Canonical(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) != nullptr ? resolved : path;
}

// A header of zeros is that of a daemon that ended before it formatted its region.
// Why what an earlier daemon has left is not used; empty: it is, or it is not even formatted.
std::string WhyNot(const RegionHeader& h, uint64_t bytes, const RegionPlan& plan) {
  if (h.magic == 0 && bytes == plan.region_bytes) return "";
  if (h.magic != kRegionMagic) return "it is no memory of this program's";
  if (h.layout_version != kLayoutVersion) {
    return "its layout has version " + std::to_string(h.layout_version) +
           ", this program knows version " + std::to_string(kLayoutVersion);
  }
  const bool same = h.region_bytes == plan.region_bytes && h.segment_bytes == plan.segment_bytes &&
                    h.segments == plan.segments && h.buckets == plan.buckets &&
                    h.bucket_offset == plan.bucket_offset &&
                    h.segment_offset == plan.segment_offset;
  if (same && bytes == plan.region_bytes) return "";
  if (same) return "its file has " + FormatBytes(bytes) + " and not " + FormatBytes(h.region_bytes);
  if (h.segments == plan.segments && h.segment_bytes == plan.segment_bytes)
    return "it has places for another number of objects than the configuration asks for";
  return "it has " + FormatBytes(h.region_bytes) + " in " + std::to_string(h.segments) +
         " segments of " + FormatBytes(h.segment_bytes) + ", the configuration asks for " +
         FormatBytes(plan.region_bytes) + " in " + std::to_string(plan.segments) + " segments of " +
         FormatBytes(plan.segment_bytes);
}

// nullopt on a tmpfs without a limit.
std::optional<uint64_t> FreeBytes(int fd) {
  struct statfs space;
  if (::fstatfs(fd, &space) != 0 || space.f_blocks == 0) return std::nullopt;
  return static_cast<uint64_t>(space.f_bavail) * static_cast<uint64_t>(space.f_bsize);
}

int AllocateSlice(int fd, uint64_t at, uint64_t bytes) {
  while (true) {
    int error = ::posix_fallocate(fd, static_cast<off_t>(at), static_cast<off_t>(bytes));
    if (error != EINTR) return error;
  }
}

void RemoveFiles(const std::string& directory) {
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
}

}  // namespace

Result<std::unique_ptr<RegionFile>> RegionFile::Open(const RegionFileOptions& options) {
  std::unique_ptr<RegionFile> file(new RegionFile());
  Result<std::optional<gid_t>> group = ResolveGroup(options.group);
  if (!group.ok()) return group.status();
  file->group_ = *group;
  HF_RETURN_IF_ERROR(ClaimDirectory(options.directory, file->group_, "state_directory"));
  file->directory_ = Canonical(options.directory);
  HF_RETURN_IF_ERROR(file->Lock());
  HF_RETURN_IF_ERROR(MakePrivateDirectory(file->memory_directory(), file->group_));
  HF_RETURN_IF_ERROR(file->FindOld(options.plan, options.log));
  if (!file->reused_) {
    file->Discard();
    HF_RETURN_IF_ERROR(file->Place(options));
    HF_RETURN_IF_ERROR(file->Create(options.plan.region_bytes));
  }
  Status allocated = file->Allocate(options.plan.region_bytes, options.progress);
  if (!allocated.ok()) {
    if (!file->reused_) file->Discard();
    return allocated;
  }
  bool huge = HasHugePages(file->memory_directory());
  std::string why = std::exchange(file->description_, "");
  file->description_ = FormatBytes(options.plan.region_bytes) + " of shared memory in " +
                       (huge ? "2 MiB pages" : "4 KiB pages") + " at " + file->region_path() +
                       (file->reused_ ? ", found from an earlier start" : "") +
                       (why.empty() || huge ? "" : "; " + why);
  if (options.log != nullptr) {
    bool warn = !huge && options.huge == HugePages::kOn;
    options.log->Write(warn ? LogLevel::kWarn : LogLevel::kInfo, file->description_);
  }
  return file;
}

RegionFile::~RegionFile() {
  if (!memory_.empty()) ::munmap(memory_.data(), memory_.size());
  // Not only by closing: a child that was forked and has not called exec holds the same lock.
  if (lock_) ::flock(lock_.get(), LOCK_UN);
}

void RegionFile::Remove() {
  if (!memory_.empty()) ::munmap(memory_.data(), memory_.size());
  memory_ = {};
  file_.Reset();
  read_only_.Reset();
  Discard();
  ::rmdir(memory_directory().c_str());
  ::unlink(attach_path().c_str());
  // As long as something else lies there, the lock says whose it is.
  if (CheckHasNothingBut(directory_, {"lock"}, "state_directory").ok())
    ::unlink((directory_ + "/lock").c_str());
  ::rmdir(directory_.c_str());
}

Status RegionFile::Lock() {
  std::string path = directory_ + "/lock";
  while (true) {
    lock_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock_) return ErrnoStatus("cannot open " + path);
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
      char pid[32] = {};
      ssize_t n = ::pread(lock_.get(), pid, sizeof(pid) - 1, 0);
      return Status::Unavailable("another cached (process " + std::string(n > 0 ? pid : "unknown") +
                                 ") is using " + directory_ +
                                 "; stop it, or give this one another node id or directory");
    }
    // The last holder may have removed the file between our open and our lock; then we hold nothing
    // that others see.
    struct stat held, named;
    if (::fstat(lock_.get(), &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
        held.st_ino == named.st_ino && held.st_dev == named.st_dev) {
      break;
    }
  }
  std::string pid = std::to_string(::getpid());
  if (::ftruncate(lock_.get(), 0) != 0 ||
      ::pwrite(lock_.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return ErrnoStatus("cannot write to " + path);
  }
  return {};
}

Status RegionFile::FindOld(const RegionPlan& plan, Log* log) {
  Fd old(::open(region_path().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!old) return {};
  struct stat info;
  if (::fstat(old.get(), &info) != 0) return ErrnoStatus("cannot look at " + region_path());
  if (!S_ISREG(info.st_mode) || info.st_uid != ::geteuid() || !OnTmpfs(memory_directory())) {
    return {};
  }
  RegionHeader header;
  ssize_t n = ::pread(old.get(), &header, sizeof(header), 0);
  if (n != static_cast<ssize_t>(sizeof(header))) return {};
  const auto bytes = static_cast<uint64_t>(info.st_size);
  if (const std::string why = WhyNot(header, bytes, plan); !why.empty()) {
    if (log != nullptr) {
      log->Warn(region_path() + " of an earlier start is not used, and removed: " + why);
    }
    return {};
  }
  HF_RETURN_IF_ERROR(SetAccess(old.get(), region_path(), 0640, group_));
  file_ = std::move(old);
  reused_ = true;
  return {};
}

void RegionFile::Discard() {
  RemoveFiles(session_directory());
  ::unlink(region_path().c_str());
  if (IsOurMount(memory_directory())) UnmountTmpfs(memory_directory());
}

// Chooses where the file goes; description_ holds, until Open has ended, why there are no large
// pages.
Status RegionFile::Place(const RegionFileOptions& options) {
  if (options.huge == HugePages::kOff) {
    description_ = "2 MiB pages are switched off";
  } else if (!HasHugePages(memory_directory())) {
    // What is not read costs nothing: a tmpfs takes memory only as its files do.
    uint64_t bytes = AlignUp(options.plan.region_bytes, 2 * kMiB) +
                     kMaxSessions * SessionBytes(options.plan.segments) + 16 * kMiB;
    Status mounted = MountTmpfs(memory_directory(), bytes, group_);
    if (!mounted.ok()) description_ = "no 2 MiB pages: " + mounted.message();
  }
  if (!OnTmpfs(memory_directory())) {
    return Status::Invalid(directory_ + " is on a disk, and no tmpfs could be mounted there (" +
                           description_ + "); choose a directory under /dev/shm");
  }
  return {};
}

Status RegionFile::Create(uint64_t bytes) {
  file_ =
      Fd(::open(region_path().c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_) return ErrnoStatus("cannot create " + region_path());
  HF_RETURN_IF_ERROR(SetAccess(file_.get(), region_path(), 0640, group_));
  // The full size first: the kernel gives large pages only within a file's size.
  if (::ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) {
    return ErrnoStatus("cannot make " + region_path() + " " + FormatBytes(bytes) + " long");
  }
  return {};
}

// Nothing is written: a region that was found keeps what is in it.
Status RegionFile::Allocate(uint64_t bytes,
                            const std::function<void(uint64_t, uint64_t)>& progress) {
  struct stat info;
  if (::fstat(file_.get(), &info) != 0) return ErrnoStatus("cannot look at " + region_path());
  uint64_t needed = bytes - std::min(bytes, static_cast<uint64_t>(info.st_blocks) * 512);
  std::optional<uint64_t> room = FreeBytes(file_.get());
  if (room && needed > *room) return Full(needed, *room);
  HF_RETURN_IF_ERROR(Map(bytes));
  for (uint64_t at = 0; at < bytes; at += kSliceBytes) {
    uint64_t slice = std::min(kSliceBytes, bytes - at);
    int error = needed == 0 ? 0 : AllocateSlice(file_.get(), at, slice);
    if (error == ENOSPC) return Full(needed, FreeBytes(file_.get()).value_or(0));
    if (error != 0) return ErrnoStatus("cannot allocate " + region_path(), error);
    // Page tables now and not under the first loads. Kernels before 5.14 do not know it, and
    // nothing is lost.
    ::madvise(memory_.data() + at, slice, MADV_POPULATE_WRITE);
    if (progress) progress(at + slice, bytes);
  }
  return {};
}

Status RegionFile::Full(uint64_t needed, uint64_t free_bytes) const {
  return Status::NoSpace("the tmpfs at " + memory_directory() + " is too full: the region needs " +
                         FormatBytes(needed) + " more and " + FormatBytes(free_bytes) +
                         " are free; lower the node's memory or make room there");
}

Status RegionFile::Map(uint64_t bytes) {
  read_only_ = Fd(::open(region_path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!read_only_) return ErrnoStatus("cannot open " + region_path());
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (at == MAP_FAILED) return ErrnoStatus("cannot map " + region_path());
  memory_ = {static_cast<std::byte*>(at), bytes};
  return {};
}

}  // namespace holdfast::shm
