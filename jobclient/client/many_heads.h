// SPDX-License-Identifier: Apache-2.0
// Looks up sizes and ETags of many objects, a bounded number at a time. Ranges of one object cost one
// look-up of the whole. On the loop's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/env.h"
#include "holdfast/object_list.h"

namespace holdfast::client {

class ManyHeads : public std::enable_shared_from_this<ManyHeads> {
 public:
  struct Outcome {
    size_t failed = 0;
    size_t first_failed = SIZE_MAX;  // position
    Status first_error;
  };
  static constexpr size_t kAtOnce = 1'024;  // the far store decides how many of them are under way
  static constexpr size_t kMaxFailures = 1'000;
  static constexpr Duration kDeadline = 300s;

  // Fills in what `list` lacks; it is the looker's until `done`. `count` is how many were looked up
  // so far. After kMaxFailures nothing more is asked.
  static void Start(const Env& env, ObjectList* list, std::atomic<uint64_t>* count,
                    std::function<void(Outcome)> done);

 private:
  ManyHeads(const Env& env, ObjectList* list, std::atomic<uint64_t>* count,
            std::function<void(Outcome)> done)
      : env_(env), list_(list), count_(count), done_(std::move(done)) {}
  void Fill();
  bool IsAskedFor(std::string_view whole, size_t position);
  void Ask(std::string uri, std::function<void(Result<FarInfo>)> landed);
  void WholeLanded(const std::string& whole, const Result<FarInfo>& info);
  void Landed(size_t position, const Result<FarInfo>& info);

  Env env_;
  ObjectList* list_;
  std::atomic<uint64_t>* count_;
  std::function<void(Outcome)> done_;
  size_t next_ = 0;
  size_t under_way_ = 0;
  Outcome outcome_;
  // Of objects of which ranges are in the list: who waits, and what was found.
  struct Whole {
    std::vector<size_t> waiting;
    std::optional<Result<FarInfo>> info;
  };
  std::map<std::string, Whole, std::less<>> wholes_;
};

// Whether an item needs a look-up.
bool LacksVersion(const ObjectList::Item& item);

}  // namespace holdfast::client
