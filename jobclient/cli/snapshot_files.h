// SPDX-License-Identifier: Apache-2.0
// The snapshot log as files of a directory, read.
//
//   <20 digits>.snap            a full frame of that number, and the differences that follow it
//   <20 digits>.snap.damaged    set aside by a collector, because nothing in it could be read
//   lock                        whoever collects has a flock on it (snapshot_directory.h)
//
// What is wrong with one file is told and passed over: every file stands for itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "snapshot/log.h"

namespace holdfast::cli {

struct LogFile {
  std::string path;
  uint64_t first = 0;  // the number of its full frame, by its name
  uint64_t bytes = 0;
  bool damaged = false;  // set aside
};

// By number; those that were set aside come first, as the first to be deleted. kNotFound when there
// is no such directory.
Result<std::vector<LogFile>> ListLogFiles(const std::string& directory);
Status NoLogIn(const std::string& directory);  // kNotFound, with what to do

// A frame and where it stands. Valid during the visit.
struct LogFrame {
  const LogFile* file = nullptr;
  uint64_t offset = 0;
  snapshot::FrameHeader header{};
};

// What cannot be read. The rest of the file is passed over.
struct LogFault {
  std::string path;
  uint64_t offset = 0;
  Status status{};
  uint64_t left_bytes = 0;  // from the offset to the end of the file
  bool torn = false;        // the file ends within a frame: it was being written

  std::string Text() const;
};

struct LogVisitor {
  // Once the frame is part of `log`. False: enough.
  std::function<bool(const LogFrame& frame, const snapshot::SnapshotLog& log)> frame{};
  std::function<void(const LogFault& fault)> fault{};
};

// Reads these files into `log`, one after the other. kInvalid, with what to do, for a version that
// this program does not know and for another cluster than the log's.
Status ReadLogFiles(const std::vector<LogFile>& files, const LogVisitor& visitor,
                    snapshot::SnapshotLog* log);

// The same for a whole directory, of whatever cluster it is: `newest` > 0 reads only so many files,
// the newest ones, and older ones only when nothing can be read in them. kNotFound when there is no
// frame at all.
Result<snapshot::SnapshotLog> ReadLogDirectory(const std::string& directory, size_t newest,
                                               const LogVisitor& visitor);

// Every frame by itself too, also those that a fault hides from a reader.
Status CheckLogFiles(const std::vector<LogFile>& files, const LogVisitor& visitor);

// Too large for memory is kNoSpace.
Result<Buffer> ReadLogFile(const std::string& path);

}  // namespace holdfast::cli
