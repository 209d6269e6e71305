// SPDX-License-Identifier: Apache-2.0
// What commitments wait for and nobody has begun to load, in need-by order.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/promise_records.h"

namespace holdfast::cached {

// An object that is to be brought into the tier.
struct Want {
  ObjectKey key;
  uint64_t size = 0;
  std::string name;
  std::string etag;
  JobId job = 0;  // on whose account; 0: a reader's
  Time need_by = Time::Max();
  bool local = false;  // from this node's disk, or not at all: its name is not known
  std::vector<std::function<void(Status)>> waiters;
};

// The confirmed loads of one chunk of a call, as they came: names and ETags stay in the received
// buffers.
struct LoadBatch {
  JobId job = 0;
  uint32_t call = 0;
  uint8_t priority = 0;
  const planner::Manifest* manifest = nullptr;
  std::vector<uint32_t> indices;  // of the manifest, ascending
  Buffer name_ends, names, etag_ends, etags, need_by;
  Time received;
  std::vector<uint32_t> order;  // of the n-th of `indices`, by need-by

  // Fills `order`: thousands of objects, so each chunk's confirm does its own. What one request to
  // `far` can bring together is together, as early as the first of it is needed.
  void Sort(const FarStore& far);
  Time NeedBy(size_t n) const;
  std::string_view Name(size_t n) const;
  std::string_view Etag(size_t n) const;
  // One without a name can come from this node's disk only.
  Want WantOf(size_t n) const;
  // What a journal needs to know of it.
  entry::Name EntryOf(size_t n, Time now) const;
  uint64_t memory_bytes() const;
};

class LoadQueue {
 public:
  enum class Found { kOne, kNothing, kNotYet };
  // Objects that nobody waits for any more, in one look for the next; more of them: kNotYet.
  static constexpr size_t kMaxSkips = 4'096;

  explicit LoadQueue(Commitments* commitments) : commitments_(commitments) {}

  void Add(LoadBatch batch);
  // Drops what a commitment that is ending still had queued, or leaves it to another one on the same
  // manifest: whoever confirmed as a keep what was on its way has queued nothing.
  void Forget(const Commitment& ending);
  // Takes out the next: the highest priority, then the earliest need-by, then the oldest batch.
  Found Next(Want* want);
  // What is queued of a commitment and still waited for, with an index in [first, last) of its
  // manifest; n-th of the batch.
  void ForEachOf(const Commitment& commitment, uint32_t first, uint32_t last,
                 const std::function<void(const LoadBatch&, size_t n)>& visit) const;
  // Finds an object that is queued; it stays.
  bool Find(const ObjectKey& key, Want* want) const;

  uint64_t objects() const { return objects_; }
  uint64_t bytes() const { return bytes_; }  // of the objects
  uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  struct Entry {
    LoadBatch batch;
    bool left = false;  // by one that has ended: whoever waits, it is loaded
    size_t next = 0;
    uint64_t bytes = 0;  // of the objects that are left
  };
  struct Turn {
    int priority;
    Time need_by;
    uint64_t entry;
    friend auto operator<=>(const Turn&, const Turn&) = default;
  };
  using Entries = std::map<uint64_t, Entry>;
  bool Wanted(const Entry& entry, uint32_t index) const;
  static Turn TurnOf(const Entries::value_type& entry);
  Entries::iterator Erase(Entries::iterator it);

  Commitments* commitments_;
  Entries entries_;
  std::map<Turn, Entries::iterator> turns_;
  uint64_t last_entry_ = 0;
  uint64_t objects_ = 0;
  uint64_t bytes_ = 0;
  uint64_t memory_bytes_ = 0;
};

}  // namespace holdfast::cached
