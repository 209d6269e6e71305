// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/answer_reader.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "io/bulk/socket.h"

namespace holdfast::bulk {
namespace {

constexpr size_t kStagingBytes = 128 * kKiB;
// Bodies of which so much is missing are received in place; less is not worth an entry of its own.
constexpr uint64_t kInPlaceBytes = 16 * kKiB;
// With one system call: more would have left the cache before it is hashed.
constexpr uint64_t kScatterBytes = 1 * kMiB;
constexpr size_t kScatterParts = 16;
// Behind a group of large bodies comes most likely another: its headers, and little else that would
// have to be copied.
constexpr size_t kAheadBytes = 16 * kAnswerBytes;
// A large body is hashed in pieces that are still in the cache.
constexpr uint64_t kHashBytes = 256 * kKiB;

}  // namespace

AnswerReader::AnswerReader(int fd) : fd_(fd), staging_(kStagingBytes) {}

AnswerReader::Step AnswerReader::Fail(Status why) {
  error_ = std::move(why);
  return Step::kBroken;
}

AnswerReader::Step AnswerReader::Next() {
  for (;;) {
    switch (state_) {
      case State::kHello:
      case State::kHelloText:
        if (Step step = Hello(); step != Step::kBlocked) return step;
        break;
      case State::kHeaders:
        if (TakeHeaders()) {
          state_ = State::kPlacing;
          current_ = 0;
          return Step::kAnswer;
        }
        if (!error_.ok()) return Step::kBroken;
        break;
      case State::kPlacing:
        if (++current_ < group_.size()) return Step::kAnswer;
        state_ = State::kBodies;
        current_ = 0;
        continue;
      case State::kBodies: {
        if (current_ == group_.size()) {
          group_.clear();
          state_ = State::kHeaders;
          continue;
        }
        Part* part = &group_[current_];
        TakeBody(part);
        if (part->missing() > 0) break;
        HashPlaced(*part);
        state_ = State::kBodyTaken;
        return Step::kBody;
      }
      case State::kBodyTaken:
        ++current_;
        hashed_ = 0;
        hasher_.reset();
        state_ = State::kBodies;
        continue;
    }
    if (!Fill()) return error_.ok() ? Step::kBlocked : Step::kBroken;
  }
}

AnswerReader::Step AnswerReader::Hello() {
  if (state_ == State::kHello) {
    if (staged() < kServerHelloBytes) return Step::kBlocked;
    auto hello = DecodeServerHello({staging_.data() + begin_, kServerHelloBytes});
    if (!hello.ok()) return Fail(hello.status());
    hello_ = *hello;
    begin_ += kServerHelloBytes;
    state_ = State::kHelloText;
  }
  if (staged() < hello_.text_bytes) return Step::kBlocked;
  auto* text = staging_.data() + begin_;
  text_.assign(text, text + hello_.text_bytes);
  begin_ += hello_.text_bytes;
  state_ = State::kHeaders;
  return Step::kHello;
}

// True when all headers of a group are there.
bool AnswerReader::TakeHeaders() {
  while (staged() >= kAnswerBytes) {
    auto answer = DecodeAnswer({staging_.data() + begin_, kAnswerBytes});
    if (answer.ok() && group_.size() == kMaxGroup) {
      answer = Status::Corrupt("bulk answer: more than 128 in a group");
    }
    if (!answer.ok()) {
      Fail(answer.status());
      return false;
    }
    begin_ += kAnswerBytes;
    received_ += kAnswerBytes;
    group_.push_back({.answer = *answer});
    if (!answer->more) return true;
  }
  return false;
}

// Moves what is staged of a body to its place.
void AnswerReader::TakeBody(Part* part) {
  if (!part->is_payload() && part->taken == 0) {
    text_.resize(part->answer.body_bytes());
    part->into = text_.data();
  }
  uint64_t n = std::min<uint64_t>(staged(), part->missing());
  if (n > 0 && part->into != nullptr) {
    std::memcpy(part->into + part->taken, staging_.data() + begin_, n);
  }
  begin_ += n;
  part->taken += n;
  received_ += n;
  if (part->missing() > 0 && part->taken - hashed_ >= kHashBytes) HashPlaced(*part);
}

void AnswerReader::HashPlaced(const Part& part) {
  // An empty body has a hash without having a place.
  if (!part.is_payload() || (part.into == nullptr && part.taken > 0)) return;
  ByteView unhashed(part.into + hashed_, part.taken - hashed_);
  if (part.missing() == 0 && hashed_ == 0) {
    hash_ = Hash64(unhashed);
    return;
  }
  if (!hasher_) hasher_.emplace();
  hasher_->Update(unhashed);
  hashed_ = part.taken;
  if (part.missing() == 0) hash_ = hasher_->Digest();
}

// Where the next large bodies of the group go.
size_t AnswerReader::PlaceParts(iovec* iov, uint64_t* bytes) const {
  size_t n = 0;
  if (state_ != State::kBodies) return n;
  for (size_t i = current_; i < group_.size() && n < kScatterParts; ++i) {
    const Part& part = group_[i];
    if (part.missing() < kInPlaceBytes || part.into == nullptr) break;
    if (n > 0 && *bytes + part.missing() > kScatterBytes) break;
    iov[n++] = {part.into + part.taken, part.missing()};
    *bytes += part.missing();
  }
  return n;
}

// Receives more: large bodies in place and what follows them behind, everything else into the
// staging buffer.
bool AnswerReader::Fill() {
  if (drained_) return false;
  if (staged() > 0 && begin_ > 0) {
    std::memmove(staging_.data(), staging_.data() + begin_, staged());
  }
  end_ -= std::exchange(begin_, 0);
  std::array<iovec, kScatterParts + 1> iov;
  uint64_t in_place = 0;
  size_t parts = PlaceParts(iov.data(), &in_place);  // some: then nothing is staged
  if (parts > 0) after_large_ = true;
  if (parts == 0 && state_ == State::kBodies) after_large_ = false;
  size_t ahead = staging_.size() - end_;
  if (after_large_) ahead = std::min(ahead, kAheadBytes);
  // Between two large bodies nothing is to be staged.
  size_t staging_parts = parts == 0 || current_ + parts == group_.size() ? 1 : 0;
  if (staging_parts > 0) iov[parts] = {staging_.data() + end_, ahead};
  ssize_t n = readv(fd_, iov.data(), static_cast<int>(parts + staging_parts));
  if (n == 0) return Fail(Status::Unavailable("the connection was closed")), false;
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return false;
    return Fail(Status::Unavailable(ErrnoText(errno))), false;
  }
  auto got = static_cast<size_t>(n);
  drained_ = got < in_place + ahead * staging_parts;
  for (size_t i = 0; i < parts; ++i) {
    size_t placed = std::min(got, iov[i].iov_len);
    group_[current_ + i].taken += placed;
    received_ += placed;
    got -= placed;
  }
  end_ += got;
  return true;
}

}  // namespace holdfast::bulk
