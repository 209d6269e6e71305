// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/snapshot_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "io/shm/fd.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using snapshot::FrameHeader;
using snapshot::SnapshotLog;

constexpr size_t kDigits = 20;
constexpr std::string_view kWhole = ".snap", kSetAside = ".snap.damaged";

// By its name; nullopt for what is no file of a log.
std::optional<LogFile> FileOf(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.size() <= kDigits) return std::nullopt;
  LogFile file{.path = path.string()};
  const auto [end, error] = std::from_chars(name.data(), name.data() + kDigits, file.first);
  const std::string_view kind = std::string_view(name).substr(kDigits);
  if (error != std::errc() || end != name.data() + kDigits) return std::nullopt;
  if (kind != kWhole && kind != kSetAside) return std::nullopt;
  file.damaged = kind == kSetAside;
  return file;
}

// Reads files in the order in which they are given.
class Walk {
 public:
  // `check`: to find every fault, not to know what the log says.
  Walk(const LogVisitor& visitor, SnapshotLog* log, bool check)
      : visitor_(visitor), log_(log), check_(check) {}

  Status Read(const LogFile& file) {
    const Result<Buffer> bytes = ReadLogFile(file.path);
    if (bytes.status().code() == Code::kNotFound) return {};  // deleted by a collector just now
    HF_RETURN_IF_ERROR(bytes.status());
    bool whole = true;
    uint64_t offset = 0;
    do {  // an empty file has a fault, too
      const ByteView rest = bytes->view().subspan(offset);
      const Result<FrameHeader> header = snapshot::ReadFrameHeader(rest);
      if (!header.ok()) return Tell(file, offset, rest.size(), header.status());
      const ByteView frame = rest.first(header->frame_bytes());
      const LogFrame place{.file = &file, .offset = offset, .header = *header};
      const Status status = whole ? Take(place, frame) : snapshot::CheckFrame(frame);
      if (!status.ok()) {
        HF_RETURN_IF_ERROR(Tell(file, offset, rest.size(), status));
        if (!check_) return {};
        whole = false;
      }
      offset += frame.size();
    } while (offset < bytes->size() && !enough_);
    return {};
  }

  bool enough() const { return enough_; }

 private:
  Status Take(const LogFrame& place, ByteView frame) {
    if (place.offset == 0 && !place.header.full)
      return Status::Corrupt("the file does not begin with a full snapshot");
    HF_RETURN_IF_ERROR(log_->Apply(frame));
    if (visitor_.frame && !visitor_.frame(place, *log_)) enough_ = true;
    return {};
  }

  Status Tell(const LogFile& file, uint64_t offset, uint64_t left_bytes, Status status) const {
    const Code code = status.code();
    const LogFault fault{.path = file.path,
                         .offset = offset,
                         .status = std::move(status),
                         .left_bytes = left_bytes,
                         .torn = code == Code::kUnavailable};
    const bool foreign = code == Code::kInvalid || code == Code::kDenied;
    if (foreign && !check_) return Status::Invalid(fault.Text());
    if (visitor_.fault) visitor_.fault(fault);
    return {};
  }

  const LogVisitor& visitor_;
  SnapshotLog* log_;
  bool check_;
  bool enough_ = false;
};

Status ReadAll(const std::vector<LogFile>& files, Walk walk) {
  for (const LogFile& file : files) {
    if (!file.damaged) HF_RETURN_IF_ERROR(walk.Read(file));
    if (walk.enough()) break;
  }
  return {};
}

// Whose log it is, by the first frame of the newest file that has one.
std::optional<uint64_t> ClusterOf(const std::vector<LogFile>& files) {
  for (auto file = files.rbegin(); file != files.rend(); ++file) {
    const Result<Buffer> bytes = ReadLogFile(file->path);
    if (!bytes.ok()) continue;
    const Result<FrameHeader> header = snapshot::ReadFrameHeader(bytes->view());
    if (header.ok()) return header->cluster;
  }
  return std::nullopt;
}

}  // namespace

