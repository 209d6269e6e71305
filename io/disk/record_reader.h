// SPDX-License-Identifier: Apache-2.0
// Reads records out of the segment files of a node on this machine (segment_files.h), which goes on
// writing them: nothing keeps a segment from being taken back meanwhile. A record is believed by its
// own checksums, its name and its version (wire/disk_segment.h); whatever else lies there is a miss.
//
// Threads of its own, begun with the first read, read past the page cache where the file system knows
// that, through an aligned buffer each.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/env.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"
#include "io/disk/aligned_buffers.h"
#include "io/shm/fd.h"
#include "wire/disk_segment.h"

namespace holdfast::disk {

// Thread-safe.
class RecordReader {
 public:
  struct Options {
    std::string directory;
    WallClock wall{};  // what has expired by it does not lie there; without one nothing expires
    uint32_t threads = 8;
    size_t most_files = 64;        // open at a time
    size_t most_waiting = 16'384;  // beyond it kUnavailable
  };
  struct Want {
    Oid oid{};
    VersionHash version = 0;  // 0: whichever lies there
    uint64_t size = 0;        // where known, else 0
    ByteSpan into{};
  };
  struct Outcome {
    // kOk: into[0, size) holds the bytes, verified. kNoSpace with a size: `into` is smaller. kNotFound,
    // kCorrupt: it does not lie there, or not whole. kTimeout. Anything else says why the file cannot
    // be read.
    Status status{};
    VersionHash version = 0;
    uint64_t size = 0;
    uint64_t hash = 0;         // XXH3-64
    bool file_failed = false;  // it could not be opened or read at all
  };
  using Done = std::function<void(Outcome)>;

  explicit RecordReader(Options options);
  ~RecordReader() { Stop(); }
  RecordReader(const RecordReader&) = delete;

  // `done` runs exactly once, on a thread of this or, when it cannot be read at all, inside the call.
  // `into` is written until then and never after.
  void Read(const Place& place, const Want& want, Time deadline, Done done);
  // Ends what should have ended by now with kTimeout, also where a device does not answer. Deadlines
  // are kept by who calls this.
  void Expire(Time now);
  // Everything that is open ends with kUnavailable, as does what comes after. Waits for reads that the
  // kernel has under way.
  void Stop();

 private:
  struct File {
    shm::Fd fd;
    uint64_t bytes = 0;
    uint64_t last_use = 0;
  };
  struct Reading {
    Place place;
    Want want;
    Time deadline;
    Done done;
    std::mutex mutex;
    bool over = false;  // guarded by it: nothing is written to `want.into` any more
  };
  using ReadingPtr = std::shared_ptr<Reading>;

  void Work(size_t thread);
  Outcome ReadRecord(Reading* reading, std::byte* buffer);
  Outcome ReadPayload(Reading* reading, const File& file, const Head& head, ByteView bytes,
                      std::byte* buffer);
  static bool Put(Reading* reading, uint64_t at, ByteView bytes);
  void StartThreads();
  void End(const ReadingPtr& reading, Outcome outcome);
  Result<std::shared_ptr<File>> Open(uint32_t segment);
  void Forget(uint32_t segment);

  const Options options_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<ReadingPtr> waiting_;
  std::set<ReadingPtr> open_;
  std::map<uint32_t, std::shared_ptr<File>> files_;
  uint64_t uses_ = 0;
  bool ending_ = false;
  AlignedBuffers buffers_;  // one for each thread
  std::vector<std::thread> threads_;
};

}  // namespace holdfast::disk
