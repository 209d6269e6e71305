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
  enum class Kind : uint8_t { kGet, kHead, kList, kPut };
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
  bool ranged = false;  // with a Range header
  // The end of what is wanted, if the object goes so far.
  uint64_t end() const { return whole ? length : offset + length; }
};

// kOnce: for answers that are wrong rather than late; the second wrong one is final. kUnranged: at
// once, without a range. An empty object has none, and a part need not say what it is a part of.
enum class Retry : uint8_t { kNo, kOnce, kYes, kUnranged };

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
// The body of a GET.
struct Body {
  ByteView bytes = {};     // of the object, as they lie where the caller wants them
  uint64_t scattered = 0;  // instead of `bytes`: so many came and went to pieces
  uint64_t received = 0;   // bytes that came
  bool longer = false;     // than what is wanted, and nothing had said so
};
// After it: versions, length, checksums.
Verdict JudgeBody(const Ask& ask, const ResponseHead& head, const Body& body);

// How many bytes of the body come before those wanted: a server without ranges sends the object
// from its start.
uint64_t BytesToSkip(const Ask& ask, const ResponseHead& head);
// Of the whole object, once its answer was found to be right.
uint64_t ObjectSize(const Ask& ask, const ResponseHead& head, uint64_t received);

}  // namespace holdfast::far
