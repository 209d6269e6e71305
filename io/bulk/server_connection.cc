// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/server_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace holdfast::bulk {
namespace {

constexpr size_t kInputBytes = 64 * kKiB;
constexpr Duration kHelloTimeout = 10s;
constexpr int kMaxLooks = 3;
constexpr int kFlushesPerTurn = 64;  // then the other connections of the thread have theirs
constexpr size_t kSpareBatches = 64;
constexpr size_t kPrefetchItems = 32;

}  // namespace

ServerConnection::ServerConnection(Fd fd, bool tcp, Status refusal, ServerShared* shared,
                                   MissDone miss_done, Time now)
    : fd_(std::move(fd)),
      shared_(shared),
      miss_done_(std::move(miss_done)),
      out_(fd_.get(), tcp ? shared->region_fd : -1, shared->options.sendfile_bytes, &shared->pins),
      in_(kInputBytes),
      last_activity_(now),
      opened_(now) {
  shared_->connections.fetch_add(1, std::memory_order_relaxed);
  if (!refusal.ok()) Refuse(refusal);
}

ServerConnection::~ServerConnection() {
  shared_->misses_now.fetch_sub(static_cast<uint32_t>(waiting_.size()), std::memory_order_relaxed);
  shared_->connections.fetch_sub(1, std::memory_order_relaxed);
}

bool ServerConnection::OnReadable(Time now) {
  if (in_begin_ > 0) {
    std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
    in_end_ -= in_begin_;
    in_begin_ = 0;
  }
  ssize_t n = recv(fd_.get(), in_.data() + in_end_, in_.size() - in_end_, MSG_DONTWAIT);
  if (n == 0) return false;
  if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  last_activity_ = now;
  in_end_ += static_cast<size_t>(n);
  return TakeInput(now) && Serve(now);
}

bool ServerConnection::OnWritable(Time now) {
  blocked_ = false;
  return Serve(now);
}

bool ServerConnection::TakeInput(Time now) {
  while (in_begin_ < in_end_) {
    ByteView rest(in_.data() + in_begin_, in_end_ - in_begin_);
    if (phase_ == Phase::kRefused) {
      in_begin_ = in_end_ = 0;  // whatever it says until it reads why and leaves
      return true;
    }
    if (phase_ == Phase::kHello) {
      bool whole = rest.size() >= kClientHelloBytes;
      if (!whole && MayBeHello(rest)) return true;
      if (!TakeHello(rest.first(std::min(rest.size(), kClientHelloBytes)))) continue;
      in_begin_ += kClientHelloBytes;
      continue;
    }
    auto length = BatchLength(rest);
    if (!length.ok()) return Abort(length.status().message());
    if (!length->has_value() || **length > rest.size()) {
      if (length->has_value() && **length > in_.size()) in_.resize(**length);
      return true;
    }
    if (!TakeBatch(rest.first(**length), now)) return false;
    in_begin_ += **length;
  }
  return true;
}

// False when the reader is refused.
bool ServerConnection::TakeHello(ByteView bytes) {
  auto hello = DecodeClientHello(bytes);
  Status refusal = hello.status();
  if (hello.ok() && hello->cluster_hash != shared_->cluster_hash) {
    refusal = Status::Denied("this node belongs to another cluster than the reader; its own is '" +
                             shared_->options.cluster + "'");
  }
  if (hello.ok() && !TokensEqual(hello->token, shared_->options.token)) {
    refusal = Status::Denied("the reader's token is not this cluster's; check its cluster key");
  }
  if (!refusal.ok()) {
    Refuse(refusal);
    return false;
  }
  out_.AddRaw(Encode(ServerHello{}));
  phase_ = Phase::kServing;
  return true;
}

void ServerConnection::Refuse(const Status& why) {
  std::string_view text = std::string_view(why.message()).substr(0, kMaxTextBytes);
  ServerHello hello{.code = why.code(), .text_bytes = static_cast<uint32_t>(text.size())};
  out_.AddRaw(Encode(hello));
  out_.AddRaw(AsBytes(text));
  phase_ = Phase::kRefused;
  shared_->refused.fetch_add(1, std::memory_order_relaxed);
  // A hello fits every socket buffer. Closing at once would tear the text away when the reader has
  // already sent more.
  if (out_.Flush() == Outbox::State::kIdle) shutdown(fd_.get(), SHUT_WR);
}

