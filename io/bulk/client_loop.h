// SPDX-License-Identifier: Apache-2.0
// The reader's side of the bulk protocol without a thread of its own: for a thread that has nothing
// else to do while it reads, it saves the two wake-ups that a BulkClient costs.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "io/bulk/bulk_client.h"
#include "io/bulk/client_connection.h"
#include "io/bulk/socket.h"

namespace holdfast::bulk {

// Belongs to one thread: all methods are called on it, and every `each` and `placed` runs inside RunOnce, Submit
// or the destructor.
class ClientLoop {
 public:
  explicit ClientLoop(BulkClientOptions options);
  // Everything that is still open ends with kUnavailable.
  ~ClientLoop();
  ClientLoop(const ClientLoop&) = delete;

  // As BulkClient::Read. Not from inside an `each` (post it to yourself).
  void Submit(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
              Time deadline, std::function<void(size_t, BulkOutcome)> each,
              std::function<void(size_t, disk::Place)> placed = {});
  // Waits at most `most` for something to happen, and deals with it.
  void RunOnce(Duration most);
  // RunOnce also returns, after calling `run`, when `fd` is readable.
  void Watch(int fd, std::function<void()> run);
  // Items that are not done.
  size_t items_left() const { return items_left_; }

 private:
  // Where a connection leads, by its endpoint.
  struct Node {
    Endpoint endpoint;
    std::vector<std::unique_ptr<ClientConnection>> connections;
    std::deque<ClientCall*> queue;  // calls with items that were not asked for
    int failures = 0;               // in a row
    Time retry_at;
    Status last_error;
  };
  struct OpenCall {
    Node* node = nullptr;
    std::unique_ptr<ClientCall> call;
  };
  struct Watched {
    Node* node = nullptr;
    ClientConnection* connection = nullptr;
    uint32_t events = 0;
  };

  Result<Node*> NodeOf(const std::string& endpoint);
  void ForgetIdle();
  void Serve(Node* node);
  void Refill(Node* node, ClientConnection* connection);
  ClientCall* NextCall(Node* node);
  size_t ShareOf(const ClientCall& call) const;
  void FlushAll(Node* node);
  bool Connect(Node* node);
  void CountFailure(Node* node, const Status& why);
  ClientConnection* Roomiest(Node* node, const ClientCall& call) const;
  void Handle(uint64_t number, uint32_t events);
  void Expire();
  void Tick();
  // Ends every item of the call that is not done.
  void FinishRest(ClientCall* call, const Status& why);
  void FailQueue(Node* node, const Status& why);
  std::unique_ptr<ClientConnection> Drop(Node* node, ClientConnection* connection);
  // Drops it; what was asked for there ends with `why`, and new Reads for a while if that is a
  // failure.
  void Break(Node* node, ClientConnection* connection, const Status& why);
  // Forgets the call when nobody needs it any more.
  void Settle(ClientCall* call);

  BulkClientOptions options_;
  Fd epoll_;
  std::map<std::string, Node> nodes_;
  std::map<uint64_t, Watched> watched_;  // by the connection's number
  std::map<uint64_t, OpenCall> calls_;
  std::set<std::pair<Time, uint64_t>> deadlines_;  // of calls that are not finished
  uint64_t next_call_ = 1;
  uint64_t next_connection_ = 1;
  size_t items_left_ = 0;
  std::function<void()> on_watched_fd_;
  Time now_;
  Time next_tick_ = Time::Max();
};

}  // namespace holdfast::bulk
