// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/client_connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace holdfast::bulk {
namespace {

// An acknowledgement of its own goes out when so much is owed, else with the next batch or the next
// tick.
constexpr uint64_t kOwedBytes = 4 * kMiB;
// The window is filled up again when this part of it is free: often enough that the node never
// waits, not so often that the system calls count.
constexpr uint32_t kRefillPart = 6;

}  // namespace

void ClientCall::Finish(size_t index, BulkOutcome outcome) {
  states[index] |= kDone;
  --left;
  --*items_left;
  each(index, std::move(outcome));
}

void ClientCall::FinishPlaced(size_t index, disk::Place place) {
  states[index] |= kDone;
  --left;
  --*items_left;
  placed(index, place);
}

ClientConnection::ClientConnection(const BulkClientOptions& options, const Endpoint& endpoint,
                                   Fd fd, uint64_t number, Time now,
                                   std::function<void(ClientCall*)> settled,
                                   std::function<void(ClientConnection*)> refill)
    : options_(options),
      endpoint_(endpoint),
      fd_(std::move(fd)),
      number_(number),
      settled_(std::move(settled)),
      refill_(std::move(refill)),
      reader_(fd_.get()),
      opened_(now),
      last_activity_(now) {
  ClientHello hello{.cluster_hash = Hash64(AsBytes(options.cluster)), .token = options.token};
  auto bytes = Encode(hello);
  out_.assign(bytes.begin(), bytes.end());
}

bool ClientConnection::HasRoom(const ClientCall& call) const {
  if (items_in_flight_ == 0) return true;
  if (items_in_flight_ >= options_.window_items || bytes_in_flight_ >= options_.window_bytes) {
    return false;
  }
  // Small refills would cost a system call each: wait until a part of the window is free.
  const size_t free_items = options_.window_items - items_in_flight_;
  const uint64_t free_bytes = options_.window_bytes - bytes_in_flight_;
  const size_t left = call.items.size() - call.next;
  // As if all that is left was like the next one.
  const uint64_t bytes_left = call.Weight(call.next) * left;
  return free_items >= std::min<size_t>(options_.window_items / kRefillPart, left) &&
         free_bytes >= std::min(options_.window_bytes / kRefillPart, bytes_left);
}

void ClientConnection::Ask(ClientCall* call, size_t most, Time now) {
  size_t free_items =
      items_in_flight_ < options_.window_items ? options_.window_items - items_in_flight_ : 1;
  most = std::min({most, free_items, call->items.size() - call->next, kMaxBatchItems});
  size_t at = out_.size();
  out_.resize(at + kBatchHeaderBytes);
  Asked asked{.call = call, .first = call->next};
  bool names = call->mode == BulkMode::kFetch;
  while (asked.count < most) {
    if (call->next == call->items.size()) break;
    // A batch is a run of items that are wanted.
    if (call->states[call->next] & ClientCall::kDone) {
      if (asked.count > 0) break;
      asked.first = ++call->next;
      continue;
    }
    const BulkItem& item = call->items[call->next];
    uint64_t weight = call->Weight(call->next);
    bool fits = bytes_in_flight_ + weight <= options_.window_bytes || items_in_flight_ == 0;
    size_t bytes = kWantBytes + (names ? item.name.size() + item.etag.size() : 0);
    if (!fits || out_.size() - at + bytes > kMaxBatchBytes) {
      if (asked.count > 0) break;
    }
    AppendWant({.oid = item.oid,
                .version = item.version,
                .size = item.size,
                .room = item.into.size(),
                .name = names ? std::string_view(item.name) : std::string_view(),
                .etag = names ? std::string_view(item.etag) : std::string_view()},
               &out_);
    ++call->next;
    ++asked.count;
    ++items_in_flight_;
    bytes_in_flight_ += weight;
  }
  if (asked.count == 0) return out_.resize(at);
  asked.unanswered = asked.count;
  call->in_flight += asked.count;
  StoreBatchHeader({.length = static_cast<uint32_t>(out_.size() - at),
                    .request = next_request_,
                    .received = reader_.received(),
                    .patience = std::clamp(call->deadline - now, Duration(0), kMaxPatience),
                    .count = asked.count,
                    .mode = call->mode,
                    .places = static_cast<bool>(call->placed)},
                   out_.data() + at);
  told_ = reader_.received();
  owed_bytes_ = 0;
  asked_.emplace(next_request_++, asked);
}

