// SPDX-License-Identifier: Apache-2.0
// Takes a node's hello and its answers out of a socket. Small bodies come many at a time into a staging buffer and are
// copied from there; the rest of a large one is received where it belongs, together with the header that follows it.
//
// Pulled by its owner:
//   kHello   server_hello() and text() are there
//   kAnswer  answer() is there; say where its body goes (Place), then go on
//   kBody    the body has come: body_hash(), or text() of an error
//   kBlocked nothing more in the socket now
//   kBroken  error() says why; the connection is over
#pragma once

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
  const Answer& answer() const { return answer_; }
  std::string_view text() const { return AsText(text_); }
  // XXH3-64 of the body, valid after kBody of an answer with kOk that was placed.
  uint64_t body_hash() const { return hash_; }
  const Status& error() const { return error_; }

  // After kAnswer with kOk: the body's place, answer().size bytes; nullptr: it is received and forgotten.
  void Place(std::byte* into) { into_ = into; }
  // From now on nothing is written to the place of the body that is being received.
  void Drop() { into_ = nullptr; }

  // Bytes of the answer stream that were taken so far.
  uint64_t received() const { return received_; }

 private:
  enum class State { kHello, kHelloText, kHeader, kBegin, kBody };

  bool Fill();
  bool Fail(Status why);
  void TakeBody();
  void HashPlaced(bool last);
  size_t staged() const { return end_ - begin_; }

  int fd_;
  State state_ = State::kHello;
  bool drained_ = false;  // the last receive took all that there was
  std::vector<std::byte> staging_;
  size_t begin_ = 0;
  size_t end_ = 0;

  ServerHello hello_;
  Answer answer_;
  std::vector<std::byte> text_;
  std::byte* into_ = nullptr;
  uint64_t body_taken_ = 0;
  uint64_t body_hashed_ = 0;
  std::optional<Hasher64> hasher_;
  uint64_t hash_ = 0;
  uint64_t received_ = 0;
  Status error_;
};

}  // namespace holdfast::bulk
