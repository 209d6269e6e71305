// SPDX-License-Identifier: Apache-2.0
// A journal in memory: what its image holds outlives the nodes that write it.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/env.h"

namespace holdfast::cached {

class FakeJournal : public Journal {
 public:
  struct Image {
    std::deque<std::pair<uint64_t, std::string>> records;
    uint64_t next = 1;
    uint64_t bytes() const {
      uint64_t sum = 0;
      for (const auto& [sequence, record] : records) sum += record.size();
      return sum;
    }
  };

  FakeJournal(Clock* clock, Image* image) : clock_(clock), image_(image) {}

  void Append(ByteView record, std::function<void(Status, uint64_t)> done) override {
    ++appended;
    if (!failing.ok()) {
      clock_->At(clock_->Now(), [done = std::move(done), why = failing] { done(why, 0); });
      return;
    }
    waiting_.push_back({std::string(AsText(record)), std::move(done)});
    if (!slow) clock_->At(clock_->Now() + 100us, [this] { Commit(); });
  }
  Status Truncate(uint64_t before) override {
    while (!image_->records.empty() && image_->records.front().first < before)
      image_->records.pop_front();
    return failing;
  }
  void Replay(std::function<void(uint64_t, ByteView)> each,
              std::function<void(Status)> done) override {
    clock_->At(clock_->Now() + 1ms, [this, each = std::move(each), done = std::move(done)] {
      for (const auto& [sequence, record] : image_->records) each(sequence, AsBytes(record));
      done(damaged);
    });
  }

  // All that was appended is durable now.
  void Commit() {
    for (auto& [record, done] : std::exchange(waiting_, {})) {
      image_->records.emplace_back(image_->next++, std::move(record));
      done({}, image_->records.back().first);
    }
  }

  bool slow = false;  // only Commit makes anything durable
  Status failing;     // of every append from now on
  Status damaged;     // of the replay
  uint64_t appended = 0;

 private:
  Clock* clock_;
  Image* image_;
  std::vector<std::pair<std::string, std::function<void(Status, uint64_t)>>> waiting_;
};

}  // namespace holdfast::cached
