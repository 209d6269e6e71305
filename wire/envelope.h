// SPDX-License-Identifier: Apache-2.0
// The small fields of a control message: one MessagePack array, written and read field by field.
// This is the only place that knows MessagePack; what may be in which message is codec.cc's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace holdfast::wire {

class EnvelopeWriter {
 public:
  // Every element that follows belongs to this array until `elements` of them are written; nests.
  void Array(uint32_t elements);
  void Uint(uint64_t value);
  void Bool(bool value);
  void Text(std::string_view text);
  Buffer Finish() { return Buffer::CopyOf(AsBytes(bytes_)); }

 private:
  std::string bytes_;
};

// Reads the elements in the order in which they were written. After the first mistake every read
// returns 0 and the mistake stays in `status`, so that callers check once, at the end. Text points
// into the parsed bytes.
class EnvelopeReader {
 public:
  // Takes any bytes. kCorrupt unless they are exactly one array, at most three arrays deep, of
  // non-negative integers, booleans and strings; kInvalid when its first element names a protocol
  // version other than `version`, whatever follows.
  static Result<EnvelopeReader> Parse(ByteView bytes, uint16_t version);

  // An array of exactly `elements`, or of at most `most` (then its length is the result).
  void Array(uint32_t elements);
  uint32_t ArrayUpTo(uint32_t most);
  // kCorrupt beyond `most`.
  uint64_t Uint(uint64_t most);
  bool Bool();
  std::string_view Text(size_t most_bytes);

  // Remembers the first mistake.
  void Fail(std::string_view what);
  const Status& status() const { return status_; }
  // Ok when every element was read and every limit kept.
  Status Finish();

 private:
  friend class TokenVisitor;
  enum class Kind : uint8_t { kNone, kArray, kUint, kBool, kText };
  struct Token {
    Kind kind = Kind::kNone;
    uint64_t value = 0;  // the number, the boolean, or the elements of the array
    std::string_view text;
  };
  Token Take(Kind kind);

  std::vector<Token> tokens_;
  size_t next_ = 0;
  Status status_;
};

}  // namespace holdfast::wire
