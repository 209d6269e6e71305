// SPDX-License-Identifier: Apache-2.0
// Takes a node's hello and its answers out of a socket. Small bodies come many at a time into a
// staging buffer and are copied from there; large ones are received where they belong, several of a
// group with one system call.
//
// Pulled by its owner:
//   kHello   server_hello() and text() are there
//   kAnswer  answer() is there, the next header of a group; say where its body goes (Place), then go on
//   kBody    the next body of the group has come, in the order of the headers: answer() is its header again, and
//            body_hash(), or text() of an error or a place, is there
//   kBlocked nothing more in the socket now
//   kBroken  error() says why; the connection is over
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "wire/bulk_format.h"

namespace holdfast::bulk {

// Belongs to one thread.
class AnswerReader {
 public:
  enum class Step { kHello, kAnswer, kBody, kBlocked, kBroken };

  explicit AnswerReader(int fd);

  Step Next();
  // A new readiness of the socket: kBlocked is over.
  void Wake() { drained_ = false; }

  const ServerHello& server_hello() const { return hello_; }
  const Answer& answer() const { return group_[current_].answer; }
  std::string_view text() const { return AsText(text_); }
  ByteView place() const { return text_; }
  // XXH3-64 of the body, valid after kBody of an answer with kOk that was placed.
  uint64_t body_hash() const { return hash_; }
  const Status& error() const { return error_; }

  // After kAnswer with kOk: the body's place, answer().size bytes; nullptr: it is received and
  // forgotten.
  void Place(std::byte* into) { group_[current_].into = into; }
  // After kBlocked: nothing is written any more to the place of the body that comes `ahead` bodies
  // after the next one.
  void Drop(size_t ahead) { group_[current_ + ahead].into = nullptr; }

  // Bytes of the answer stream that were taken so far.
  uint64_t received() const { return received_; }

 private:
  enum class State { kHello, kHelloText, kHeaders, kPlacing, kBodies, kBodyTaken };
  struct Part {
    Answer answer;
    std::byte* into = nullptr;
    uint64_t taken = 0;  // bytes of the body
    uint64_t missing() const { return answer.body_bytes() - taken; }
    bool is_payload() const { return answer.code == Code::kOk && !answer.place; }
  };

  Step Hello();
  bool TakeHeaders();
  void TakeBody(Part* part);
  void HashPlaced(const Part& part);
  bool Fill();
  size_t PlaceParts(iovec* iov, uint64_t* bytes) const;
  Step Fail(Status why);
  size_t staged() const { return end_ - begin_; }

  int fd_;
  State state_ = State::kHello;
  bool drained_ = false;      // the last receive took all that there was
  bool after_large_ = false;  // the last bodies were received in place
  std::vector<std::byte> staging_;
  size_t begin_ = 0;
  size_t end_ = 0;

  ServerHello hello_;
  std::vector<Part> group_;
  size_t current_ = 0;  // in the group
  std::vector<std::byte> text_;
  uint64_t hashed_ = 0;  // bytes of the current body
  std::optional<Hasher64> hasher_;
  uint64_t hash_ = 0;
  uint64_t received_ = 0;
  Status error_;
};

}  // namespace holdfast::bulk
