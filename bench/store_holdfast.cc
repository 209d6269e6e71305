// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "base/status.h"
#include "bench/store_system.h"
#include "io/disk/key_value_log.h"

namespace holdfast::bench {
namespace {

using disk::KeyValueLog;

// A record with its key, and its share of a group of one thread's puts in whole blocks.
constexpr uint64_t kMostBytesPerPut = 1400;

void Must(const Status& status) {
  if (!status.ok()) std::fprintf(stderr, "bench store: %s\n", status.ToString().c_str());
  HF_CHECK(status.ok());
}

template <typename T>
T Must(Result<T> result) {
  Must(result.status());
  return *std::move(result);
}

class LogPutter : public Putter {
 public:
  LogPutter(KeyValueLog* store, size_t in_flight) : store_(store), sequences_(in_flight) {}
  void Put(uint64_t index, ByteView value) override {
    uint64_t& place = sequences_[next_++ % sequences_.size()];
    if (place != 0) Must(store_->Wait(place));
    place = Must(store_->Begin(KeyAt(index), value));
    if (sequences_.size() == 1) Must(store_->Wait(place));
  }
  void Finish() override {
    for (uint64_t& place : sequences_) {
      if (place != 0) Must(store_->Wait(place));
      place = 0;
    }
  }

 private:
  KeyValueLog* store_;
  size_t next_ = 0;
  std::vector<uint64_t> sequences_;  // 0: none
};

class HoldfastStore : public StoreSystem {
 public:
  HoldfastStore(const std::string& directory, Puts puts, uint64_t most_puts)
      : options_{.path = directory + "/log",
                 .bytes = 16 * kMiB + most_puts * kMostBytesPerPut,
                 .sync = puts != Puts::kUnsynced},
        in_flight_(puts == Puts::kSynced      ? 1
                   : puts == Puts::kPipelined ? kInFlight
                                              : kInFlightUnsynced),
        store_(Must(KeyValueLog::Open(options_))) {}

  std::string name() const override { return "holdfast"; }
  std::unique_ptr<Putter> NewPutter() override {
    return std::make_unique<LogPutter>(store_.get(), in_flight_);
  }
  bool Get(uint64_t index, ByteSpan value) override {
    std::optional<Buffer> found = Must(store_->Get(KeyAt(index)));
    if (!found || found->size() != value.size()) return false;
    std::copy_n(found->data(), value.size(), value.data());
    return true;
  }
  void Reopen() override {
    store_.reset();
    store_ = Must(KeyValueLog::Open(options_));
  }
  void Clear() override { Must(store_->Truncate(store_->end())); }

 private:
  disk::CommitLogOptions options_;
  size_t in_flight_;
  std::unique_ptr<KeyValueLog> store_;
};

}  // namespace

std::unique_ptr<StoreSystem> OpenHoldfastStore(const std::string& directory, Puts puts,
                                               uint64_t most_puts) {
  return std::make_unique<HoldfastStore>(directory, puts, most_puts);
}

}  // namespace holdfast::bench