std::string LogFault::Text() const {
  const std::string place = path + ": offset " + std::to_string(offset) + ": ";
  if (!torn) return place + status.message();
  if (offset == 0) {
    return place +
           "nothing but a torn frame, as of a collector that was killed; collecting sets it "
           "aside";
  }
  return place + "the last " + FormatBytes(left_bytes) +
         " are a torn frame, as of a collector that was killed; collecting cuts it off";
}

Result<std::vector<LogFile>> ListLogFiles(const std::string& directory) {
  std::error_code error;
  std::vector<LogFile> files;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    std::optional<LogFile> file = FileOf(at->path());
    if (!file) continue;
    std::error_code gone;
    file->bytes = at->file_size(gone);
    if (!gone) files.push_back(*std::move(file));
  }
  if (error == std::errc::not_a_directory) {
    return Status::Invalid(directory + " is not a directory; --log names that of a snapshot log");
  }
  if (error) return shm::ErrnoStatus("cannot read the snapshot log in " + directory, error.value());
  std::sort(files.begin(), files.end(), [](const LogFile& a, const LogFile& b) {
    return std::pair(!a.damaged, a.first) < std::pair(!b.damaged, b.first);
  });
  return files;
}

Status NoLogIn(const std::string& directory) {
  return Status::NotFound("there is no snapshot log in " + directory +
                          "; `holdfast snapshot collect` begins one");
}

Result<Buffer> ReadLogFile(const std::string& path) {
  const shm::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat about {};
  if (!fd || ::fstat(fd.get(), &about) != 0) return shm::ErrnoStatus("cannot read " + path);
  Buffer bytes;
  if (!bytes.TryResize(static_cast<uint64_t>(about.st_size)))
    return Status::NoSpace("there is no memory for the " +
                           FormatBytes(static_cast<uint64_t>(about.st_size)) + " of " + path);
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return shm::ErrnoStatus("cannot read " + path);
    if (got == 0) break;  // a collector has cut off what it could not write
    done += static_cast<size_t>(got);
  }
  return done == bytes.size() ? std::move(bytes) : Buffer::CopyOf(bytes.view().first(done));
}

Status ReadLogFiles(const std::vector<LogFile>& files, const LogVisitor& visitor,
                    SnapshotLog* log) {
  return ReadAll(files, Walk(visitor, log, false));
}

Result<SnapshotLog> ReadLogDirectory(const std::string& directory, size_t newest,
                                     const LogVisitor& visitor) {
  const Result<std::vector<LogFile>> listed = ListLogFiles(directory);
  if (listed.status().code() == Code::kNotFound) return NoLogIn(directory);
  HF_RETURN_IF_ERROR(listed.status());
  if (listed->empty()) return NoLogIn(directory);
  size_t first = newest > 0 && newest < listed->size() ? listed->size() - newest : 0;
  while (true) {
    const std::vector<LogFile> files(listed->begin() + static_cast<ptrdiff_t>(first),
                                     listed->end());
    std::vector<LogFault> faults;
    SnapshotLog log(ClusterOf(files).value_or(0));
    HF_RETURN_IF_ERROR(ReadLogFiles(
        files, {.frame = visitor.frame, .fault = [&](const LogFault& f) { faults.push_back(f); }},
        &log));
    if (log.sequence() > 0 || first == 0) {
      for (const LogFault& fault : faults) {
        if (visitor.fault) visitor.fault(fault);
      }
      if (log.sequence() > 0) return log;
      return Status::Corrupt("nothing in the snapshot log in " + directory +
                             " can be read; collecting begins anew there");
    }
    --first;
  }
}

Status CheckLogFiles(const std::vector<LogFile>& files, const LogVisitor& visitor) {
  SnapshotLog log(ClusterOf(files).value_or(0));
  return ReadAll(files, Walk(visitor, &log, true));
}

}  // namespace holdfast::cli