void ClientConnection::AppendAcknowledgement() {
  size_t at = out_.size();
  out_.resize(at + kBatchHeaderBytes);
  StoreBatchHeader({.length = kBatchHeaderBytes, .received = reader_.received()}, out_.data() + at);
  told_ = reader_.received();
  owed_bytes_ = 0;
}

Status ClientConnection::Flush(Time now) {
  if (phase_ == Phase::kConnecting) return {};
  while (out_sent_ < out_.size()) {
    ssize_t n = send(fd_.get(), out_.data() + out_sent_, out_.size() - out_sent_,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {};
      // Why the node has closed may still be there to be read.
      if (phase_ == Phase::kHello) HF_RETURN_IF_ERROR(Receive(now));
      return Status::Unavailable(endpoint_.text + ": " + ErrnoText(errno));
    }
    out_sent_ += static_cast<size_t>(n);
    last_activity_ = now;
  }
  out_.clear();
  out_sent_ = 0;
  return {};
}

Status ClientConnection::OnEvent(bool readable, bool writable, Time now) {
  if (phase_ == Phase::kConnecting) {
    if (!writable) return {};
    HF_RETURN_IF_ERROR(ConnectError(fd_.get(), endpoint_));
    phase_ = Phase::kHello;
    last_activity_ = now;
  }
  if (readable) HF_RETURN_IF_ERROR(Receive(now));
  return writable ? Flush(now) : Status();
}

Status ClientConnection::Receive(Time now) {
  reader_.Wake();
  last_activity_ = now;
  for (;;) {
    switch (reader_.Next()) {
      case AnswerReader::Step::kHello:
        HF_RETURN_IF_ERROR(OnHello());
        break;
      case AnswerReader::Step::kAnswer:
        HF_RETURN_IF_ERROR(OnAnswer());
        break;
      case AnswerReader::Step::kBody:
        HF_RETURN_IF_ERROR(OnBody());
        refill_(this);
        HF_RETURN_IF_ERROR(Flush(now));
        break;
      case AnswerReader::Step::kBlocked:
        if (owed_bytes_ >= kOwedBytes) AppendAcknowledgement();
        return {};
      case AnswerReader::Step::kBroken:
        return reader_.error().Annotate(endpoint_.text);
    }
  }
}

Status ClientConnection::OnHello() {
  const ServerHello& hello = reader_.server_hello();
  if (hello.code != Code::kOk) {
    return {hello.code, endpoint_.text + " refuses: " + std::string(reader_.text())};
  }
  phase_ = Phase::kOpen;
  return {};
}

Status ClientConnection::OnAnswer() {
  const Answer& answer = reader_.answer();
  auto found = asked_.find(answer.request);
  if (found == asked_.end() || answer.item >= found->second.count) {
    return Violation("an answer to what was never asked");
  }
  ClientCall* call = found->second.call;
  size_t number = found->second.first + answer.item;
  if (call->states[number] & ClientCall::kAnnounced) {
    return Violation("a second answer to the same question");
  }
  call->states[number] |= ClientCall::kAnnounced;
  announced_.push_back({.asked = &found->second, .item = number});
  if (answer.code != Code::kOk) return {};
  if (answer.place) return call->placed ? Status() : Violation("a place that was not asked for");
  const BulkItem& item = call->items[number];
  if (answer.size > item.into.size()) return Violation("more bytes than there is room for");
  if (item.version != 0 && answer.version != item.version) {
    return Violation("another version than was asked for");
  }
  if (!(call->states[number] & ClientCall::kDone)) reader_.Place(item.into.data());
  return {};
}

