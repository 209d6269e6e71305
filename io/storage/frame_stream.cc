// SPDX-License-Identifier: Apache-2.0
#include "io/storage/frame_stream.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/hash.h"

namespace holdfast::storage {
namespace {

constexpr size_t kReceiveBytes = 256 * kKiB;
constexpr size_t kReceivesAtOnce = 8;
constexpr size_t kLongBody = 96 * kKiB;     // one that is not there yet gets a place
constexpr size_t kGatherBytes = 64 * kKiB;  // of a chunk that gathers heads and short bodies
constexpr size_t kShortPart = 4 * kKiB;     // to be copied is cheaper for it than to be gathered
constexpr size_t kMaxIov = 64;

}  // namespace

FrameStream::FrameStream(bulk::Fd fd, Handlers handlers)
    : fd_(std::move(fd)), handlers_(std::move(handlers)), in_(kReceiveBytes) {}

// --- In ------------------------------------------------------------------------------------------

void FrameStream::MakeRoom() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ == 0 || in_.size() - end_ >= in_.size() / 2) return;
  std::memmove(in_.data(), in_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
}

Status FrameStream::Receive() {
  for (size_t i = 0; i < kReceivesAtOnce && !held_; ++i) {
    MakeRoom();
    std::array<iovec, 2> iov{};
    size_t iovs = 0;
    if (placing_) iov[iovs++] = {place_.data() + placed_, place_.size() - placed_};
    iov[iovs++] = {in_.data() + end_, in_.size() - end_};
    const ssize_t n = ::readv(fd_.get(), iov.data(), static_cast<int>(iovs));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (n < 0) return Status::Unavailable("the connection broke: " + bulk::ErrnoText(errno));
    if (n == 0) return Status::Unavailable("the other side closed the connection");
    size_t came = static_cast<size_t>(n);
    const bool all = came == iov[0].iov_len + iov[1].iov_len;
    received_ += came;
    if (placing_) {
      const size_t part = std::min(came, place_.size() - placed_);
      placed_ += part;
      came -= part;
    }
    end_ += came;
    HF_RETURN_IF_ERROR(Parse());
    if (!all) return {};  // there is hardly more
  }
  return {};
}

Status FrameStream::Resume() {
  held_ = false;
  return Parse();
}

Status FrameStream::Parse() {
  while (!held_) {
    if (placing_) {
      if (placed_ < place_.size()) return {};
      placing_ = false;
      HF_RETURN_IF_ERROR(TakeFrame(placed_head_, place_));
      unwanted_ = Buffer();
      continue;
    }
    const ByteView there = in_.view().subspan(begin_, end_ - begin_);
    if (there.size() < kHeadBytes) return {};
    Result<FrameHead> head = DecodeHead(there.first(kHeadBytes));
    if (!head.ok()) return head.status();
    const ByteView rest = there.subspan(kHeadBytes);
    if (rest.size() >= head->body_bytes) {
      begin_ += kHeadBytes + head->body_bytes;
      whole_ = there.first(kHeadBytes + head->body_bytes);
      HF_RETURN_IF_ERROR(TakeFrame(*head, rest.first(head->body_bytes)));
      whole_ = {};
      continue;
    }
    if (head->body_bytes < kLongBody) return {};  // there is room for the rest of it
    placed_head_ = *head;
    place_ = handlers_.place(*head);
    if (place_.empty()) {
      unwanted_ = Buffer(head->body_bytes);
      place_ = unwanted_.span();
    }
    std::memcpy(place_.data(), rest.data(), rest.size());
    placed_ = rest.size();
    begin_ = end_ = 0;
    placing_ = true;
  }
  return {};
}

Status FrameStream::TakeFrame(const FrameHead& head, ByteView body) {
  if (!IsBodyOf(head, body)) {
    return Status::Corrupt("a frame of the storage protocol does not have its checksum");
  }
  return handlers_.frame(head, body);
}

// --- Out -----------------------------------------------------------------------------------------

void FrameStream::Append(ByteView bytes) {
  const bool fits = !out_.empty() && !out_.back().gathered.empty() &&
                    out_.back().gathered.size() + bytes.size() <= kGatherBytes;
  if (!fits) out_.emplace_back().gathered.reserve(std::max(bytes.size(), size_t{1024}));
  std::vector<std::byte>& gathered = out_.back().gathered;
  gathered.insert(gathered.end(), bytes.begin(), bytes.end());
  unsent_ += bytes.size();
}

void FrameStream::AppendView(ByteView bytes) {
  if (bytes.empty()) return;
  out_.emplace_back().view = bytes;
  unsent_ += bytes.size();
}

void FrameStream::Add(const FrameHead& head, ByteView body) {
  std::array<std::byte, kHeadBytes> bytes;
  StoreHead(head, body, bytes.data());
  Append(bytes);
  if (!body.empty()) Append(body);
}

void FrameStream::AddParts(const FrameHead& head, const std::vector<ByteView>& parts) {
  std::array<std::byte, kHeadBytes> bytes;
  StoreHead(head, bytes.data());
  Append(bytes);
  for (ByteView part : parts) part.size() < kShortPart ? Append(part) : AppendView(part);
}

void FrameStream::AddOwned(const FrameHead& head, Buffer body) {
  constexpr size_t kShort = 8 * kKiB;
  if (body.size() <= kShort) return Add(head, body.view());
  std::array<std::byte, kHeadBytes> bytes;
  StoreHead(head, body.view(), bytes.data());
  Append(bytes);
  AddWhole(std::move(body));
}

void FrameStream::AddWhole(Buffer frame) {
  if (frame.empty()) return;
  unsent_ += frame.size();
  Chunk& chunk = out_.emplace_back();
  chunk.owned = std::move(frame);
  chunk.view = chunk.owned.view();
}

Status FrameStream::Flush() {
  while (!out_.empty()) {
    std::array<iovec, kMaxIov> iov;
    size_t iovs = 0;
    size_t skip = out_sent_;
    for (auto chunk = out_.begin(); chunk != out_.end() && iovs < kMaxIov; ++chunk) {
      const ByteView bytes = chunk->bytes().subspan(std::exchange(skip, 0));
      iov[iovs++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
    }
    msghdr message{};
    message.msg_iov = iov.data();
    message.msg_iovlen = iovs;
    const ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (n < 0) return Status::Unavailable("the connection broke: " + bulk::ErrnoText(errno));
    Sent(static_cast<size_t>(n));
  }
  return {};
}

void FrameStream::Sent(size_t bytes) {
  unsent_ -= bytes;
  out_sent_ += bytes;
  while (!out_.empty() && out_sent_ >= out_.front().bytes().size()) {
    out_sent_ -= out_.front().bytes().size();
    out_.pop_front();
  }
}

}  // namespace holdfast::storage
