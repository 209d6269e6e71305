// SPDX-License-Identifier: Apache-2.0
// What bench/local asks of every system: the same objects, read by index into the same buffers.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/units.h"

namespace holdfast::bench {

constexpr size_t kBatch = 64;

enum class Read { kBatch1k, kSingle1k, kCopy100k, kView100k };

struct LocalSet {
  uint64_t small_bytes = 1 * kKiB;
  uint64_t large_bytes = 100 * 1000;
  uint32_t small_count = 0;
  uint32_t large_count = 0;
  uint64_t bytes() const { return small_bytes * small_count + large_bytes * large_count; }
};

inline bool IsLarge(Read how) { return how == Read::kCopy100k || how == Read::kView100k; }
inline Oid OidAt(bool large, uint32_t index) {
  uint64_t seed = uint64_t{index} * 2 + (large ? 1 : 0);
  return {Mix64(seed), Mix64(seed + 0x9e3779b97f4a7c15u)};
}
// The first and the last 8 bytes of an object name it.
inline void FillObject(bool large, uint32_t index, ByteSpan payload) {
  std::memset(payload.data(), static_cast<int>(index & 0xff), payload.size());
  uint64_t name = OidAt(large, index).lo;
  StoreAs(payload.data(), name);
  StoreAs(payload.data() + payload.size() - 8, ~name);
}
inline bool IsObject(bool large, uint32_t index, ByteView payload) {
  uint64_t name = OidAt(large, index).lo;
  return LoadAs<uint64_t>(payload.data()) == name &&
         LoadAs<uint64_t>(payload.data() + payload.size() - 8) == ~name;
}
// Reads one word of each cache line: what a view is measured with, for everybody.
inline uint64_t TouchLines(ByteView payload) {
  uint64_t sum = 0;
  for (size_t at = 0; at + 8 <= payload.size(); at += 64) sum += LoadAs<uint64_t>(&payload[at]);
  return sum;
}

// Where a client's copies go: 64-byte aligned, one per place in a batch for small ones, one for
// large ones.
class Destination {
 public:
  explicit Destination(const LocalSet& set)
      : set_(set), small_(kBatch * set.small_bytes), large_(set.large_bytes + 64) {}
  ByteSpan At(Read how, size_t place) {
    return IsLarge(how) ? large_.span().first(set_.large_bytes)
                        : small_.span().subspan(place * set_.small_bytes, set_.small_bytes);
  }
  uint64_t sink = 0;  // keeps the reads of views

 private:
  LocalSet set_;
  Buffer small_;
  Buffer large_;
};

// Of one process, one thread.
class LocalClient {
 public:
  virtual ~LocalClient() = default;
  // Reads up to kBatch objects. A miss is our own mistake and aborts.
  virtual void Run(Read how, std::span<const uint32_t> which, Destination* into) = 0;
  // Nothing is in flight after this.
  virtual void Drain(Destination*) {}
};

class LocalSystem {
 public:
  virtual ~LocalSystem() = default;
  virtual std::string name() const = 0;
  virtual bool Can(Read how) const = 0;
  virtual std::unique_ptr<LocalClient> Connect() = 0;
};

// A node as a process of its own; its region is read through io/shm.
class HoldfastSystem : public LocalSystem {
 public:
  virtual void SetLoading(bool on) = 0;  // loads and reclaims at 1 GB/s
  virtual Duration NodeCpu() const = 0;  // since its start
  virtual uint64_t NodeLoadedBytes() const = 0;
  virtual std::string pages() const = 0;
};
std::unique_ptr<HoldfastSystem> StartHoldfast(const LocalSet& set);

// LMDB in a tmpfs with the same pages as ours.
std::unique_ptr<LocalSystem> OpenLmdb(const LocalSet& set);

// /usr/bin/memcached over TCP or a unix socket; nullptr when it is not installed.
std::unique_ptr<LocalSystem> StartMemcached(const LocalSet& set, bool unix_socket);

}  // namespace holdfast::bench