bool ServerConnection::TakeBatch(ByteView bytes, Time now) {
  std::unique_ptr<Batch> batch;
  if (spare_batches_.empty()) {
    batch = std::make_unique<Batch>();
  } else {
    batch = std::move(spare_batches_.back());
    spare_batches_.pop_back();
  }
  batch->raw.assign(bytes.begin(), bytes.end());
  auto header = DecodeBatch(batch->raw, &batch->wants);
  if (!header.ok()) return Abort(header.status().message());
  if (!out_.Acknowledge(header->received)) {
    return Abort("it acknowledges bytes that were never sent");
  }
  if (header->count == 0) {
    spare_batches_.push_back(std::move(batch));
    return true;
  }
  batch->header = *header;
  batch->deadline = now + header->patience;
  batch->unanswered = header->count;
  batch->place = batches_.size();
  for (uint16_t i = 0; i < header->count; ++i) ready_.push_back({batch.get(), i, 0});
  batches_.push_back(std::move(batch));
  return true;
}

// Answers what is ready until there is no more, or the socket is full.
bool ServerConnection::Serve(Time now) {
  for (int flushes = 0; !blocked_ && flushes < kFlushesPerTurn; ++flushes) {
    // What the socket did not take goes first: nothing may be gathered, and pinned, behind it.
    Outbox::State state = out_.Flush();
    if (state == Outbox::State::kIdle) {
      AnswerReady(now);
      state = out_.Flush();
    }
    if (state == Outbox::State::kBroken) return false;
    blocked_ = state == Outbox::State::kBlocked;
    if (ready_.empty() && missed_.empty()) break;
  }
  if (out_.sent_bytes() != seen_sent_) {
    seen_sent_ = out_.sent_bytes();
    last_activity_ = now;
  }
  reading_paused_ = ready_.size() > shared_->options.max_queued_items;
  shared_->items.fetch_add(std::exchange(items_, 0), std::memory_order_relaxed);
  shared_->hits.fetch_add(std::exchange(hits_, 0), std::memory_order_relaxed);
  shared_->bytes.fetch_add(std::exchange(bytes_, 0), std::memory_order_relaxed);
  return true;
}

// As much as the outbox takes before it must be flushed.
void ServerConnection::AnswerReady(Time now) {
  while (!missed_.empty()) {
    const auto& [item, outcome] = missed_.front();
    if (!(outcome.place ? AnswerPlace(item, *outcome.place) : AnswerError(item, outcome.status)))
      return;
    missed_.pop_front();
  }
  for (size_t answered = 0; !ready_.empty(); ++answered) {
    if (answered % kPrefetchItems == 0) PrefetchReady();
    if (!AnswerItem(ready_.front(), now)) return;
    ready_.pop_front();
  }
}

// The index and the records of what is answered next come from memory together instead of one after
// the other.
void ServerConnection::PrefetchReady() {
  std::array<Oid, kPrefetchItems> oids;
  size_t n = std::min(ready_.size(), oids.size());
  uint64_t room = 0;
  for (size_t i = 0; i < n; ++i) {
    const Want& want = ready_[i].batch->wants[ready_[i].index];
    oids[i] = want.oid;
    room = std::max(room, want.room);
  }
  // What goes by sendfile is not looked at.
  shared_->reader->Prefetch({oids.data(), n}, room < shared_->options.sendfile_bytes ? room : 0);
}

// False when the outbox is full.
bool ServerConnection::AnswerItem(Item& item, Time now) {
  const Want& want = item.batch->wants[item.index];
  if (now >= item.batch->deadline) {
    return AnswerError(item, Status::Timeout("the reader's deadline passed before it was ready"));
  }
  LocalView view = shared_->reader->Pin(want.oid, want.version);
  if (!view) return Miss(item, now);
  uint64_t size = view.payload().size();
  if (size > want.room) {
    return AnswerError(item,
                       Status::NoSpace("the object has " + std::to_string(size) +
                                       " bytes, there is room for " + std::to_string(want.room)),
                       size);
  }
  // Only what is sent counts as a read, and once: not a look at its size, not a full outbox.
  if (!std::exchange(item.marked, true)) {
    std::lock_guard lock(shared_->marking);
    shared_->reader->MarkRead(view);
  }
  if (!out_.AddRecord(item.batch->header.request, item.index, std::move(view), now)) return false;
  ++hits_;
  bytes_ += size;
  Finish(item);
  return true;
}

