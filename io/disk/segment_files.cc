// SPDX-License-Identifier: Apache-2.0
#include "io/disk/segment_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/units.h"
#include "io/shm/access.h"
#include "io/shm/durable_file.h"
#include "wire/disk_segment.h"

namespace holdfast::disk {
namespace {

constexpr uint32_t kLeastThreads = 4;
constexpr uint64_t kSector = 512;
constexpr uint32_t kOtherDescriptors = 512;  // of the rest of the process
constexpr const char* kLayoutWord = "holdfast-segments";

uint64_t FreeBytes(const std::string& directory) {
  struct statvfs space {};
  return ::statvfs(directory.c_str(), &space) == 0 ? uint64_t{space.f_bavail} * space.f_frsize : 0;
}

Status Full(const std::string& directory, uint64_t needed) {
  return Status::NoSpace(directory + " needs " + FormatBytes(needed) + " more for its segments, " +
                         FormatBytes(FreeBytes(directory)) +
                         " are free there; lower disk.limit or make room");
}

// What `layout` says.
std::string LineOf(const SegmentFilesOptions& options) {
  std::ostringstream line;
  line << kLayoutWord << ' ' << kFormatVersion << ' ' << options.node << ' '
       << options.segment_bytes << ' ' << options.cluster << '\n';
  return line.str();
}

}  // namespace

// --- Open ----------------------------------------------------------------------------------------

Result<std::unique_ptr<SegmentFiles>> SegmentFiles::Open(
    const SegmentFilesOptions& options, std::function<void(std::function<void()>)> post,
    std::optional<Watcher> watcher) {
  HF_CHECK(options.segment_bytes % kBlock == 0 && options.depth > 0);
  std::unique_ptr<SegmentFiles> files(new SegmentFiles());
  files->directory_ = options.directory;
  files->segment_bytes_ = options.segment_bytes;
  files->post_ = std::move(post);
  Result<std::optional<gid_t>> group = shm::ResolveGroup(options.group);
  if (!group.ok()) return group.status();
  files->group_ = *group;
  HF_RETURN_IF_ERROR(shm::ClaimDirectory(options.directory, *group, "disk.directory"));
  HF_RETURN_IF_ERROR(files->Lock());
  const Result<bool> is_new = files->CheckLayout(options);
  if (!is_new.ok()) return is_new.status();
  HF_RETURN_IF_ERROR(files->RaiseDescriptors(options.segments));
  // Before anything is made: others may need the room, and the next try may be of other sizes.
  HF_RETURN_IF_ERROR(files->CheckRoom(options.segments));
  if (*is_new) {
    HF_RETURN_IF_ERROR(shm::WriteDurably(options.directory, "layout", LineOf(options)));
  }
  HF_RETURN_IF_ERROR(files->OpenFiles(options));
  HF_RETURN_IF_ERROR(files->RemoveBeyond(options.segments));
  if (!files->direct_ && options.log != nullptr) {
    options.log->Warn(options.directory +
                      ": its file system does not know O_DIRECT; what is read and written passes "
                      "through the page cache");
  }
  files->OpenRing(options, std::move(watcher));
  const uint32_t threads =
      files->ring_ == nullptr ? options.depth : std::max(options.depth / 4, kLeastThreads);
  files->threads_ = std::make_unique<DiskThreads>(threads);
  return files;
}

void SegmentFiles::OpenRing(const SegmentFilesOptions& options, std::optional<Watcher> watcher) {
  if (!watcher) return;
  watcher_ = *std::move(watcher);
  ring_ = ReadRing::Open(options.depth);
  if (ring_ != nullptr && !watcher_.watch(ring_->fd(), [this] { ring_->Reap(); }).ok())
    ring_.reset();
  if (ring_ == nullptr && options.log != nullptr) {
    options.log->Info(options.directory + ": there is no io_uring here, or it is not allowed; " +
                      std::to_string(options.depth) + " threads read and write instead");
  }
}

SegmentFiles::~SegmentFiles() {
  if (ring_ != nullptr) watcher_.unwatch(ring_->fd());
}

std::string SegmentFiles::PathOf(uint32_t segment) const {
  std::array<char, 32> name;
  std::snprintf(name.data(), name.size(), "/%06u.segment", segment);
  return directory_ + name.data();
}

Status SegmentFiles::Lock() {
  const std::string path = directory_ + "/lock";
  lock_ = shm::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_) return shm::ErrnoStatus("cannot open " + path);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return Status::Unavailable("another daemon is using " + directory_ +
                               "; stop it, or give this one another disk.directory");
  }
  return {};
}

