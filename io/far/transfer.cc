// SPDX-License-Identifier: Apache-2.0
#include "io/far/transfer.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <ctime>

#include "io/far/stream_copy.h"

namespace holdfast::far {
namespace {

// curl allocates this for each transfer. From 128 KiB on malloc maps and unmaps it, and the page
// faults cost more than a longer read saves.
constexpr long kReceiveBuffer = 120 * 1024;
constexpr size_t kMaxRefusalText = 16 * 1024;
constexpr size_t kMaxRefusalBody = 256 * 1024;  // longer ones cost more than a new connection
constexpr size_t kMaxListingText = 16 * 1024 * 1024;
constexpr long kMaxRedirects = 5;

// `host` may have a port. "localhost.example" and "127.example" are names like any other.
bool IsLoopback(const std::string& host) {
  if (host.starts_with('[')) return host.starts_with("[::1]");
  const std::string name = host.substr(0, host.find(':'));
  in_addr address{};
  return name == "localhost" || name.ends_with(".localhost") ||
         (name.starts_with("127.") && inet_pton(AF_INET, name.c_str(), &address) == 1);
}

// Errors that another attempt meets again.
std::optional<Status> FinalTransportError(CURLcode code, const std::string& text) {
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return Status::Denied(text + "; if the store has its own authority, configure its CA bundle");
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_TOO_MANY_REDIRECTS:
      return Status::Invalid(text);
    default:
      return std::nullopt;
  }
}

}  // namespace

Transfer::Transfer(CurlMulti& multi, const FarOptions& options, size_t slot)
    : multi_(multi), options_(options), slot_(slot), easy_(curl_easy_init()) {
  HF_CHECK(easy_ != nullptr);
  multi_.Attach(easy_);
  SetFixedOptions(options);
}

Transfer::~Transfer() {
  if (call_ != nullptr) multi_.Remove(easy_);
  curl_easy_cleanup(easy_);
}

Transfer* Transfer::Of(CURL* easy) {
  char* self = nullptr;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &self);
  return reinterpret_cast<Transfer*>(self);
}

void Transfer::SetFixedOptions(const FarOptions& options) {
  curl_easy_setopt(easy_, CURLOPT_PRIVATE, reinterpret_cast<char*>(this));
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(easy_, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, error_.data());
  curl_easy_setopt(easy_, CURLOPT_BUFFERSIZE, kReceiveBuffer);
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  // To end a transfer whose name is still being resolved is to leave the resolver's thread to
  // itself; else curl waits for it, and with it every other transfer.
  curl_easy_setopt(easy_, CURLOPT_QUICK_EXIT, 1L);
  curl_easy_setopt(easy_, CURLOPT_PATH_AS_IS, 1L);
  // HTTP/2 would put all transfers on one connection, which is slower than many.
  curl_easy_setopt(easy_, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_MAXREDIRS, kMaxRedirects);
  curl_easy_setopt(easy_, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(std::max<int64_t>(options.timeouts.connect / 1ms, 1)));
  if (!options.ca_bundle.empty()) {
    curl_easy_setopt(easy_, CURLOPT_CAINFO, options.ca_bundle.c_str());
    curl_easy_setopt(easy_, CURLOPT_CAPATH, nullptr);
  }
}

