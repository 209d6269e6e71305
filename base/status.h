// SPDX-License-Identifier: Apache-2.0
// Status and Result<T>: how every fallible call of Holdfast answers. The code is for callers that
// branch, the text is for a person: it names the thing that failed and says what to do.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace holdfast {

// The values are sent on the wire: append, never renumber.
enum class Code : uint8_t {
  kOk = 0,
  kInvalid = 1,      // the caller's input is wrong; trying again will not help
  kNotFound = 2,     // no such object, bucket, file, job or node
  kDenied = 3,       // credentials, permissions or the cluster key do not allow it
  kChanged = 4,      // the object's version is not the one that was planned
  kCorrupt = 5,      // bytes failed a checksum, a length or a decoder
  kNoSpace = 6,      // a limit was reached; the text says which
  kUnavailable = 7,  // a peer, the network or the far store failed; may be tried again
  kTimeout = 8,      // a deadline passed
};

// "ok", "invalid", "not found", ...
std::string_view CodeName(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status Invalid(std::string m) { return {Code::kInvalid, std::move(m)}; }
  static Status NotFound(std::string m) { return {Code::kNotFound, std::move(m)}; }
  static Status Denied(std::string m) { return {Code::kDenied, std::move(m)}; }
  static Status Changed(std::string m) { return {Code::kChanged, std::move(m)}; }
  static Status Corrupt(std::string m) { return {Code::kCorrupt, std::move(m)}; }
  static Status NoSpace(std::string m) { return {Code::kNoSpace, std::move(m)}; }
  static Status Unavailable(std::string m) { return {Code::kUnavailable, std::move(m)}; }
  static Status Timeout(std::string m) { return {Code::kTimeout, std::move(m)}; }

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  // "not found: s3://b/k does not exist"; "ok" for success.
  std::string ToString() const;
  // The same status with "context: " before its text.
  Status Annotate(std::string_view context) const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

// A value or the Status that says why there is none. Dereferencing an error is our own mistake and
// aborts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<1>, std::move(value)) {}  // NOLINT: implicit by intent
  Result(Status status)
      : state_(std::in_place_index<0>, std::move(status)) {}  // NOLINT: implicit by intent

  bool ok() const { return state_.index() == 1; }
  Status status() const { return ok() ? Status() : std::get<0>(state_); }
  T& operator*() & { return std::get<1>(state_); }
  const T& operator*() const& { return std::get<1>(state_); }
  T&& operator*() && { return std::get<1>(std::move(state_)); }
  T* operator->() { return &std::get<1>(state_); }
  const T* operator->() const { return &std::get<1>(state_); }

 private:
  std::variant<Status, T> state_;
};

// Aborts with the text and place. Always on, and only for our own mistakes: never on bytes from
// outside.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
#define HF_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::holdfast::CheckFailed(#condition, __FILE__, __LINE__))

// Returns the status of `expr` from the enclosing function when it is not ok.
#define HF_RETURN_IF_ERROR(expr) \
  if (::holdfast::Status hf_status_ = (expr); !hf_status_.ok()) return hf_status_

}  // namespace holdfast
