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
// The rest of a body of this size and more is received in place; less is not worth a call of its own.
constexpr uint64_t kInPlaceBytes = 16 * kKiB;
// A large body is hashed in pieces that are still in the cache.
constexpr uint64_t kHashBytes = 128 * kKiB;

}  // namespace

AnswerReader::AnswerReader(int fd) : fd_(fd), staging_(kStagingBytes) {}

bool AnswerReader::Fail(Status why) {
  error_ = std::move(why);
  return false;
}

AnswerReader::Step AnswerReader::Next() {
  for (;;) {
    size_t needed = 0;  // in the staging buffer, to go on
    switch (state_) {
      case State::kHello: {
        needed = kServerHelloBytes;
        if (staged() < needed) break;
        auto hello = DecodeServerHello({staging_.data() + begin_, needed});
        if (!hello.ok()) return Fail(hello.status()), Step::kBroken;
        hello_ = *hello;
        begin_ += needed;
        state_ = State::kHelloText;
        continue;
      }
      case State::kHelloText: {
        needed = hello_.text_bytes;
        if (staged() < needed) break;
        text_.assign(staging_.data() + begin_, staging_.data() + begin_ + needed);
        begin_ += needed;
        state_ = State::kHeader;
        return Step::kHello;
      }
      case State::kHeader: {
        needed = kAnswerBytes;
        if (staged() < needed) break;
        auto answer = DecodeAnswer({staging_.data() + begin_, needed});
        if (!answer.ok()) return Fail(answer.status()), Step::kBroken;
        answer_ = *answer;
        begin_ += needed;
        received_ += needed;
        into_ = nullptr;
        state_ = State::kBegin;
        return Step::kAnswer;
      }
      case State::kBegin:
        body_taken_ = body_hashed_ = 0;
        hasher_.reset();
        if (answer_.code != Code::kOk) {
          text_.resize(answer_.text_bytes);
          into_ = text_.data();
        }
        state_ = State::kBody;
        continue;
      case State::kBody:
        TakeBody();
        if (body_taken_ == answer_.body_bytes()) {
          HashPlaced(true);
          state_ = State::kHeader;
          return Step::kBody;
        }
        break;
    }
    if (!Fill()) return error_.ok() ? Step::kBlocked : Step::kBroken;
  }
}

// Moves what is staged of the body to its place.
void AnswerReader::TakeBody() {
  uint64_t n = std::min<uint64_t>(staged(), answer_.body_bytes() - body_taken_);
  if (n > 0 && into_ != nullptr) {
    std::memcpy(into_ + body_taken_, staging_.data() + begin_, n);
  }
  begin_ += n;
  body_taken_ += n;
  received_ += n;
  HashPlaced(false);
}

void AnswerReader::HashPlaced(bool last) {
  // An empty body has a hash without having a place.
  if (answer_.code != Code::kOk || (into_ == nullptr && body_taken_ > 0)) return;
  ByteView unhashed(into_ + body_hashed_, body_taken_ - body_hashed_);
  if (last && body_hashed_ == 0) {
    hash_ = Hash64(unhashed);
    return;
  }
  if (!last && unhashed.size() < kHashBytes) return;
  if (!hasher_) hasher_.emplace();
  hasher_->Update(unhashed);
  body_hashed_ = body_taken_;
  if (last) hash_ = hasher_->Digest();
}

// Receives more: the rest of a large body in place and what follows it behind, everything else into the staging buffer.
bool AnswerReader::Fill() {
  if (drained_) return false;
  uint64_t missing = state_ == State::kBody ? answer_.body_bytes() - body_taken_ : 0;
  bool in_place = missing >= kInPlaceBytes && into_ != nullptr;
  if (staged() > 0 && begin_ > 0) {
    std::memmove(staging_.data(), staging_.data() + begin_, staged());
  }
  end_ -= std::exchange(begin_, 0);
  std::array<iovec, 2> iov;
  size_t iovs = 0;
  if (in_place)
    iov[iovs++] = {into_ + body_taken_, missing};  // nothing is staged: TakeBody took it
  // Behind a large body comes most likely the header of another: more would have to be copied.
  size_t ahead = in_place ? kAnswerBytes : staging_.size() - end_;
  iov[iovs++] = {staging_.data() + end_, ahead};
  size_t asked = ahead + (in_place ? missing : 0);
  ssize_t n = readv(fd_, iov.data(), static_cast<int>(iovs));
  if (n == 0) return Fail(Status::Unavailable("the connection was closed"));
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return false;
    return Fail(Status::Unavailable(ErrnoText(errno)));
  }
  auto got = static_cast<size_t>(n);
  drained_ = got < asked;
  if (in_place) {
    size_t placed = std::min<size_t>(got, missing);
    body_taken_ += placed;
    received_ += placed;
    got -= placed;
  }
  end_ += got;
  return true;
}

}  // namespace holdfast::bulk