// The first daemon writes it; later ones must fit. One that is empty belongs to no segments: what a
// machine's crash left of a start.
Result<bool> SegmentFiles::CheckLayout(const SegmentFilesOptions& options) const {
  const std::string path = directory_ + "/layout";
  std::ifstream file(path, std::ios::binary);
  std::string line;
  std::getline(file, line);
  if (line.empty()) {
    HF_RETURN_IF_ERROR(
        shm::CheckHasNothingBut(directory_, {"lock", "layout", "layout.new"}, "disk.directory"));
    return true;
  }
  if (line + "\n" == LineOf(options)) return false;
  std::istringstream words(line);
  std::string word, cluster;
  uint32_t version = 0, node = 0;
  uint64_t bytes = 0;
  words >> word >> version >> node >> bytes >> cluster;
  std::string problem = "is no layout of segments";
  if (word == kLayoutWord && version != kFormatVersion) {
    problem = "is of version " + std::to_string(version) + ", this program knows " +
              std::to_string(kFormatVersion);
  } else if (word == kLayoutWord && (node != options.node || cluster != options.cluster)) {
    problem = "says that it is of node " + std::to_string(node) + " of cluster \"" + cluster +
              "\", and this is node " + std::to_string(options.node) + " of \"" + options.cluster +
              "\"";
  } else if (word == kLayoutWord) {
    problem = "says that its segments have " + FormatBytes(bytes) +
              ": set disk.segment to that (here it is " + FormatBytes(options.segment_bytes) + ")";
  }
  return Status::Invalid(path + " " + problem + "; give another disk.directory, or empty this one");
}

Status SegmentFiles::RaiseDescriptors(uint32_t segments) const {
  rlimit limit{};
  const rlim_t needed = segments + kOtherDescriptors;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return shm::ErrnoStatus("getrlimit");
  if (limit.rlim_cur >= needed) return {};
  const rlim_t now = limit.rlim_cur;
  limit.rlim_cur = std::min(needed, limit.rlim_max);
  if (limit.rlim_max >= needed && ::setrlimit(RLIMIT_NOFILE, &limit) == 0) return {};
  return Status::NoSpace("a disk of " + std::to_string(segments) + " segments takes " +
                         std::to_string(needed) + " open files, this process may have " +
                         std::to_string(now) + "; raise disk.segment, or the limit (ulimit -n)");
}

Status SegmentFiles::CheckRoom(uint32_t segments) const {
  uint64_t missing = segments * segment_bytes_;
  for (uint32_t segment = 0; segment < segments; ++segment) {
    struct stat status {};
    if (::stat(PathOf(segment).c_str(), &status) == 0) {
      missing -= std::min(missing, static_cast<uint64_t>(status.st_blocks) * 512);
    }
  }
  return missing > FreeBytes(directory_) ? Full(directory_, missing) : Status();
}

Status SegmentFiles::OpenFiles(const SegmentFilesOptions& options) {
  files_.resize(options.segments);
  for (uint32_t segment = 0; segment < options.segments; ++segment) {
    HF_RETURN_IF_ERROR(OpenFile(segment));
  }
  read_align_ = FindReadAlign();
  return {};
}

// Few devices want whole blocks; where a sector is enough a record costs little more than its bytes. To
// try it would not tell: what was allocated and never written can be read from anywhere, and some file
// systems read what is not aligned to their blocks through the page cache.
uint64_t SegmentFiles::FindReadAlign() const {
  struct statx file {};
  const bool known = ::statx(files_[0].get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &file) == 0 &&
                     (file.stx_mask & STATX_DIOALIGN) != 0;  // Linux 6.1 and later
  const bool sectors =
      known && file.stx_dio_offset_align > 0 && file.stx_dio_offset_align <= kSector;
  return !direct_ || sectors ? kSector : kBlock;
}

