// SPDX-License-Identifier: Apache-2.0
#include "io/far/http_store.h"

#include <pthread.h>

#include <algorithm>
#include <limits>
#include <random>

namespace holdfast::far {
namespace {

constexpr Duration kLongestWait = 1s;
constexpr size_t kAnswersTogether = 16;
constexpr Duration kHoldAnswers = 1ms;

// Makes a heap with the earliest retry in front.
bool Later(const std::unique_ptr<HttpCall>& a, const std::unique_ptr<HttpCall>& b) {
  return a->retry_at > b->retry_at;
}

uint64_t SeedOf(const FarOptions& options, uint32_t number) {
  return options.seed != 0 ? options.seed + number : std::random_device()();
}

// The shares add up to the whole, and nobody has none.
uint32_t ShareOf(uint32_t connections, const FarLimits& limits, uint32_t number) {
  const uint32_t share = connections / limits.http_threads;
  return std::max(share + (number < connections % limits.http_threads ? 1 : 0), 1u);
}

Duration SweepPeriod(const FarTimeouts& timeouts) {
  return std::clamp<Duration>(std::min(timeouts.stall, timeouts.attempt) / 8, 5ms, 250ms);
}

}  // namespace

Result<std::unique_ptr<HttpStore>> HttpStore::Open(const FarOptions& options, uint32_t number,
                                                   Outbox* outbox, Spending* spending) {
  Result<std::unique_ptr<CurlMulti>> multi =
      CurlMulti::Open(ShareOf(options.limits.max_connections, options.limits, number));
  if (!multi.ok()) return multi.status();
  std::unique_ptr<HttpStore> store(new HttpStore(options, number, outbox, spending));
  store->multi_ = std::move(*multi);
  store->thread_ = std::thread([self = store.get()] { self->Run(); });
  return store;
}

HttpStore::HttpStore(const FarOptions& options, uint32_t number, Outbox* outbox, Spending* spending)
    : options_(options),
      outbox_(outbox),
      spending_(spending),
      maker_(options.s3),
      limit_(ShareOf(options.limits.min_connections, options.limits, number),
             ShareOf(options.limits.max_connections, options.limits, number)),
      random_(SeedOf(options, number)) {}

HttpStore::~HttpStore() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  multi_->Wake();
  thread_.join();
  running_.clear();  // before the multi handle that their handles hang on
}

void HttpStore::Submit(CallPtr call) {
  calls_.fetch_add(1, std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(call));
  }
  // A thread that is awake looks into the inbox before it sleeps, so a busy one costs no system
  // call.
  if (sleeping_.exchange(false)) multi_->Wake();
}

void HttpStore::Run() {
  ::pthread_setname_np(::pthread_self(), "far-http");
  while (!stopping_) {
    const Time now = options_.now();
    TakeInbox();
    StartDueRetries(now);
    if (now >= next_sweep_) Sweep(now);
    if (now >= next_deadline_) ExpireDeadlines(now);
    StartQueued(now);
    if (MoreIsReady(now)) continue;
    outbox_->Add(answers_);
    answers_since_ = now;
    sleeping_ = true;
    bool more = false;
    {
      std::lock_guard lock(mutex_);
      more = !inbox_.empty();
    }
    multi_->Wait(more ? Duration(0) : UntilNextEvent(now));
    sleeping_ = false;
    CollectDone();
  }
}

// To deliver is to wake the deciding thread, so answers wait for those that come with what the
// sockets have already: only a few, not for long (the sockets of long transfers have something at
// all times), and not when the deciding thread is what everything waits for.
bool HttpStore::MoreIsReady(Time now) {
  if (answers_.empty() || answers_.size() >= kAnswersTogether || queue_.empty()) return false;
  if (now - answers_since_ >= kHoldAnswers) return false;
  if (!multi_->Wait(Duration(0))) return false;
  CollectDone();
  return true;
}

void HttpStore::TakeInbox() {
  std::vector<CallPtr> arrived;
  {
    std::lock_guard lock(mutex_);
    arrived.swap(inbox_);
  }
  for (CallPtr& call : arrived) {
    call->ask.kind = call->kind;
    call->ask.uri = call->get.uri;
    call->ask.s3 = !call->name.bucket.empty();
    call->ask.is_signed = maker_.Signs(call->name);
    call->ask.region = options_.s3.region;
    call->ask.etag = call->get.etag;
    call->ask.offset = call->get.offset;
    call->ask.length = call->get.length;
    call->ask.whole = call->get.whole;
    call->ask.ranged = call->kind == Ask::Kind::kGet && (!call->get.whole || call->get.offset > 0);
    next_deadline_ = std::min(next_deadline_, call->get.deadline);
    queue_.push_back(std::move(call));
  }
}

HttpStore::Running& HttpStore::FreeTransfer() {
  if (free_.empty()) {
    free_.push_back(running_.size());
    running_.push_back({std::make_unique<Transfer>(*multi_, options_, running_.size()), nullptr});
  }
  Running& running = running_[free_.back()];
  free_.pop_back();
  return running;
}

void HttpStore::StartQueued(Time now) {
  while (running_.size() - free_.size() < limit_.limit() && !queue_.empty()) {
    Running& running = FreeTransfer();
    running.call = std::move(queue_.front());
    queue_.pop_front();
    HttpCall& call = *running.call;
    ++call.attempts;
    spending_->CountRequest(call.kind, true, call.attempts > 1);
    running.transfer->Begin(&call, maker_, now);
  }
}

void HttpStore::CollectDone() {
  CURLcode code = CURLE_OK;
  const Time now = options_.now();
  while (CURL* easy = multi_->NextDone(&code)) {
    EndTransfer(running_[Transfer::Of(easy)->slot()], code, now);
  }
}