void Transfer::Begin(HttpCall* call, HttpRequestMaker& maker, Time now) {
  call_ = call;
  began_ = window_began_ = now;
  head_.Clear();
  body_ = Content::kUnknown;
  refused_.reset();
  skip_ = received_ = window_moved_ = 0;
  filled_ = call->get.whole ? call->get.offset : 0;
  hasher_ = Hasher64();
  if (filled_ > 0) hasher_.Update(ByteView(call->get.into).first(filled_));
  if (!call->get.whole) hasher_.Update(call->get.before);
  if (call->get.pieces != nullptr) sink_ = PieceSink(call->get.offset, call->get.pieces);
  enough_ = longer_ = false;
  text_.clear();
  error_[0] = '\0';

  const HttpTarget target =
      maker.TargetOf(call->name, call->kind == Ask::Kind::kList ? &call->list : nullptr);
  maker.Headers(call->ask, target, call->put, time(nullptr), headers_);
  header_list_.resize(headers_.size());
  for (size_t i = 0; i < headers_.size(); ++i) {
    header_list_[i].data = headers_[i].data();
    header_list_[i].next = i + 1 < headers_.size() ? &header_list_[i + 1] : nullptr;
  }
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, header_list_.data());
  curl_easy_setopt(easy_, CURLOPT_URL, target.Url().c_str());
  SetMethod();
  // A signature is for one host, so only plain HTTP follows redirects.
  curl_easy_setopt(easy_, CURLOPT_FOLLOWLOCATION, call->ask.s3 ? 0L : 1L);
  if (target.host != last_host_) {
    const bool direct = IsLoopback(target.host);
    const char* proxy = options_.proxy ? options_.proxy->c_str() : nullptr;
    curl_easy_setopt(easy_, CURLOPT_PROXY, direct ? "" : proxy);
    last_host_ = target.host;
  }
  multi_.Add(easy_);
}

void Transfer::SetMethod() {
  curl_easy_setopt(easy_, CURLOPT_HTTPGET, 1L);  // whatever the last call was
  curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, nullptr);
  if (call_->kind == Ask::Kind::kHead) curl_easy_setopt(easy_, CURLOPT_NOBODY, 1L);
  if (call_->kind != Ask::Kind::kPut) return;
  const ByteView body = call_->put;
  curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, body.empty() ? "" : AsText(body).data());
  curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, "PUT");
}

uint64_t Transfer::Moved() const {
  curl_off_t sent = 0;
  curl_easy_getinfo(easy_, CURLINFO_SIZE_UPLOAD_T, &sent);
  return received_ + static_cast<uint64_t>(sent);
}

bool Transfer::Stalled(Time now, Duration window, uint64_t least) {
  if (now - window_began_ < window) return false;
  const uint64_t moved = Moved();
  const bool stalled = moved - window_moved_ < least;
  window_began_ = now;
  window_moved_ = moved;
  return stalled;
}

size_t Transfer::OnHeader(char* data, size_t, size_t size, void* self) {
  auto* transfer = static_cast<Transfer*>(self);
  // What comes after the body are trailers; they change nothing that the body was judged by.
  if (transfer->body_ == Content::kUnknown) transfer->head_.AddLine({data, size});
  return size;
}

size_t Transfer::OnBody(char* data, size_t, size_t size, void* self_pointer) {
  auto* self = static_cast<Transfer*>(self_pointer);
  const std::string_view bytes(data, size);
  self->received_ += size;
  if (self->body_ == Content::kUnknown) self->body_ = self->Classify();
  bool go_on = !self->refused_;
  if (go_on && self->body_ == Content::kObject) go_on = self->TakeObject(bytes);
  if (go_on && self->body_ == Content::kListing)
    go_on = self->TakeText(bytes, kMaxListingText, true);
  if (go_on && self->body_ == Content::kRefusal) {
    go_on = self->TakeText(bytes, kMaxRefusalText, false) && self->received_ <= kMaxRefusalBody;
  }
  return go_on ? size : 0;
}

// The head is whole once the body begins.
Transfer::Content Transfer::Classify() {
  if (head_.status != 200 && head_.status != 206) return Content::kRefusal;
  refused_ = JudgeHead(call_->ask, head_);
  if (!refused_) refused_ = JudgeExpiry();
  skip_ = BytesToSkip(call_->ask, head_);
  if (call_->kind == Ask::Kind::kPut) return Content::kRefusal;  // nothing that anybody needs
  return call_->kind == Ask::Kind::kList ? Content::kListing : Content::kObject;
}

