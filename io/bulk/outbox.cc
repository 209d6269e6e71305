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
  small_.reserve(kSmall);
}

Outbox::~Outbox() {
  for (auto* pinned : {&large_, &unacknowledged_}) {
    for (Large& large : *pinned) {
      if (large.by_sendfile) budget_->Unpin(large.view.segment());
    }
  }
}

void Outbox::AddRaw(ByteView bytes) { tail_.insert(tail_.end(), bytes.begin(), bytes.end()); }

bool Outbox::AddError(Answer answer, std::string_view text) {
  text = text.substr(0, kMaxTextBytes);
  answer.text_bytes = static_cast<uint32_t>(text.size());
  return AddText(answer, std::string(text));
}

bool Outbox::AddPlace(const Answer& answer, const disk::Place& place) {
  return AddText(answer, std::string(AsText(Encode(place))));
}

bool Outbox::AddText(const Answer& answer, std::string text) {
  if (!large_.empty() || small_.size() == kSmall) return false;
  stream_bytes_ += kAnswerBytes + text.size();
  small_.push_back({.answer = answer, .view = {}, .text = std::move(text)});
  return true;
}

bool Outbox::AddRecord(uint64_t request, uint16_t item, LocalView view, Time now) {
  uint64_t size = view.payload().size();
  Answer answer{.request = request,
                .item = item,
                .version = view.version(),
                .size = size,
                .payload_hash = view.payload_hash(),
                .expires_s = view.expires_s()};
  if (size >= sendfile_bytes_) return AddLarge(answer, std::move(view), now);
  if (!large_.empty() || small_.size() == kSmall || small_bytes_ >= kSmallBytes) return false;
  small_bytes_ += size;
  stream_bytes_ += kAnswerBytes + size;
  small_.push_back({.answer = answer, .view = std::move(view), .text = {}});
  return true;
}

// A group of large ones is pinned until the last of them is sent, so it is short; one that may not
// go by sendfile is a group of its own, and its pin ends with the copy.
bool Outbox::AddLarge(const Answer& answer, LocalView view, Time now) {
  if (!large_.empty() && (large_announced_ || large_.size() == kLarge ||
                          large_bytes_ >= kLargeBytes || !large_.front().by_sendfile)) {
    return false;
  }
  bool by_sendfile = region_fd_ >= 0 && budget_->TryPin(view.segment());
  if (!by_sendfile && !large_.empty()) return false;
  large_bytes_ += answer.size;
  stream_bytes_ += kAnswerBytes + answer.size;
  large_.push_back({.answer = answer,
                    .view = std::move(view),
                    .since = now,
                    .by_sendfile = by_sendfile,
                    .stream_end = 0});
  return true;
}

Outbox::State Outbox::Flush() {
  for (auto step : {&Outbox::FlushTail, &Outbox::FlushSmall, &Outbox::FlushTail}) {
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

void Outbox::Gather(const void* bytes, size_t n) {
  if (n == 0) return;
  iov_[iovs_++] = {const_cast<void*>(bytes), n};
  iov_bytes_ += n;
}

template <typename Group>
void Outbox::GatherHeaders(const Group& group) {
  std::byte* first = headers_.data() + headers_end_;
  for (size_t i = 0; i < group.size(); ++i, headers_end_ += kAnswerBytes) {
    Answer answer = group[i].answer;
    answer.more = i + 1 < group.size();
    StoreAnswer(answer, headers_.data() + headers_end_);
  }
  Gather(first, group.size() * kAnswerBytes);
}

void Outbox::AnnounceLarge() {
  GatherHeaders(large_);
  large_announced_ = true;
  uint64_t end = stream_bytes_ - large_bytes_;  // nothing was added behind their bodies
  for (Large& large : large_) large.stream_end = end += large.answer.size;
}

// The small group, and the headers of the large one: one system call.
Outbox::State Outbox::FlushSmall() {
  bool announce = !large_.empty() && !large_announced_;
  if (small_.empty() && !announce) return State::kIdle;
  iovs_ = iov_bytes_ = headers_end_ = 0;
  if (!small_.empty()) GatherHeaders(small_);
  for (const Small& small : small_) {
    ByteView payload = small.view ? small.view.payload() : AsBytes(small.text);
    Gather(payload.data(), payload.size());
  }
  if (announce) AnnounceLarge();
  msghdr message{};
  message.msg_iov = iov_.data();
  message.msg_iovlen = iovs_;
  int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (announce ? MSG_MORE : 0);
  ssize_t n = sendmsg(fd_, &message, flags);
  if (n < 0 && !WouldBlock(errno)) return State::kBroken;
  auto sent = static_cast<size_t>(std::max<ssize_t>(n, 0));
  sent_bytes_ += sent;
  if (sent < iov_bytes_) KeepRest(sent);
  small_.clear();
  small_bytes_ = 0;
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

Outbox::State Outbox::FlushLarge() {
  while (!large_.empty()) {
    Large& large = large_.front();
    if (State state = SendLarge(&large); state != State::kIdle) return state;
    if (large.by_sendfile) unacknowledged_.push_back(std::move(large));
    large_.pop_front();
  }
  large_announced_ = false;
  large_bytes_ = 0;
  return State::kIdle;
}

Outbox::State Outbox::SendLarge(Large* large) {
  ByteView payload = large->view.payload();
  while (large->sent < payload.size()) {
    size_t left = payload.size() - large->sent;
    ssize_t n = 0;
    if (large->by_sendfile) {
      auto offset = static_cast<off_t>(large->view.payload_file_offset() + large->sent);
      n = sendfile(fd_, region_fd_, &offset, left);
      if (n == 0) return State::kBroken;  // the region's file ends here: not the one that is mapped
    } else {
      n = send(fd_, payload.data() + large->sent, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (n < 0) return WouldBlock(errno) ? State::kBlocked : State::kBroken;
    large->sent += static_cast<uint64_t>(n);
    sent_bytes_ += static_cast<uint64_t>(n);
  }
  return State::kIdle;
}

bool Outbox::Acknowledge(uint64_t received) {
  if (received > stream_bytes_) return false;
  while (!unacknowledged_.empty() && unacknowledged_.front().stream_end <= received) {
    budget_->Unpin(unacknowledged_.front().view.segment());
    unacknowledged_.pop_front();
  }
  return true;
}

bool Outbox::Overdue(Time now, Duration timeout) const {
  const auto& oldest = unacknowledged_.empty() ? large_ : unacknowledged_;
  if (oldest.empty()) return false;
  const Large& large = oldest.front();
  return now - large.since > timeout + large.view.payload().size() / kMiB * 1s;
}

}  // namespace holdfast::bulk
