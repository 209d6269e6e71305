// SPDX-License-Identifier: Apache-2.0
// The far store that is a directory: files are objects, and "<mtime in ns>-<size>", both in
// hexadecimal, is their ETag. A small pool of threads reads, because a file system may block.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/env.h"
#include "base/uri.h"
#include "io/far/directory_walk.h"
#include "io/far/far_options.h"
#include "io/far/outbox.h"
#include "io/far/spending.h"

namespace holdfast::far {

class DirectoryStore {
 public:
  // All of them outlive the store; `options.now` is set.
  static Result<std::unique_ptr<DirectoryStore>> Open(const FarOptions& options, Outbox* outbox,
                                                      Spending* spending);
  // Waits for the reads that are going on; what was not answered stays unanswered.
  ~DirectoryStore();

  // As FarStore's; `path` is the decoded path of the name.
  void Get(std::string path, FarGet get, std::function<void(Status, FarInfo, uint64_t)> done);
  void Head(std::string path, Time deadline, std::function<void(Result<FarInfo>)> done);
  void List(std::string prefix, std::string token, bool delimited, Time deadline,
            std::function<void(Result<FarPage>)> done);
  void Put(std::string path, FarPut put, std::function<void(Result<FarInfo>)> done);
  // Accepted and not yet answered.
  uint64_t calls() const { return calls_.load(std::memory_order_relaxed); }

 private:
  // A piece of work; what it returns runs on the deciding thread and has taken the callback with
  // it, so that what that one captured ends there too.
  using Work = std::function<std::function<void()>()>;
  struct KeptWalk {
    std::string key;
    DirectoryWalk walk;
    WalkedFile ahead;  // the first of the next page, if there is `more`
    bool more = false;
  };

  DirectoryStore(const FarOptions& options, Outbox* outbox, Spending* spending);
  void Submit(Work work);
  void RunThread();
  Status CheckDeadline(const std::string& path, Time deadline) const;
  Status CheckRoots(const std::string& real_path) const;
  Result<int> OpenFile(const std::string& path) const;
  Status Read(const std::string& path, const FarGet& get, FarInfo* info, uint64_t* hash);
  static Status ReadPieces(const std::string& path, int fd, uint64_t size, const FarGet& get);
  Result<FarInfo> Write(const std::string& path, const FarPut& put);
  Result<FarInfo> ReadInfo(const std::string& path, Time deadline);
  Result<FarPage> ReadPage(const std::string& prefix, const std::string& token, bool delimited,
                           Time deadline);
  std::optional<KeptWalk> TakeWalk(const std::string& key);
  void KeepWalk(KeptWalk walk);

  const FarOptions& options_;
  Outbox* const outbox_;
  Spending* const spending_;
  std::vector<std::string> roots_;  // resolved, without '/' at their end
  std::atomic<uint64_t> calls_{0};

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Work> queue_;
  bool stopping_ = false;
  std::vector<KeptWalk> walks_;  // where pages ended, so that the next need not begin anew
  std::vector<std::thread> threads_;
};

}  // namespace holdfast::far