void HttpStore::EndTransfer(Running& running, CURLcode code, Time now) {
  HttpCall::Answer answer;
  Transfer& transfer = *running.transfer;
  Verdict verdict = transfer.End(code, answer);
  spending_->CountBytes(transfer.received(), true);
  if (verdict.status.ok()) {
    // What waits in the queue waits for the limit alone.
    limit_.OnDone(now, now - transfer.began(), transfer.received(), !queue_.empty());
  } else if (verdict.slow_down) {
    limit_.OnSlowDown(now);
  }
  free_.push_back(transfer.slot());
  Decide(std::move(running.call), std::move(verdict), std::move(answer), transfer.retry_after(),
         now);
}

void HttpStore::Decide(CallPtr call, Verdict verdict, HttpCall::Answer answer,
                       std::optional<Duration> retry_after, Time now) {
  if (verdict.retry == Retry::kUnranged && std::exchange(call->ask.ranged, false)) {
    queue_.push_front(std::move(call));
    return;
  }
  const bool again = verdict.retry == Retry::kYes ||
                     (verdict.retry == Retry::kOnce && !std::exchange(call->once_used, true));
  if (!again || call->attempts >= options_.timeouts.max_attempts) {
    answer.status = std::move(verdict.status);
    if (again) {
      answer.status = Status(answer.status.code(), answer.status.message() + "; tried " +
                                                       std::to_string(call->attempts) + " times");
    }
    return Answer(std::move(call), std::move(answer));
  }
  call->retry_at = now + std::max(Backoff(call->attempts), retry_after.value_or(Duration(0)));
  if (call->retry_at >= call->get.deadline) {
    answer.status = Status::Timeout(verdict.status.message() +
                                    "; the next attempt would come after the deadline");
    return Answer(std::move(call), std::move(answer));
  }
  call->last = std::move(verdict.status);
  waiting_.push_back(std::move(call));
  std::push_heap(waiting_.begin(), waiting_.end(), Later);
}

void HttpStore::Answer(CallPtr call, HttpCall::Answer answer) {
  if (!answer.status.ok()) spending_->CountError();
  calls_.fetch_sub(1, std::memory_order_relaxed);
  // std::function must be copyable, so the call travels as a shared pointer that nobody shares.
  answers_.push_back([call = std::shared_ptr<HttpCall>(std::move(call)),
                      answer = std::move(answer)]() mutable { call->Finish(std::move(answer)); });
}

// "Full jitter": Brooker, Exponential Backoff and Jitter, AWS Architecture Blog, 2015.
Duration HttpStore::Backoff(uint32_t attempts) {
  const FarTimeouts& timeouts = options_.timeouts;
  const int64_t doubled = timeouts.backoff.count() << std::min<uint32_t>(attempts - 1, 20);
  const int64_t limit = std::min(doubled, timeouts.backoff_limit.count());
  return Duration(static_cast<int64_t>(random_.Below(static_cast<uint64_t>(limit) + 1)));
}

void HttpStore::StartDueRetries(Time now) {
  while (!waiting_.empty() && waiting_.front()->retry_at <= now) {
    std::pop_heap(waiting_.begin(), waiting_.end(), Later);
    queue_.push_front(std::move(waiting_.back()));
    waiting_.pop_back();
  }
}

void HttpStore::Sweep(Time now) {
  const FarTimeouts& timeouts = options_.timeouts;
  next_sweep_ = now + SweepPeriod(timeouts);
  for (Running& running : running_) {
    if (running.call == nullptr) continue;
    const std::string uri = running.call->get.uri;
    if (running.transfer->Stalled(now, timeouts.stall, timeouts.stall_bytes)) {
      Abort(running,
            Status::Unavailable(uri + ": no more bytes came for " + FormatDuration(timeouts.stall)),
            Retry::kYes, now);
    } else if (now - running.transfer->began() >= timeouts.attempt) {
      Abort(running,
            Status::Unavailable(uri + ": not done after " + FormatDuration(timeouts.attempt)),
            Retry::kYes, now);
    }
  }
}

void HttpStore::Abort(Running& running, Status why, Retry retry, Time now) {
  running.transfer->Cancel();
  spending_->CountBytes(running.transfer->received(), true);
  free_.push_back(running.transfer->slot());
  Decide(std::move(running.call), {std::move(why), retry}, {}, std::nullopt, now);
}

void HttpStore::ExpireDeadlines(Time now) {
  next_deadline_ = Time::Max();
  const auto expired = [&](const CallPtr& call) {
    if (call->get.deadline <= now) return true;
    next_deadline_ = std::min(next_deadline_, call->get.deadline);
    return false;
  };
  const auto text = [](const HttpCall& call) {
    const std::string last = call.last.ok() ? "" : "; before that: " + call.last.message();
    return Status::Timeout(call.get.uri + ": its deadline passed" + last);
  };
  const auto expire_all = [&](auto& calls) {
    for (CallPtr& call : calls) {
      if (!expired(call)) continue;
      HttpCall::Answer answer;
      answer.status = text(*call);
      Answer(std::move(call), std::move(answer));
    }
    std::erase(calls, nullptr);
  };
  expire_all(queue_);
  expire_all(waiting_);
  std::make_heap(waiting_.begin(), waiting_.end(), Later);
  for (Running& running : running_) {
    if (running.call == nullptr || !expired(running.call)) continue;
    Abort(running, text(*running.call), Retry::kNo, now);
  }
}

Duration HttpStore::UntilNextEvent(Time now) const {
  Time next = std::min(now + kLongestWait, next_deadline_);
  if (free_.size() < running_.size()) next = std::min(next, next_sweep_);
  if (!waiting_.empty()) next = std::min(next, waiting_.front()->retry_at);
  return next - now;
}

}  // namespace holdfast::far
