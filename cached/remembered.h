// SPDX-License-Identifier: Apache-2.0
// What is remembered of objects for a while: a full table forgets the oldest, and what has expired goes
// some at a time.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <utility>

#include "cached/context.h"

namespace holdfast::cached {

template <typename Value>
class Remembered {
 public:
  static constexpr size_t kExpireSlice = 10'000;

  struct Entry {
    Value value{};
    uint64_t number = 0;
  };
  using Map = std::map<ObjectKey, Entry>;
  using iterator = typename Map::iterator;
  using const_iterator = typename Map::const_iterator;

  // At most `most` at a time. `forgotten` is told of each that is replaced, erased or forgotten.
  explicit Remembered(size_t most, std::function<void(const Value&)> forgotten = {})
      : most_(std::max<size_t>(most, 1)), forgotten_(std::move(forgotten)) {}

  void Put(const ObjectKey& key, Value value, Time expires) {
    if (ends_.size() >= most_) ForgetOldest();
    auto [it, fresh] = map_.try_emplace(key);
    if (!fresh) Tell(it->second.value);
    it->second = {std::move(value), ++last_number_};
    ends_.push_back({key, last_number_, expires});
  }
  iterator Erase(iterator it) {
    Tell(it->second.value);
    return map_.erase(it);
  }
  void Expire(Time now) {
    for (size_t i = 0; i < kExpireSlice && !ends_.empty() && ends_.front().expires <= now; ++i)
      ForgetOldest();
  }

  // For looking; entries that have expired may still be there.
  Map& map() { return map_; }
  const Map& map() const { return map_; }
  // What it takes memory for.
  size_t places() const { return ends_.size(); }

 private:
  struct End {
    ObjectKey key;
    uint64_t number;
    Time expires;
  };

  void ForgetOldest() {
    const End end = ends_.front();
    ends_.pop_front();
    const iterator it = map_.find(end.key);
    if (it != map_.end() && it->second.number == end.number) Erase(it);
  }
  void Tell(const Value& value) const {
    if (forgotten_) forgotten_(value);
  }

  size_t most_;
  std::function<void(const Value&)> forgotten_;
  Map map_;
  std::deque<End> ends_;  // oldest first; those of other numbers than their entry's mean nothing
  uint64_t last_number_ = 0;
};

}  // namespace holdfast::cached
