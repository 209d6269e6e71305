// SPDX-License-Identifier: Apache-2.0
#include "io/storage/remote_mover.h"

#include <random>
#include <utility>
#include <vector>

namespace holdfast::storage {
namespace {

uint64_t NewKey() {
  std::random_device entropy;
  return (uint64_t{entropy()} << 32 | entropy()) | 1;
}

}  // namespace

RemoteMover::RemoteMover(net::EventLoop* io, RemoteOptions options, std::string segments_at,
                         Clock* clock, RemoteDisk* disk, Post post)
    : io_(io),
      options_(std::move(options)),
      clock_(clock),
      disk_(disk),
      deliveries_(std::move(post)),
      link_(io, options_,
            {.kind = Kind::kOpenMover,
             .bytes = disk->segment_bytes(),
             .segments = disk->segments(),
             .endpoint = std::move(segments_at)},
            {.up =
                 [this](const Opened&) {
                   up_ = true;
                   return Status();
                 },
             .down = [this] { FailAll(Status::Unavailable("the reclaim worker is away")); },
             .refused = [this](const Status& why) { FailAll(why); },
             .tick = [this](Time now) { OnTick(now); },
             .place = [](const FrameHead&) { return ByteSpan(); },
             .frame = [this](const FrameHead& head, ByteView body) { return OnFrame(head, body); },
             .busy = [this] { return !calls_.empty(); }}) {}

RemoteMover::~RemoteMover() { *alive_ = false; }

void RemoteMover::Start() {
  io_->Post([this, alive = alive_] {
    if (*alive) link_.Start();
  });
}

// --- The deciding thread -------------------------------------------------------------------------

void RemoteMover::Move(SegmentMove move, std::function<void(Moved)> done) {
  const uint64_t id = next_id_++;
  Job& job = jobs_[id];
  job = {.key = NewKey(), .move = std::move(move), .done = std::move(done)};
  if (!up_) {
    job.moved.status =
        Status::Unavailable("the reclaim worker at " + options_.endpoint + " is not connected");
    return deliveries_.Add([this, id] { Finish(id); });
  }
  disk_->Permit(job.key, job.move.to, job.move.offset, job.move.bytes(),
                [this, alive = alive_, id](const Status& status) {
                  if (*alive) Permitted(id, status);
                });
}

void RemoteMover::Permitted(uint64_t id, const Status& status) {
  Job& job = jobs_[id];
  if (!status.ok()) {
    job.moved.status = status;
    return Finish(id);  // one that was not answered in time has ended with its connection
  }
  Call call{.head = {.kind = Kind::kMove,
                     .tag = id,
                     .a = job.move.offset,
                     .b = job.key,
                     .count = job.move.to},
            .body = EncodeMove(job.move),
            .records = job.move.records.size()};
  io_->Post([this, alive = alive_, id, call = std::make_shared<Call>(std::move(call))] {
    if (*alive) Ask(id, std::move(*call));
  });
}

void RemoteMover::Answered(uint64_t id, Moved moved) {
  jobs_[id].moved = std::move(moved);
  Revoke(id);
}

// Until the key is known to open nothing. A server that is away ends all permits before it is back, and
// one that refuses this node for good knows none of its.
void RemoteMover::Revoke(uint64_t id) {
  disk_->Revoke(jobs_[id].key, [this, alive = alive_, id](const Status& status) {
    if (!*alive) return;
    const bool away = status.code() == Code::kTimeout || status.code() == Code::kUnavailable;
    if (!away) return Finish(id);
    clock_->At(clock_->Now() + kBetweenRevocations, [this, alive = alive_, id] {
      if (*alive) Revoke(id);
    });
  });
}

void RemoteMover::Finish(uint64_t id) {
  auto job = jobs_.extract(id);
  job.mapped().done(std::move(job.mapped().moved));
}

// --- The loop ------------------------------------------------------------------------------------

void RemoteMover::Ask(uint64_t id, Call call) {
  if (link_.stream() == nullptr)
    return Deliver(id, {.status = Status::Unavailable("the reclaim worker is away")});
  call.until = io_->Now() + options_.patience;
  link_.stream()->AddOwned(call.head, std::move(call.body));
  calls_.emplace(id, std::move(call));
  link_.Flush();
}

Status RemoteMover::OnFrame(const FrameHead& head, ByteView body) {
  auto call = calls_.find(head.tag);
  if (call == calls_.end()) return {};  // it was given up
  if (head.kind == Kind::kFailed) {
    calls_.erase(call);
    Deliver(head.tag, {.status = Status(
                           head.code, std::string(AsText(body)) + " (" + options_.endpoint + ")")});
    return {};
  }
  const size_t records = call->second.records;
  if (head.kind != Kind::kMoved || body.size() != (records + 63) / 64 * sizeof(uint64_t))
    return Status::Corrupt("the reclaim worker answered something else than was asked");
  calls_.erase(call);
  Deliver(head.tag, {.right = Bitmap::FromBytes(body, records)});
  return {};
}

void RemoteMover::OnTick(Time now) {
  std::vector<uint64_t> late;
  for (const auto& [id, call] : calls_) {
    if (now > call.until) late.push_back(id);
  }
  for (const uint64_t id : late) {
    calls_.erase(id);
    Deliver(id, {.status = Status::Timeout("the reclaim worker at " + options_.endpoint +
                                           " has not answered within " +
                                           FormatDuration(options_.patience))});
  }
}

void RemoteMover::FailAll(const Status& why) {
  up_ = false;
  for (auto calls = std::exchange(calls_, {}); const auto& [id, call] : calls)
    Deliver(id, {.status = why});
}

void RemoteMover::Deliver(uint64_t id, Moved moved) {
  deliveries_.Add([this, id, moved = std::move(moved)] { Answered(id, moved); });
}

}  // namespace holdfast::storage