Status ClientConnection::OnBody() {
  const Answer& answer = reader_.answer();
  Announced answered = announced_.front();
  announced_.pop_front();
  ClientCall* call = answered.asked->call;
  size_t item = answered.item;
  bool wanted = !(call->states[item] & ClientCall::kDone);
  disk::Place place;
  if (answer.place && wanted) {  // of what is not, some may have been dropped
    Result<disk::Place> decoded = DecodePlace(reader_.place());
    if (!decoded.ok()) return Violation(decoded.status().message());
    place = *decoded;
  }
  if (answer.size >= kMinAcknowledgedBytes && answer.code == Code::kOk) owed_bytes_ += answer.size;
  Answered(answered);
  if (wanted && answer.place) {
    call->FinishPlaced(item, place);
  } else if (wanted) {
    call->Finish(item, OutcomeOf(answer));
  }
  settled_(call);
  return {};
}

BulkOutcome ClientConnection::OutcomeOf(const Answer& answer) const {
  BulkOutcome outcome{
      .status = {}, .version = answer.version, .size = answer.size, .hash = 0, .answered = true};
  if (answer.code != Code::kOk) {
    outcome.status = Status(answer.code, endpoint_.text + ": " + std::string(reader_.text()));
  } else if (reader_.body_hash() != answer.payload_hash) {
    outcome.status = Status::Corrupt(endpoint_.text + ": an object's bytes fail their checksum");
  } else {
    outcome.hash = answer.payload_hash;
    outcome.expires_s = answer.expires_s;
  }
  return outcome;
}

// The books of the item that was just received.
void ClientConnection::Answered(const Announced& answered) {
  ClientCall* call = answered.asked->call;
  call->states[answered.item] |= ClientCall::kAnswered;
  --call->in_flight;
  --items_in_flight_;
  bytes_in_flight_ -= call->Weight(answered.item);
  if (--answered.asked->unanswered == 0) asked_.erase(reader_.answer().request);
}

Status ClientConnection::Violation(const std::string& what) const {
  return Status::Corrupt(endpoint_.text + " breaks the bulk protocol: " + what);
}

Status ClientConnection::OnTick(Time now) {
  if (!open() && now - opened_ > options_.connect_timeout) {
    return Status::Unavailable("cannot connect to " + endpoint_.text + ": no answer within " +
                               FormatDuration(options_.connect_timeout));
  }
  if (owed_bytes_ > 0) {
    AppendAcknowledgement();
    return Flush(now);
  }
  if (asked_.empty() && now - last_activity_ > options_.idle_timeout) {
    return Status::Timeout("idle");
  }
  return {};
}

void ClientConnection::LetGo(const ClientCall* call) {
  for (size_t i = 0; i < announced_.size(); ++i) {
    if (announced_[i].asked->call == call) reader_.Drop(i);
  }
}

bool ClientConnection::AnyoneWaits() const {
  return std::any_of(asked_.begin(), asked_.end(),
                     [](const auto& a) { return !a.second.call->finished(); });
}

void ClientConnection::Fail(const Status& why) {
  announced_.clear();
  auto asked = std::exchange(asked_, {});
  for (auto& [request, batch] : asked) {
    ClientCall* call = batch.call;
    for (size_t i = batch.first; i < batch.first + batch.count; ++i) {
      if (call->states[i] & ClientCall::kAnswered) continue;
      call->states[i] |= ClientCall::kAnswered;
      --call->in_flight;
      if (!(call->states[i] & ClientCall::kDone)) {
        call->Finish(i, {.status = why, .version = 0, .size = 0, .hash = 0});
      }
    }
    settled_(call);
  }
}

}  // namespace holdfast::bulk