Status SegmentFiles::OpenFile(uint32_t segment) {
  const std::string path = PathOf(segment);
  constexpr int kFlags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
  shm::Fd& fd = files_[segment];
  if (direct_) fd = shm::Fd(::open(path.c_str(), kFlags | O_DIRECT, 0600));
  if (!fd && (!direct_ || errno == EINVAL)) {
    direct_ = false;
    fd = shm::Fd(::open(path.c_str(), kFlags, 0600));
  }
  if (!fd) return shm::ErrnoStatus("cannot open " + path);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return shm::ErrnoStatus("cannot look at " + path);
  if (!S_ISREG(status.st_mode)) return Status::Invalid(path + " is not a regular file; remove it");
  HF_RETURN_IF_ERROR(shm::SetAccess(fd.get(), path, 0640, group_));
  const auto bytes = static_cast<off_t>(segment_bytes_);
  // A longer one is of somebody else; a shorter one was not finished, or has lost its end.
  if (status.st_size > bytes) return Status::Invalid(path + " is longer than a segment; remove it");
  if (status.st_size == bytes) return {};
  int error = 0;
  do {
    error = ::posix_fallocate(fd.get(), 0, bytes);
  } while (error == EINTR);
  if (error == ENOSPC || error == EDQUOT) {
    static_cast<void>(::ftruncate(fd.get(), status.st_size));
    return Full(directory_, segment_bytes_);
  }
  return error == 0 ? Status() : shm::ErrnoStatus("cannot allocate " + path, error);
}

Status SegmentFiles::RemoveBeyond(uint32_t segments) {
  for (uint32_t segment = segments; ::unlink(PathOf(segment).c_str()) == 0; ++segment) {
  }
  return {};
}

// --- Operations ----------------------------------------------------------------------------------

Status SegmentFiles::StatusOf(const char* doing, uint32_t segment, int error) const {
  if (error == 0) return {};
  const std::string what = doing + (" " + PathOf(segment));
  if (error == DiskOp::kShort)
    return Status::Corrupt(what + ": the file is shorter than a segment");
  return shm::ErrnoStatus(what, error);
}

void SegmentFiles::Read(uint32_t segment, uint64_t offset, ByteSpan into,
                        std::function<void(Status, uint64_t hash)> done) {
  HF_CHECK(segment < files_.size() && offset + into.size() <= segment_bytes_);
  const int fd = files_[segment].get();
  if (ring_ != nullptr && !into.empty() && into.size() <= ReadRing::kMostBytes) {
    ring_->Submit(DiskOp::Read(fd, offset, into, read_align_,
                               [this, segment, done = std::move(done)](int error, uint64_t hash) {
                                 done(StatusOf("reading", segment, error), hash);
                               }));
    return;
  }
  threads_->Submit(
      DiskOp::Read(fd, offset, into, read_align_,
                   [this, segment, done = std::move(done)](int error, uint64_t hash) mutable {
                     post_([done = std::move(done), status = StatusOf("reading", segment, error),
                            hash] { done(status, hash); });
                   }));
}

void SegmentFiles::Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
                         std::function<void(Status)> done) {
  uint64_t bytes = 0;
  for (const ByteView& part : parts) bytes += part.size();
  HF_CHECK(segment < files_.size() && offset % kBlock == 0 && offset + bytes <= segment_bytes_);
  threads_->Submit(DiskOp::Write(files_[segment].get(), offset, std::move(parts),
                                 Posting("writing", segment, std::move(done))));
}

void SegmentFiles::Sync(uint32_t segment, std::function<void(Status)> done) {
  HF_CHECK(segment < files_.size());
  threads_->Submit(
      DiskOp::Sync(files_[segment].get(), Posting("syncing", segment, std::move(done))));
}

DiskOp::Done SegmentFiles::Posting(const char* doing, uint32_t segment,
                                   std::function<void(Status)> done) {
  return [this, doing, segment, done = std::move(done)](int error, uint64_t) mutable {
    post_([done = std::move(done), status = StatusOf(doing, segment, error)] { done(status); });
  };
}

}  // namespace holdfast::disk
