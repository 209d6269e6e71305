// SPDX-License-Identifier: Apache-2.0
// One connection to a node's bulk server, from the reader's side: what was asked for on it, and
// what came.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/bulk/answer_reader.h"
#include "io/bulk/bulk_client.h"
#include "io/bulk/socket.h"

namespace holdfast::bulk {

// One Read. Lives until every item is done and no connection waits for an answer to it.
struct ClientCall {
  // Bits of `states`: its `each` or `placed` has run; its header has come; its body, too.
  enum : uint8_t { kDone = 1, kAnnounced = 2, kAnswered = 4 };

  uint64_t number = 0;
  BulkMode mode = BulkMode::kLook;
  std::vector<BulkItem> items;
  std::vector<uint8_t> states;
  Time deadline;
  std::function<void(size_t, BulkOutcome)> each;
  size_t next = 0;               // the first item that was not asked for
  size_t left = 0;               // items that are not done
  size_t in_flight = 0;          // items asked for and not answered, done or not
  bool queued = false;           // in its node's queue
  size_t* items_left = nullptr;  // over all calls
  // Empty: places are of no use.
  std::function<void(size_t, disk::Place)> placed;

  bool finished() const { return left == 0; }
  void Finish(size_t index, BulkOutcome outcome);
  void FinishPlaced(size_t index, disk::Place place);
  // The bytes that an item may bring.
  uint64_t Weight(size_t index) const {
    const BulkItem& item = items[index];
    return item.size > 0 ? std::min<uint64_t>(item.size, item.into.size()) : item.into.size();
  }
};

// Belongs to one thread. After any method returned an error the connection is to be destroyed, with
// Fail before.
class ClientConnection {
 public:
  // `settled` is told of each call of which an answer came. `refill` runs after each answer: it may
  // Ask, so that the node has work while the rest is received.
  ClientConnection(const BulkClientOptions& options, const Endpoint& endpoint, Fd fd,
                   uint64_t number, Time now, std::function<void(ClientCall*)> settled,
                   std::function<void(ClientConnection*)> refill);
  ClientConnection(const ClientConnection&) = delete;

  // May (more of) this call be asked for now?
  bool HasRoom(const ClientCall& call) const;
  // Asks for items of the call from call->next on: at most `most`, at least one, one batch. Flush
  // sends it.
  void Ask(ClientCall* call, size_t most, Time now);
  Status Flush(Time now);
  Status OnEvent(bool readable, bool writable, Time now);
  // Acknowledgements that waited, connecting and idling for too long. kTimeout for idle.
  Status OnTick(Time now);

  // The call's items are about to end: nothing is written to their places any more.
  void LetGo(const ClientCall* call);
  // Does anybody wait for what was asked for here?
  bool AnyoneWaits() const;
  // Everything asked for here and not done ends so.
  void Fail(const Status& why);

  int fd() const { return fd_.get(); }
  uint64_t number() const { return number_; }
  bool wants_to_write() const { return phase_ == Phase::kConnecting || out_sent_ < out_.size(); }
  bool open() const { return phase_ == Phase::kOpen; }
  bool owes_acknowledgement() const { return owed_bytes_ > 0; }
  size_t items_in_flight() const { return items_in_flight_; }
  // Nothing was asked for that is not answered.
  bool idle() const { return asked_.empty(); }

 private:
  enum class Phase { kConnecting, kHello, kOpen };

  struct Asked {
    ClientCall* call = nullptr;
    size_t first = 0;  // index of the batch's item 0 in the call
    uint16_t count = 0;
    uint16_t unanswered = 0;
  };

  struct Announced {
    Asked* asked = nullptr;
    size_t item = 0;  // in its call
  };

  Status Receive(Time now);
  Status OnHello();
  Status OnAnswer();
  Status OnBody();
  BulkOutcome OutcomeOf(const Answer& answer) const;
  void Answered(const Announced& answered);
  Status Violation(const std::string& what) const;
  void AppendAcknowledgement();

  const BulkClientOptions& options_;
  const Endpoint& endpoint_;
  Fd fd_;
  uint64_t number_;
  std::function<void(ClientCall*)> settled_;
  std::function<void(ClientConnection*)> refill_;
  Phase phase_ = Phase::kConnecting;
  AnswerReader reader_;

  std::vector<std::byte> out_;
  size_t out_sent_ = 0;
  std::map<uint64_t, Asked> asked_;
  uint64_t next_request_ = 1;
  size_t items_in_flight_ = 0;
  uint64_t bytes_in_flight_ = 0;

  // Of the group that is being received: the first one's body comes next.
  std::deque<Announced> announced_;
  uint64_t told_ = 0;        // received bytes that the node was told of
  uint64_t owed_bytes_ = 0;  // of large bodies since then
  Time opened_;
  Time last_activity_;
};

}  // namespace holdfast::bulk
