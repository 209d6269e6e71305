// SPDX-License-Identifier: Apache-2.0
// One thread of the origin: its listener, its connections, and the queue of answers that wait for
// their delay.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "tests/origin/response.h"

namespace holdfast::origin {

class Origin;

class OriginLoop {
 public:
  explicit OriginLoop(Origin* origin) : origin_(origin) {}
  ~OriginLoop();
  OriginLoop(const OriginLoop&) = delete;
  OriginLoop& operator=(const OriginLoop&) = delete;

  // Listens on `port`, or on a free one for 0; answers which.
  Result<uint16_t> Listen(uint16_t port);
  void Run();
  // Ends Run; any thread.
  void Stop();

 private:
  enum class State : uint8_t { kReading, kDelayed, kSending, kHanging };
  struct Connection {
    int fd = -1;
    uint64_t id = 0;
    State state = State::kReading;
    bool wants_write = false;
    std::string input;
    Response response;
    uint64_t sent = 0;  // of head, body and the end of a chunk
  };
  struct Due {
    int64_t when_us;
    int fd;
    uint64_t id;
    bool operator>(const Due& o) const { return when_us > o.when_us; }
  };

  void Accept();
  void OnReadable(Connection& connection);
  void NextRequest(Connection& connection);
  void Send(Connection& connection);
  // Fills `parts` with what comes next, at most `most` bytes of body; false at the end.
  size_t Gather(Connection& connection, uint64_t most, iovec* parts);
  void FinishResponse(Connection& connection);
  void WatchWrites(Connection& connection, bool on);
  void Close(Connection& connection, bool reset);
  void ArmTimer();
  void RunDue();
  uint64_t TakeAllowance(uint64_t wanted);
  Connection* Find(int fd, uint64_t id);

  Origin* const origin_;
  int epoll_ = -1;
  int listener_ = -1;
  int timer_ = -1;
  int stop_ = -1;
  uint64_t next_id_ = 1;
  std::vector<std::unique_ptr<Connection>> connections_;  // by descriptor
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  int64_t armed_us_ = 0;
  uint64_t tokens_ = 0;  // bytes that the rate allows now
  int64_t refilled_us_ = 0;
};

}  // namespace holdfast::origin
