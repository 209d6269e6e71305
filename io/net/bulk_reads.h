// SPDX-License-Identifier: Apache-2.0
// Brings the outcomes of bulk reads, which end on the bulk client's own thread, to the deciding
// thread: in batches, with one wake-up for as many as have ended meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "io/net/event_loop.h"

namespace holdfast::net {

// Belongs to the loop's thread. Callbacks may start further reads, and may not destroy this object.
class BulkReads {
 public:
  // What BulkClient::Read is: `each` runs on another thread, exactly once per item.
  using Reader =
      std::function<void(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                         Time deadline, std::function<void(size_t, BulkOutcome)> each)>;

  BulkReads(EventLoop* loop, Reader reader);
  // Outcomes that come later are dropped.
  ~BulkReads();

  void Read(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items, Time deadline,
            std::function<void(size_t, BulkOutcome)> each);

 private:
  struct Inbox;  // shared with callbacks that the reader still holds
  struct Open {
    std::function<void(size_t, BulkOutcome)> each;
    size_t left;
  };
  void Deliver();

  EventLoop* loop_;
  Reader reader_;
  std::map<uint64_t, Open> open_;
  uint64_t next_id_ = 1;
  std::shared_ptr<Inbox> inbox_;
};

}  // namespace holdfast::net
