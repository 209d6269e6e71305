// SPDX-License-Identifier: Apache-2.0
// What the tests of io/shm share: a directory on tmpfs that goes away, a small region, and child
// processes that do one step at a time.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <new>
#include <string>

#include "base/bytes.h"
#include "io/shm/private_mount.h"
#include "wire/shm_layout.h"

namespace holdfast::shm {

class TestDirectory {
 public:
  TestDirectory() {
    char path[] = "/dev/shm/holdfast-test-XXXXXX";
    path_ = ::mkdtemp(path);
  }
  ~TestDirectory() {
    std::string mounted = path_ + "/node/memory";
    while (IsOurMount(mounted)) UnmountTmpfs(mounted);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  // The node's directory is one below, because RegionFile::Remove takes it away.
  std::string node() const { return path_ + "/node"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline RegionPlan SmallPlan(uint32_t segments = 8) {
  RegionPlan plan;
  plan.segment_bytes = 64 * kKiB;
  plan.segments = segments;
  plan.buckets = 64;
  plan.grant_offset = sizeof(RegionHeader) + segments * sizeof(SegmentState);
  plan.bucket_offset = AlignUp(plan.grant_offset + kMaxSessions * sizeof(SessionGrant), 64);
  plan.segment_offset = AlignUp(plan.bucket_offset + plan.buckets * sizeof(Bucket), 2 * kMiB);
  plan.region_bytes = plan.segment_offset + plan.segments * plan.segment_bytes;
  return plan;
}

inline void Format(ByteSpan region, const RegionPlan& plan, Incarnation incarnation) {
  auto* header = new (region.data()) RegionHeader();
  header->magic = kRegionMagic;
  header->layout_version = kLayoutVersion;
  header->node = 3;
  header->incarnation = incarnation;
  header->region_bytes = plan.region_bytes;
  header->segment_bytes = plan.segment_bytes;
  header->segments = plan.segments;
  header->buckets = plan.buckets;
  header->bucket_offset = plan.bucket_offset;
  header->segment_offset = plan.segment_offset;
}

// A forked process that runs `body`; the two talk in single bytes over pipes. Killed at the end at
// the latest.
class Child {
 public:
  explicit Child(const std::function<int(Child&)>& body) {
    int down[2], up[2];
    if (::pipe2(down, O_CLOEXEC) != 0 || ::pipe2(up, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      in_ = down[0], out_ = up[1];
      ::close(down[1]), ::close(up[0]);
      ::_exit(body(*this));
    }
    in_ = up[0], out_ = down[1];
    ::close(down[0]), ::close(up[1]);
  }
  ~Child() {
    if (pid_ > 0) Kill();
    ::close(in_), ::close(out_);
  }
  Child(const Child&) = delete;

  void Say(char what) const { static_cast<void>(!::write(out_, &what, 1)); }
  // What the other side said; 0 when it has ended.
  char Hear() const {
    char what = 0;
    return ::read(in_, &what, 1) == 1 ? what : '\0';
  }
  int hear_fd() const { return in_; }
  pid_t pid() const { return pid_; }
  void Kill() {
    ::kill(pid_, SIGKILL);
    Wait();
  }
  // The exit code; -1 when it was ended by a signal.
  int Wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = 0;
  int in_ = -1;
  int out_ = -1;
};

}  // namespace holdfast::shm
