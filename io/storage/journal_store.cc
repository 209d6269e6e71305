// SPDX-License-Identifier: Apache-2.0
#include "io/storage/journal_store.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

namespace holdfast::storage {

Result<std::unique_ptr<JournalStore>> JournalStore::Open(net::EventLoop* loop,
                                                         const std::string& path, uint64_t bytes) {
  std::unique_ptr<JournalStore> store(new JournalStore(loop));
  auto log = disk::CommitLog::Open({.path = path, .bytes = bytes, .sync = true});
  if (!log.ok()) return log.status();
  store->log_ = *std::move(log);
  store->log_->WaitForGo();
  std::error_code failed;
  store->bytes_ = std::filesystem::file_size(path, failed) - disk::kHeadsBytes;
  HF_RETURN_IF_ERROR(store->Load().Annotate(path));
  return store;
}

Status JournalStore::Load() {
  Status wrong;
  HF_RETURN_IF_ERROR(log_->Replay([&](uint64_t position, ByteView frame) {
    if (wrong.ok()) wrong = LoadFrame(position, frame);
  }));
  durable_ = next_;
  return wrong;
}

Status JournalStore::LoadFrame(uint64_t position, ByteView frame) {
  if (frame.size() < kHeadBytes) return Status::Corrupt("has a record that is no frame");
  Result<FrameHead> head = DecodeHead(frame.first(kHeadBytes));
  const ByteView body = frame.subspan(kHeadBytes);
  if (!head.ok() || !IsBodyOf(*head, body)) return Status::Corrupt("has a record that is no frame");
  if (head->kind == Kind::kTruncate) {
    wanted_ = std::max(wanted_, head->a);
    return {};
  }
  const bool follows = places_.empty() ? head->a > 0 : head->a == next_;
  if (head->kind != Kind::kAppend || !follows || !HasRecords(body, head->count))
    return Status::Corrupt("has frames in it that do not follow each other");
  next_ = head->a + head->count;
  places_.push_back({head->a, next_, position, frame.size()});
  wanted_ = std::max(wanted_, places_.front().first);
  return {};
}

// A failure of the device comes to `done`; what has no room does not.
Status JournalStore::Log(ByteView frame, std::function<void(const Status&, uint64_t)> done) {
  const uint64_t bytes = frame.size();
  auto shared = std::make_shared<decltype(done)>(std::move(done));
  Status taken =
      log_->AppendThen(frame, [this, shared, bytes](const Status& status, uint64_t position) {
        deliveries_.Add([this, shared, bytes, status, position] {
          in_flight_ -= bytes;
          if (!status.ok()) failure_ = status;
          Ended(bytes);
          (*shared)(status, position);
        });
      });
  if (taken.ok()) in_flight_ += bytes;
  PaceLater();
  return taken;
}

// --- Pacing --------------------------------------------------------------------------------------

// When all that the socket had was taken.
void JournalStore::PaceLater() {
  if (going_ || std::exchange(pacing_, true)) return;
  loop_->Post([this, alive = alive_] {
    if (*alive) Pace();
  });
}

void JournalStore::Pace() {
  pacing_ = false;
  if (going_) return;
  // What came while the last group was written, and about as much as it had.
  if (worth_ == 0) worth_ = in_flight_ + group_bytes_ / 8 * 7;
  if (in_flight_ == 0) return;
  const Time now = loop_->Now(), until = ended_ + std::min(sync_ / 4, kLongestWait);
  if (in_flight_ < worth_ && in_flight_ < kMaxInFlight && now < until) {
    pacing_ = true;
    loop_->At(until, [this, alive = alive_] {
      if (*alive) Pace();
    });
    return;
  }
  going_ = true;
  began_ = now;
  group_bytes_ = 0;
  log_->Go();
}

// A part of a group; the rest of it is reported in the same pass, or hardly later.
void JournalStore::Ended(uint64_t bytes) {
  group_bytes_ += bytes;
  if (!std::exchange(going_, false)) return;
  ended_ = loop_->Now();
  sync_ = (3 * sync_ + (ended_ - began_)) / 4;
  worth_ = 0;
  PaceLater();
}

Status JournalStore::Append(const FrameHead& head, ByteView frame,
                            std::function<void(const Status&)> done) {
  Place place{.first = head.a, .end = head.a + head.count, .bytes = frame.size()};
  HF_RETURN_IF_ERROR(Log(frame, [this, place, done = std::move(done)](const Status& status,
                                                                      uint64_t position) mutable {
    if (status.ok()) {
      place.position = position;
      places_.push_back(place);
      durable_ = place.end;
    }
    done(status);
  }));
  next_ = place.end;
  return {};
}

// First the room, so that there is some for the frame that says the number.
Status JournalStore::Truncate(uint64_t before) {
  if (before > durable_) return Status::Corrupt("a truncation of what is not durable");
  if (before <= wanted_ || places_.empty()) return {};
  wanted_ = before;
  while (places_.size() > 1 && places_[1].first <= before) places_.pop_front();
  HF_RETURN_IF_ERROR(log_->Truncate(places_.front().position));
  std::array<std::byte, kHeadBytes> frame;
  StoreHead({.kind = Kind::kTruncate, .a = before}, {}, frame.data());
  // Without it some records come again after a restart that need not.
  static_cast<void>(Log(frame, [](const Status&, uint64_t) {}));
  return {};
}

Result<uint64_t> JournalStore::Replay(uint64_t from, uint64_t bytes,
                                      const std::function<void(Buffer)>& each) {
  auto place = std::partition_point(places_.begin(), places_.end(),
                                    [from](const Place& p) { return p.end <= from; });
  for (uint64_t sent = 0; place != places_.end() && sent < bytes; ++place) {
    Buffer frame(place->bytes);
    HF_RETURN_IF_ERROR(log_->Read(place->position, frame.span()));
    Result<FrameHead> head = DecodeHead(frame.view().first(kHeadBytes));
    if (!head.ok() || head->a != place->first ||
        !IsBodyOf(*head, frame.view().subspan(kHeadBytes))) {
      return Status::Corrupt("record " + std::to_string(place->first) + " is damaged");
    }
    sent += frame.size();
    from = place->end;
    each(std::move(frame));
  }
  return from;
}

}  // namespace holdfast::storage
