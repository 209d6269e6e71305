// SPDX-License-Identifier: Apache-2.0
// What a response means for the call that asked: whether its body is the one wanted, how the call
// ends, whether another attempt may help. Pure, so that every case is a line in a test.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/env.h"
#include "base/status.h"
#include "io/far/http_message.h"

namespace holdfast::far {

struct Ask {
  enum class Kind : uint8_t { kGet, kHead, kList };
  Kind kind = Kind::kGet;
  std::string_view uri;  // canonical, for the texts
  bool s3 = false;
  bool is_signed = false;
  std::string_view region;
  // Of a GET (base/env.h).
  std::string_view etag;
  uint64_t offset = 0;
  uint64_t length = 0;
  bool whole = true;
};

// kOnce: for answers that are wrong rather than late; the second wrong one is final.
enum class Retry : uint8_t { kNo, kOnce, kYes };

struct Verdict {
  Status status;
  Retry retry = Retry::kNo;
  bool slow_down = false;  // the store asks for less
};

// Before the body: nothing if it is the one that was asked for, so that it may go to where the
// caller wants it.
std::optional<Verdict> JudgeHead(const Ask& ask, const ResponseHead& head);
// The status of a response whose head was refused for its HTTP status: `body` says more.
Verdict JudgeRefusal(const Ask& ask, const ResponseHead& head, std::string_view body);
// After the body of a GET, `received` bytes of which are in `bytes`: versions, length, checksums.
Verdict JudgeBody(const Ask& ask, const ResponseHead& head, ByteView bytes, uint64_t received);

// How many bytes of the body come before those wanted: a server without ranges sends the object
// from its start.
uint64_t BytesToSkip(const Ask& ask, const ResponseHead& head);
// Of the whole object, as far as the head says it.
std::optional<uint64_t> ObjectSize(const ResponseHead& head);

}  // namespace holdfast::far
