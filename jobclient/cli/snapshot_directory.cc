// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/snapshot_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <utility>

#include "jobclient/cli/context.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using snapshot::FrameHeader;
using snapshot::SnapshotLog;

std::string LockPath(const std::string& directory) { return directory + "/lock"; }

std::string NameOfFile(const std::string& directory, uint64_t number) {
  char digits[24];
  std::snprintf(digits, sizeof(digits), "%020llu", static_cast<unsigned long long>(number));
  return directory + "/" + digits + ".snap";
}

// 0, or the error.
int WriteWhole(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno;
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return ::fsync(fd) == 0 ? 0 : errno;
}

Status CannotKeep(const std::string& path, int error) {
  const Status status = CannotWrite("the snapshot log \"" + path + "\"", error);
  if (error != ENOSPC && error != EDQUOT) return status;
  return {status.code(), status.message() + "; free some room there, or keep less of the log " +
                             "(--keep-for, --max-bytes)"};
}

}  // namespace

Result<std::unique_ptr<SnapshotDirectory>> SnapshotDirectory::Open(
    DirectoryOptions options, std::function<void(const std::string&)> warn) {
  std::error_code error;
  fs::create_directories(options.path, error);
  if (error) return CannotKeep(options.path, error.value());
  std::unique_ptr<SnapshotDirectory> directory(
      new SnapshotDirectory(std::move(options), std::move(warn)));
  const Result<bool> alone = directory->Lock();
  HF_RETURN_IF_ERROR(alone.status());
  if (!*alone) return std::unique_ptr<SnapshotDirectory>();
  HF_RETURN_IF_ERROR(directory->Load());
  return directory;
}

Result<bool> SnapshotDirectory::Lock() {
  const std::string path = LockPath(options_.path);
  lock_ = shm::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock_) return CannotKeep(path, errno);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return CannotKeep(path, errno);
}