bool Transfer::TakeObject(std::string_view data) {
  const size_t skipped = std::min<uint64_t>(skip_, data.size());
  skip_ -= skipped;
  data.remove_prefix(skipped);
  const uint64_t room = call_->get.length - filled_;
  const size_t n = std::min<uint64_t>(room, data.size());
  // Hashed where they come from, which is still in the cache: where they go is memory that nobody
  // looks at soon.
  const ByteView bytes = AsBytes(data.substr(0, n));
  if (call_->get.pieces != nullptr) {
    sink_.Take(bytes);
  } else {
    hasher_.Update(bytes);
    StreamCopy(call_->get.into.data() + filled_, bytes.data(), n);
  }
  filled_ += n;
  longer_ = n < data.size();
  // A server without ranges goes on to the end of the object.
  enough_ = filled_ == call_->get.length && head_.content_length && !call_->get.whole &&
            head_.status == 200 && *head_.content_length > call_->ask.end();
  return !longer_ && !enough_;
}

bool Transfer::TakeText(std::string_view data, size_t limit, bool stop_at_limit) {
  const size_t n = std::min(data.size(), limit - text_.size());
  text_.append(data.substr(0, n));
  return n == data.size() || !stop_at_limit;
}

Verdict Transfer::End(CURLcode code, HttpCall::Answer& answer) {
  multi_.Remove(easy_);
  Verdict verdict = Judge(code, answer);
  call_ = nullptr;
  return verdict;
}

void Transfer::Cancel() {
  multi_.Remove(easy_);
  call_ = nullptr;
}

Verdict Transfer::Judge(CURLcode code, HttpCall::Answer& answer) {
  if (refused_) return *refused_;
  const bool refusal_cut = body_ == Content::kRefusal && code == CURLE_WRITE_ERROR;
  if (code != CURLE_OK && !enough_ && !longer_ && !refusal_cut) return JudgeTransport(code);
  if (head_.status != 200 && head_.status != 206) {
    return JudgeRefusal(call_->ask, head_, text_);
  }
  if (body_ == Content::kUnknown) {  // no body came, so nobody has looked at the head
    if (std::optional<Verdict> verdict = JudgeHead(call_->ask, head_); verdict) return *verdict;
  }
  if (call_->kind == Ask::Kind::kList) return JudgeListing(answer);
  if (call_->kind == Ask::Kind::kPut) {
    answer.info = {call_->put.size(), VersionOf(head_, call_->put.size())};
    return {};
  }
  if (std::optional<Verdict> verdict = JudgeExpiry(); verdict) return *verdict;
  answer.info.expires_s = head_.expires_s;
  if (call_->kind == Ask::Kind::kHead) {
    answer.info.size = *head_.content_length;
    answer.info.etag = VersionOf(head_, answer.info.size);
    return {};
  }
  Body body{.received = received_, .longer = longer_ && !enough_};
  if (call_->get.pieces != nullptr) {
    body.scattered = filled_;
  } else {
    body.bytes = ByteView(call_->get.into).first(filled_);
  }
  Verdict verdict = JudgeBody(call_->ask, head_, body);
  if (!verdict.status.ok()) return verdict;
  answer.info.size = ObjectSize(call_->ask, head_, received_);
  answer.info.etag = VersionOf(head_, answer.info.size);
  answer.hash = hasher_.Digest();
  return verdict;
}

// A store may take its time to remove what has expired.
std::optional<Verdict> Transfer::JudgeExpiry() const {
  if (!HasExpired(head_.expires_s, {std::time(nullptr)})) return std::nullopt;
  return Verdict{
      Status::NotFound(std::string(call_->ask.uri) + ": it has expired, its store says")};
}

Verdict Transfer::JudgeTransport(CURLcode code) const {
  std::string text(call_->ask.uri);
  text += ": ";
  text += error_[0] != '\0' ? error_.data() : curl_easy_strerror(code);
  if (code == CURLE_WRITE_ERROR && body_ == Content::kListing) {
    return {Status::Corrupt(text + "; the listing is longer than 16 MiB")};
  }
  // Not where a redirect leads, but what answered: curl takes it for HTTP/0.9.
  if (code == CURLE_UNSUPPORTED_PROTOCOL && head_.status == 0) {
    return {Status::Unavailable(text + "; no HTTP server answers there, check host and port"),
            Retry::kYes};
  }
  if (std::optional<Status> final_error = FinalTransportError(code, text); final_error) {
    return {*final_error};
  }
  return {Status::Unavailable(text), Retry::kYes};
}

}  // namespace holdfast::far
