// SPDX-License-Identifier: Apache-2.0
// Reads from the own node of which a part comes out of its disk without it (decision note 0018):
//
//   1. Read    asks the node, and says that a place will do
//   2. Placed  the node has only said where the object lies: a thread reads it there (record_reader.h)
//   3. Landed  it did, or the node is asked for the bytes
//
// What may not or cannot be opened is not tried again for a while.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "holdfast/client.h"
#include "io/bulk/bulk_client.h"
#include "io/disk/record_reader.h"
#include "io/net/event_loop.h"

namespace holdfast::client {

class OwnDisk {
 public:
  // `directory` has the node's segments. Both others outlive its Stop.
  OwnDisk(net::EventLoop* loop, bulk::BulkClient* bulk, std::string directory)
      : loop_(loop),
        bulk_(bulk),
        reader_({.directory = std::move(directory), .wall = [loop] { return loop->Wall(); }}) {}

  // As BulkClient::Read, of the own node. On the loop's thread.
  void Read(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items, Time deadline,
            std::function<void(size_t, BulkOutcome)> each);
  // Nothing is read any more; the node is asked for what was under way. Once the loop runs no more.
  void Stop() { reader_.Stop(); }
  // Any thread.
  OwnDiskReads reads() const;

 private:
  static constexpr Duration kRest = std::chrono::seconds(10);
  static constexpr Duration kTick = std::chrono::milliseconds(100);

  struct Batch {
    std::string endpoint;
    BulkMode mode;
    std::vector<BulkItem> items;
    Time deadline;
    std::function<void(size_t, BulkOutcome)> each;
  };
  using BatchPtr = std::shared_ptr<Batch>;

  void Placed(const BatchPtr& batch, size_t index, disk::Place place);
  void Landed(const BatchPtr& batch, size_t index, disk::RecordReader::Outcome outcome);
  void AskForBytes(const BatchPtr& batch, size_t index, bool file_failed);
  void KeepDeadline(Time deadline);
  void Tick();

  net::EventLoop* loop_;
  bulk::BulkClient* bulk_;
  disk::RecordReader reader_;
  // The loop's thread.
  Time last_deadline_{INT64_MIN / 2};
  bool ticking_ = false;
  // All.
  std::atomic<int64_t> rest_until_us_{INT64_MIN / 2};
  std::atomic<uint64_t> objects_{0};
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> missed_{0};
  std::atomic<uint64_t> failed_{0};
};

}  // namespace holdfast::client
