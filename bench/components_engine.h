// SPDX-License-Identifier: Apache-2.0
// A small storage engine out of a node's components, for bench/components: values go to the journal,
// are acknowledged when they are durable there, and lie in memory until enough of them came to be
// written to the segments, of which reclaim takes back the oldest. The components are here or
// elsewhere; everything else is the same code.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "bench/components_cache.h"
#include "cached/store/disk_tier.h"
#include "io/net/event_loop.h"

namespace holdfast::bench {

constexpr size_t kComponentValueBytes = 1024;

struct EngineSpec {
  std::string directory;  // here, when `storage` is empty
  std::string storage;    // the endpoint of a storage server
  std::string reclaim;    // of who moves what reclaim keeps there; empty: this process
  NodeId node = 0;
  uint32_t segments = 0;
  uint64_t segment_bytes = 0;
  uint64_t objects = 0;      // the most at a time
  size_t cached_values = 0;  // 0: no cache
  double looked_at = 0;  // share of what was flushed that is read once, so that reclaim keeps it
};

// Belongs to the thread of its loop.
class Engine {
 public:
  // A failure is a machine that cannot do it, and ends the program.
  Engine(net::EventLoop* loop, EngineSpec spec);
  ~Engine();

  // Value `index`; `done` when it is durable.
  void Put(uint64_t index, std::function<void()> done);
  // Puts wait, because what was put before is still being written to the segments.
  bool stalled() const { return flushing_ >= kMaxFlushing; }
  // Looks into the cache; what is in it is checked and counted. False: Fetch it.
  bool GetCached(uint64_t index);
  // From the segments, and, to `keep` it, into the cache; checked.
  void Fetch(uint64_t index, bool keep, std::function<void()> done);
  // Writes to the segments what is in memory.
  void Flush();
  bool flushed() const { return flushing_ == 0; }
  uint64_t objects() const { return tier_->Stats().objects; }
  store::DiskStats stats() const { return tier_->Stats(); }

 private:
  static constexpr size_t kTableValues = 8 * 1024;
  static constexpr size_t kMaxFlushing = 4;

  struct Table {  // of values that are not in the segments yet
    Buffer values = Buffer(kTableValues * kComponentValueBytes);
    std::vector<uint64_t> indexes{};
    size_t durable = 0;
    uint64_t last_sequence = 0;
    bool full = false;
  };
  void OpenComponents();
  void Maintain();
  void FlushTable(std::unique_ptr<Table> table);
  void LookAtSome(const Table& table);

  net::EventLoop* loop_;
  EngineSpec spec_;
  Random random_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<SegmentMover> mover_;  // of `disk_`
  std::unique_ptr<store::DiskTier> tier_;
  ValueCache cache_;
  std::deque<std::unique_ptr<Table>> tables_;  // the last one takes values
  size_t flushing_ = 0;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Value `index`: its number, then noise that depends on it.
void FillValue(uint64_t index, std::byte* value);
bool IsValue(uint64_t index, const std::byte* value);
Oid OidAt(uint64_t index);

}  // namespace holdfast::bench