// Hands it to the miss handler, or says why not. False when the outbox is full.
bool ServerConnection::Miss(Item item, Time now) {
  const Want& want = item.batch->wants[item.index];
  if (item.batch->header.mode == BulkMode::kLook || !shared_->on_miss) {
    return AnswerError(item, Status::NotFound("the object is not here"));
  }
  if (item.looks == kMaxLooks) {
    return AnswerError(
        item,
        Status::Unavailable("the object came and was reclaimed again before it could be sent"));
  }
  if (shared_->misses_now.fetch_add(1, std::memory_order_relaxed) >= shared_->options.max_misses) {
    shared_->misses_now.fetch_sub(1, std::memory_order_relaxed);
    return AnswerError(item,
                       Status::NoSpace("more than " + std::to_string(shared_->options.max_misses) +
                                       " reads wait for objects at this node"));
  }
  shared_->misses.fetch_add(1, std::memory_order_relaxed);
  uint64_t number = next_miss_++;
  ++item.looks;
  waiting_.emplace(number, item);
  std::function<void(disk::Place)> on_disk;
  const bool peek = want.room == 0 && want.size > 0;
  if (item.batch->header.places && (peek || want.room >= want.size)) {
    on_disk = [number, done = miss_done_](disk::Place place) { done(number, {.place = place}); };
  }
  shared_->on_miss(
      ReadMiss{.oid = want.oid,
               .version = want.version,
               .size = want.size,
               .name = std::string(want.name),
               .etag = std::string(want.etag),
               .mode = item.batch->header.mode,
               .patience = item.batch->deadline - now,
               .peek = peek,
               .on_disk = std::move(on_disk)},
      [number, done = miss_done_](Status status) { done(number, {.status = std::move(status)}); });
  return true;
}

bool ServerConnection::OnMissDone(uint64_t miss, const MissOutcome& outcome, Time now) {
  auto found = waiting_.find(miss);
  if (found == waiting_.end()) return true;  // its deadline passed before
  Item item = found->second;
  waiting_.erase(found);
  shared_->misses_now.fetch_sub(1, std::memory_order_relaxed);
  if (outcome.status.ok() && !outcome.place) {
    ready_.push_back(item);
  } else {
    missed_.emplace_back(item, outcome);
  }
  return Serve(now);
}

bool ServerConnection::AnswerError(const Item& item, const Status& status, uint64_t size) {
  Answer answer{.request = item.batch->header.request,
                .item = item.index,
                .code = status.code(),
                .size = size};
  if (!out_.AddError(answer, status.message())) return false;
  Finish(item);
  return true;
}

bool ServerConnection::AnswerPlace(const Item& item, const disk::Place& place) {
  Answer answer{.request = item.batch->header.request, .item = item.index, .place = true};
  if (!out_.AddPlace(answer, place)) return false;
  shared_->places.fetch_add(1, std::memory_order_relaxed);
  Finish(item);
  return true;
}

void ServerConnection::Finish(const Item& item) {
  ++items_;
  Batch* batch = item.batch;
  if (--batch->unanswered > 0) return;
  size_t place = batch->place;
  std::swap(batches_[place], batches_.back());
  batches_[place]->place = place;
  if (spare_batches_.size() < kSpareBatches) spare_batches_.push_back(std::move(batches_.back()));
  batches_.pop_back();
}

bool ServerConnection::OnTick(Time now) {
  bool stalled = blocked_ && now - last_activity_ > shared_->options.pin_timeout;
  if (stalled || out_.Overdue(now, shared_->options.pin_timeout)) {
    shared_->timed_out.fetch_add(1, std::memory_order_relaxed);
    return Abort("it does not take its answers");
  }
  if (phase_ != Phase::kServing) return now - opened_ <= kHelloTimeout;
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    Item item = it->second;
    if (now < item.batch->deadline) {
      ++it;
      continue;
    }
    missed_.emplace_back(
        item,
        MissOutcome{.status = Status::Timeout("the reader's deadline passed before it was ready")});
    shared_->misses_now.fetch_sub(1, std::memory_order_relaxed);
    it = waiting_.erase(it);
  }
  bool idle = batches_.empty() && out_.empty() && !out_.pinning();
  if (idle && now - last_activity_ > shared_->options.idle_timeout) return false;
  return Serve(now);
}

// Drops what is on its way: a peer that breaks the protocol or stalls must not keep segments.
bool ServerConnection::Abort(const std::string& why) {
  SetAbortOnClose(fd_.get());
  if (shared_->log != nullptr) shared_->log->Warn("bulk: a reader is disconnected: " + why);
  return false;
}

}  // namespace holdfast::bulk
