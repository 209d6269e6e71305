// SPDX-License-Identifier: Apache-2.0
// One HTTP exchange on a reusable curl handle: sends a call's request, takes the body straight to
// where the caller wants it, and judges the end. Lives on the HTTP store's thread.
#pragma once

#include <curl/curl.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "io/far/curl_multi.h"
#include "io/far/far_options.h"
#include "io/far/http_call.h"
#include "io/far/piece_sink.h"

namespace holdfast::far {

class Transfer {
 public:
  // `slot` is the owner's.
  Transfer(CurlMulti& multi, const FarOptions& options, size_t slot);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  static Transfer* Of(CURL* easy);

  // Prepares the handle and adds it. `call` lives until End.
  void Begin(HttpCall* call, HttpRequestMaker& maker, Time now);
  // Whether it moved less than `least` bytes since the last time this answered after `window`.
  bool Stalled(Time now, Duration window, uint64_t least);
  // Takes the handle back and says what came of it.
  Verdict End(CURLcode code, HttpCall::Answer& answer);

  // Takes the handle back from the middle of a transfer.
  void Cancel();

  size_t slot() const { return slot_; }
  Time began() const { return began_; }
  uint64_t received() const { return received_; }
  std::optional<Duration> retry_after() const { return head_.retry_after; }

 private:
  // What the body is, once its head is known.
  enum class Content : uint8_t { kUnknown, kObject, kListing, kRefusal };

  static size_t OnBody(char* data, size_t, size_t size, void* self);
  static size_t OnHeader(char* data, size_t, size_t size, void* self);
  void SetFixedOptions(const FarOptions& options);
  Content Classify();
  void SetMethod();
  bool TakeObject(std::string_view data);
  bool TakeText(std::string_view data, size_t limit, bool stop_at_limit);
  Verdict Judge(CURLcode code, HttpCall::Answer& answer);
  std::optional<Verdict> JudgeExpiry() const;
  Verdict JudgeTransport(CURLcode code) const;
  Verdict JudgeListing(HttpCall::Answer& answer);
  // Bytes moved, either way.
  uint64_t Moved() const;

  CurlMulti& multi_;
  const FarOptions& options_;
  const size_t slot_;
  CURL* easy_;
  std::string last_host_;
  std::vector<std::string> headers_;
  std::vector<curl_slist> header_list_;  // nodes that point into headers_
  std::array<char, CURL_ERROR_SIZE> error_;

  HttpCall* call_ = nullptr;
  Time began_;
  ResponseHead head_;
  Content body_ = Content::kUnknown;
  std::optional<Verdict> refused_;  // by its head
  uint64_t skip_ = 0;               // bytes of the body before those wanted
  uint64_t filled_ = 0;             // bytes in the caller's buffer, those that it brought included
  Hasher64 hasher_;                 // of those
  PieceSink sink_;                  // instead of both, where the call has pieces
  uint64_t received_ = 0;           // bytes of the body
  bool enough_ = false;             // all that is wanted is here, the rest is not waited for
  bool longer_ = false;             // more came than may come
  std::string text_;                // of a listing or a refusal
  Time window_began_;
  uint64_t window_moved_ = 0;
};

}  // namespace holdfast::far
