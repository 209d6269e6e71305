// SPDX-License-Identifier: Apache-2.0
// The far stores behind HTTP: an I/O thread that queues calls, keeps as many transfers going as
// pays, and tries again what may succeed. Bodies go from curl's buffer straight to the caller's.
//
// A call:
//   Submit -> queue -> Transfer -> verdict -> done, or wait (backoff with full jitter) -> queue -> ...
// Its deadline ends it in every one of these states.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "io/far/connection_limit.h"
#include "io/far/curl_multi.h"
#include "io/far/http_call.h"
#include "io/far/outbox.h"
#include "io/far/spending.h"
#include "io/far/transfer.h"

namespace holdfast::far {

class HttpStore {
 public:
  // All of them outlive the store; `options.now` is set. One of options.limits.http_threads stores,
  // each with its share of the connections; `number` counts from 0.
  static Result<std::unique_ptr<HttpStore>> Open(const FarOptions& options, uint32_t number,
                                                 Outbox* outbox, Spending* spending);
  // Ends every transfer and joins the thread; what was not answered stays unanswered.
  ~HttpStore();

  // Deciding thread. `call->name` is set.
  void Submit(std::unique_ptr<HttpCall> call);
  // Accepted and not yet answered.
  uint64_t calls() const { return calls_.load(std::memory_order_relaxed); }

 private:
  using CallPtr = std::unique_ptr<HttpCall>;
  struct Running {
    std::unique_ptr<Transfer> transfer;
    CallPtr call;  // null: the transfer is free
  };

  HttpStore(const FarOptions& options, uint32_t number, Outbox* outbox, Spending* spending);
  void Run();
  bool MoreIsReady(Time now);
  void TakeInbox();
  void StartQueued(Time now);
  void CollectDone();
  void EndTransfer(Running& running, CURLcode code, Time now);
  void Decide(CallPtr call, Verdict verdict, HttpCall::Answer answer,
              std::optional<Duration> retry_after, Time now);
  void Answer(CallPtr call, HttpCall::Answer answer);
  void StartDueRetries(Time now);
  // Stalls, attempts that take too long, and deadlines.
  void Sweep(Time now);
  void ExpireDeadlines(Time now);
  void Abort(Running& running, Status why, Retry retry, Time now);
  Duration Backoff(uint32_t attempts);
  Duration UntilNextEvent(Time now) const;
  Running& FreeTransfer();

  const FarOptions& options_;
  Outbox* const outbox_;
  Spending* const spending_;
  HttpRequestMaker maker_;
  ConnectionLimit limit_;
  Random random_;
  std::unique_ptr<CurlMulti> multi_;

  std::mutex mutex_;
  std::vector<CallPtr> inbox_;
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> calls_{0};

  // The I/O thread's own.
  std::deque<CallPtr> queue_;
  std::vector<CallPtr> waiting_;  // a heap by retry_at
  std::vector<Running> running_;
  std::vector<size_t> free_;          // of running_
  Time next_deadline_ = Time::Max();  // no call's deadline is earlier
  Time next_sweep_;
  std::vector<std::function<void()>> answers_;
  Time answers_since_;  // when the wait began that brought the first of them
  std::thread thread_;
};

}  // namespace holdfast::far
