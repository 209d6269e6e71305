// SPDX-License-Identifier: Apache-2.0
// What bench/store asks of every system: the same values under the same keys, put by many threads,
// and read back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/random.h"

namespace holdfast::bench {

constexpr size_t kValueBytes = 1024;
constexpr size_t kInFlight = 32;           // in each of 64 threads
constexpr size_t kInFlightUnsynced = 256;  // in each of 8: as many, with fewer threads to wake

inline Oid KeyAt(uint64_t index) { return {Mix64(index), Mix64(index + 0x9e3779b97f4a7c15u)}; }

// 1 KiB that nothing compresses: a part of a block of noise, and over it the key.
class Values {
 public:
  Values() : noise_(kValueBytes + kShifts) {
    Random random(1);
    for (std::byte& b : noise_) b = static_cast<std::byte>(random.Next());
  }
  void Fill(uint64_t index, ByteSpan value) const {
    std::memcpy(value.data(), noise_.data() + Mix64(index) % kShifts, kValueBytes);
    StoreAs(value.data(), KeyAt(index).lo);
  }
  bool IsRight(uint64_t index, ByteView value) const {
    std::byte expected[kValueBytes];
    Fill(index, expected);
    return value.size() == kValueBytes && std::memcmp(value.data(), expected, kValueBytes) == 0;
  }

 private:
  static constexpr uint64_t kShifts = 4096;
  std::vector<std::byte> noise_;
};

// How puts are made. What is synced survives a loss of power, what is not the process's death.
enum class Puts {
  kSynced,     // every thread waits for each put
  kPipelined,  // synced, kInFlight in flight in every thread
  kUnsynced,   // kInFlightUnsynced in flight in every thread
};

// One thread's way to put.
class Putter {
 public:
  virtual ~Putter() = default;
  // Begins the put of `index`, and ends earlier ones as the kind of puts says.
  virtual void Put(uint64_t index, ByteView value) = 0;
  // Ends all.
  virtual void Finish() = 0;
};

class StoreSystem {
 public:
  virtual ~StoreSystem() = default;
  virtual std::string name() const = 0;
  virtual std::unique_ptr<Putter> NewPutter() = 0;
  // Any thread. False when it is not there; the bytes are checked by the caller.
  virtual bool Get(uint64_t index, ByteSpan value) = 0;
  virtual void Reopen() = 0;
  // Gives back the room of all that was put.
  virtual void Clear() = 0;
};

// In `directory`, which is its own. A failure is our own mistake, or a machine that cannot do it,
// and aborts. Ours has room for `most_puts`.
std::unique_ptr<StoreSystem> OpenHoldfastStore(const std::string& directory, Puts puts,
                                               uint64_t most_puts);
// Batched: kInFlight puts in a batch instead of one at a time.
std::unique_ptr<StoreSystem> OpenRocksDb(const std::string& directory, Puts puts, bool batched);
std::unique_ptr<StoreSystem> OpenLmdbStore(const std::string& directory);

}  // namespace holdfast::bench