bool IsBeingWritten(const std::string& directory) {
  const shm::Fd fd(::open(LockPath(directory).c_str(), O_RDONLY | O_CLOEXEC));
  return fd && ::flock(fd.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

// --- Reading -------------------------------------------------------------------------------------

Status SnapshotDirectory::Load() {
  log_ = SnapshotLog(options_.cluster);
  newest_ = {};
  extendable_ = false;
  frames_ = 0;
  Result<std::vector<LogFile>> files = ListLogFiles(options_.path);
  HF_RETURN_IF_ERROR(files.status());
  // Every file stands for itself, so that the newest one that can be read is enough.
  for (auto file = files->rbegin(); file != files->rend() && log_.sequence() == 0; ++file) {
    if (file->damaged) break;
    const bool is_newest = file == files->rbegin();
    bool whole = true;
    Status cut;
    const LogVisitor visitor{.frame =
                                 [&](const LogFrame& frame, const SnapshotLog&) {
                                   if (frame.header.full) full_bytes_ = frame.header.frame_bytes();
                                   ++frames_;
                                   return true;
                                 },
                             .fault =
                                 [&](const LogFault& fault) {
                                   warn_(fault.Text());
                                   whole = fault.torn && is_newest && frames_ > 0;
                                   if (whole) cut = CutOff(fault);
                                 }};
    HF_RETURN_IF_ERROR(ReadLogFiles({*file}, visitor, &log_));
    HF_RETURN_IF_ERROR(cut);
    if (!is_newest) continue;
    newest_ = *file;
    extendable_ = whole && log_.sequence() > 0;
    struct stat about {};
    if (::stat(newest_.path.c_str(), &about) != 0) return CannotKeep(newest_.path, errno);
    newest_.bytes = static_cast<uint64_t>(about.st_size);
  }
  return {};
}

Status SnapshotDirectory::CutOff(const LogFault& torn) {
  const shm::Fd fd(::open(torn.path.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd && ::ftruncate(fd.get(), static_cast<off_t>(torn.offset)) == 0 && ::fsync(fd.get()) == 0)
    return {};
  return CannotKeep(torn.path, errno);
}

bool SnapshotDirectory::WantsFull() const {
  return !extendable_ || frames_ >= options_.full_every ||
         newest_.bytes - full_bytes_ > full_bytes_;
}

// --- Writing -------------------------------------------------------------------------------------

Status SnapshotDirectory::Append(ByteView frame) {
  const Result<FrameHeader> header = snapshot::ReadFrameHeader(frame);
  HF_CHECK(header.ok() && (header->full || extendable_));
  if (const Status retired = Retire(frame.size()).status(); !retired.ok()) warn_(retired.message());
  const Status written = header->full ? Begin(header->sequence, frame) : Extend(frame);
  stale_ = !written.ok();
  (void)Refresh();
  return written;
}

Status SnapshotDirectory::Refresh() {
  if (stale_) HF_RETURN_IF_ERROR(Load());
  stale_ = false;
  return {};
}

Status SnapshotDirectory::Begin(uint64_t number, ByteView frame) {
  const std::string path = NameOfFile(options_.path, number), half = options_.path + "/new";
  HF_RETURN_IF_ERROR(SetAside(number));
  const shm::Fd fd(::open(half.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return CannotKeep(half, errno);
  int error = WriteWhole(fd.get(), frame);
  if (error == 0 && ::rename(half.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(half.c_str());
    return CannotKeep(path, error);
  }
  newest_ = {.path = path, .first = number, .bytes = frame.size()};
  extendable_ = true;
  frames_ = 1;
  full_bytes_ = frame.size();
  return SyncDirectory();
}

// What comes after the new file's number is what could not be read, or that number would be higher.
Status SnapshotDirectory::SetAside(uint64_t number) {
  Result<std::vector<LogFile>> files = ListLogFiles(options_.path);
  HF_RETURN_IF_ERROR(files.status());
  for (const LogFile& file : *files) {
    if (file.damaged || file.first < number) continue;
    const std::string aside = file.path + ".damaged";
    if (::rename(file.path.c_str(), aside.c_str()) != 0) return CannotKeep(aside, errno);
    warn_("nothing in " + file.path + " can be read; it is " + aside + " now");
  }
  return {};
}

Status SnapshotDirectory::Extend(ByteView frame) {
  const shm::Fd fd(::open(newest_.path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!fd) return CannotKeep(newest_.path, errno);
  const int error = WriteWhole(fd.get(), frame);
  if (error != 0) {
    // Should this fail too, the end is torn, and the next collector cuts it off.
    if (::ftruncate(fd.get(), static_cast<off_t>(newest_.bytes)) == 0) ::fsync(fd.get());
    return CannotKeep(newest_.path, error);
  }
  newest_.bytes += frame.size();
  ++frames_;
  return {};
}

Status SnapshotDirectory::SyncDirectory() const {
  const shm::Fd fd(::open(options_.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems know no such thing.
  if (fd && (::fsync(fd.get()) == 0 || errno == EINVAL)) return {};
  return CannotKeep(options_.path, errno);
}

// --- Retention -----------------------------------------------------------------------------------

Result<uint32_t> SnapshotDirectory::Retire(uint64_t more_bytes) {
  Result<std::vector<LogFile>> files = ListLogFiles(options_.path);
  HF_RETURN_IF_ERROR(files.status());
  uint64_t bytes = more_bytes;
  for (const LogFile& file : *files) bytes += file.bytes;
  const auto keep_s = std::chrono::duration_cast<std::chrono::seconds>(options_.keep_for).count();
  uint32_t deleted = 0;
  for (const LogFile& file : *files) {
    if (file.path == newest_.path) continue;
    // A file is changed for the last time when its last frame is written.
    struct stat about {};
    if (::stat(file.path.c_str(), &about) != 0) continue;
    const bool old = about.st_mtime < ::time(nullptr) - keep_s;
    if (!old && bytes <= options_.max_bytes) continue;
    if (::unlink(file.path.c_str()) != 0) return CannotKeep(file.path, errno);
    bytes -= file.bytes;
    ++deleted;
  }
  return deleted;
}

uint64_t SnapshotDirectory::bytes() const {
  const Result<std::vector<LogFile>> files = ListLogFiles(options_.path);
  uint64_t sum = 0;
  if (files.ok()) {
    for (const LogFile& file : *files) sum += file.bytes;
  }
  return sum;
}

}  // namespace holdfast::cli
