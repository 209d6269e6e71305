// SPDX-License-Identifier: Apache-2.0
// Everything below a prefix, listed in parallel over its sub-prefixes. On the loop's thread.
//
// Listing is one page after the other for one prefix, so a flat one takes as long as it takes.
// Where there are sub-prefixes, levels are split at '/' until enough of them are known to keep
// kAtOnce requests busy; what is below is then listed whole, so that a million tiny directories do
// not cost a request each.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"

namespace holdfast::client {

class Listing : public std::enable_shared_from_this<Listing> {
 public:
  static constexpr size_t kAtOnce = 64;
  static constexpr Duration kPageDeadline = 300s;

  // A store that names ever new prefixes, or pages with nothing on them, meets `max_objects`, too:
  // prefixes that wait count like objects, and there are at most as many pages. `count` grows as
  // objects are found. `done` gets the entries in no particular order.
  static void Start(const Env& env, std::string prefix, size_t max_objects,
                    std::atomic<uint64_t>* count,
                    std::function<void(Result<std::vector<FarEntry>>)> done);

 private:
  struct Task {
    std::string prefix;
    std::string token;
    bool delimited;
  };
  Listing(const Env& env, size_t max_objects, std::atomic<uint64_t>* count,
          std::function<void(Result<std::vector<FarEntry>>)> done)
      : env_(env), max_objects_(max_objects), count_(count), done_(std::move(done)) {}
  void Fill();
  void Landed(Task task, Result<FarPage> page);

  Env env_;
  size_t max_objects_;
  std::atomic<uint64_t>* count_;
  std::function<void(Result<std::vector<FarEntry>>)> done_;
  std::deque<Task> tasks_;
  size_t under_way_ = 0;
  size_t pages_ = 0;
  std::vector<FarEntry> found_;
  Status error_;
};

}  // namespace holdfast::client
