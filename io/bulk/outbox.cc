// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/outbox.h"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace holdfast::bulk {
namespace {

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Outbox::Outbox(int fd, int region_fd, uint64_t sendfile_bytes, PinBudget* budget)
    : fd_(fd),
      region_fd_(region_fd),
      // Readers need not acknowledge smaller ones.
      sendfile_bytes_(std::max<uint64_t>(sendfile_bytes, kMinAcknowledgedBytes)),
      budget_(budget) {
  texts_.reserve(kGather * kMaxTextBytes);  // iovecs point into it
}

Outbox::~Outbox() {
  if (large_.view && large_.by_sendfile) budget_->Unpin(large_.view.segment());
  for (Unacknowledged& u : unacknowledged_) budget_->Unpin(u.record.view.segment());
}

void Outbox::AddRaw(ByteView bytes) { tail_.insert(tail_.end(), bytes.begin(), bytes.end()); }

void Outbox::Gather(const void* bytes, size_t n) {
  if (n == 0) return;
  iov_[iovs_++] = {const_cast<void*>(bytes), n};
  gather_bytes_ += n;
  stream_bytes_ += n;
}

void Outbox::GatherHeader(const Answer& answer) {
  std::byte* header = headers_.data() + gathered_ * kAnswerBytes;
  StoreAnswer(answer, header);
  Gather(header, kAnswerBytes);
}

void Outbox::AddError(Answer answer, std::string_view text) {
  text = text.substr(0, kMaxTextBytes);
  answer.text_bytes = static_cast<uint32_t>(text.size());
  GatherHeader(answer);
  size_t at = texts_.size();
  texts_.insert(texts_.end(), text.begin(), text.end());
  Gather(texts_.data() + at, text.size());
  ++gathered_;
}

void Outbox::AddRecord(uint64_t request, uint16_t item, LocalView view, Time now) {
  ByteView payload = view.payload();
  GatherHeader({.request = request,
                .item = item,
                .version = view.version(),
                .size = payload.size(),
                .payload_hash = view.payload_hash()});
  if (payload.size() < sendfile_bytes_) {
    Gather(payload.data(), payload.size());
    views_[gathered_++] = std::move(view);
    return;
  }
  ++gathered_;
  stream_bytes_ += payload.size();
  bool by_sendfile = region_fd_ >= 0 && budget_->TryPin(view.segment());
  large_ = {.view = std::move(view), .since = now, .sent = 0, .by_sendfile = by_sendfile};
}

Outbox::State Outbox::Flush() {
  for (auto step : {&Outbox::FlushTail, &Outbox::FlushGather, &Outbox::FlushTail}) {
    if (State state = (this->*step)(); state != State::kIdle) return state;
  }
  return FlushLarge();
}

Outbox::State Outbox::FlushTail() {
  while (tail_sent_ < tail_.size()) {
    ssize_t n = send(fd_, tail_.data() + tail_sent_, tail_.size() - tail_sent_,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) return WouldBlock(errno) ? State::kBlocked : State::kBroken;
    tail_sent_ += static_cast<size_t>(n);
    sent_bytes_ += static_cast<uint64_t>(n);
  }
  tail_.clear();
  tail_sent_ = 0;
  return State::kIdle;
}

Outbox::State Outbox::FlushGather() {
  if (gathered_ == 0) return State::kIdle;
  msghdr message{};
  message.msg_iov = iov_.data();
  message.msg_iovlen = iovs_;
  int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (large_.view ? MSG_MORE : 0);
  ssize_t n = sendmsg(fd_, &message, flags);
  if (n < 0 && !WouldBlock(errno)) return State::kBroken;
  auto sent = static_cast<size_t>(std::max<ssize_t>(n, 0));
  sent_bytes_ += sent;
  if (sent < gather_bytes_) KeepRest(sent);
  ClearGather();
  return State::kIdle;
}

// Copies what the socket did not take, so that no small record stays pinned for a reader that is
// slow.
void Outbox::KeepRest(size_t sent) {
  for (size_t i = 0; i < iovs_; ++i) {
    size_t skip = std::min(sent, iov_[i].iov_len);
    sent -= skip;
    auto* bytes = static_cast<const std::byte*>(iov_[i].iov_base);
    tail_.insert(tail_.end(), bytes + skip, bytes + iov_[i].iov_len);
  }
}

void Outbox::ClearGather() {
  for (size_t i = 0; i < gathered_; ++i) views_[i].Release();
  texts_.clear();
  iovs_ = gathered_ = gather_bytes_ = 0;
}

Outbox::State Outbox::FlushLarge() {
  if (!large_.view) return State::kIdle;
  ByteView payload = large_.view.payload();
  while (large_.sent < payload.size()) {
    size_t left = payload.size() - large_.sent;
    ssize_t n = 0;
    if (large_.by_sendfile) {
      auto offset = static_cast<off_t>(large_.view.payload_file_offset() + large_.sent);
      n = sendfile(fd_, region_fd_, &offset, left);
      if (n == 0)
        return State::kBroken;  // the region's file ends here: it is not the one that is mapped
    } else {
      n = send(fd_, payload.data() + large_.sent, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (n < 0) return WouldBlock(errno) ? State::kBlocked : State::kBroken;
    large_.sent += static_cast<uint64_t>(n);
    sent_bytes_ += static_cast<uint64_t>(n);
  }
  if (large_.by_sendfile) {
    unacknowledged_.push_back({.stream_end = stream_bytes_, .record = std::move(large_)});
  }
  large_.view.Release();
  return State::kIdle;
}

bool Outbox::Acknowledge(uint64_t received) {
  if (received > stream_bytes_) return false;
  while (!unacknowledged_.empty() && unacknowledged_.front().stream_end <= received) {
    budget_->Unpin(unacknowledged_.front().record.view.segment());
    unacknowledged_.pop_front();
  }
  return true;
}

bool Outbox::Overdue(Time now, Duration timeout) const {
  const Large* oldest = nullptr;
  if (!unacknowledged_.empty()) {
    oldest = &unacknowledged_.front().record;
  } else if (large_.view) {
    oldest = &large_;
  }
  if (oldest == nullptr) return false;
  return now - oldest->since > timeout + oldest->view.payload().size() / kMiB * 1s;
}

}  // namespace holdfast::bulk
