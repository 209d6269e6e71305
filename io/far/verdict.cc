// SPDX-License-Identifier: Apache-2.0
#include "io/far/verdict.h"

#include <algorithm>

#include "io/far/s3_xml.h"

namespace holdfast::far {
namespace {

constexpr int kOk = 200;
constexpr int kPartial = 206;
constexpr int kBadRequest = 400;
constexpr int kDeniedLow = 401;
constexpr int kForbidden = 403;
constexpr int kMissing = 404;
constexpr int kPreconditionFailed = 412;
constexpr int kRangeNotSatisfiable = 416;

// Of a server without ranges: each further piece of an object has all before it come once more.
constexpr uint64_t kMostSkipped = 64 * kMiB;

std::string Text(const Ask& ask, std::string_view what) {
  return std::string(ask.uri).append(": ").append(what);
}

bool IsTransient(int status) {
  return status == 408 || status == 425 || status == 429 || status == 500 || status == 502 ||
         status == 503 || status == 504;
}

// `HTTP 403 AccessDenied ("...")`.
std::string Answer(const ResponseHead& head, const std::optional<S3Error>& error) {
  std::string text = "HTTP " + std::to_string(head.status);
  if (error) {
    text += " " + error->code;
    if (!error->message.empty()) text += " (\"" + error->message + "\")";
  }
  return text;
}

// What to check when access is refused, by S3's error code.
std::string Advice(const Ask& ask, std::string_view code) {
  if (!ask.s3) return "check whether this server lets this machine read";
  if (!ask.is_signed) {
    return "no credentials were used; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile";
  }
  if (code == "InvalidAccessKeyId") return "check the access key";
  if (code == "SignatureDoesNotMatch") {
    return "check the secret key and the region, which is \"" + std::string(ask.region) + "\"";
  }
  if (code == "AuthorizationHeaderMalformed") {
    return "check the region, which is \"" + std::string(ask.region) + "\", and the access key";
  }
  if (code == "InvalidObjectState") return "it is archived; restore it in its store first";
  if (code == "RequestTimeTooSkewed") return "check this machine's clock";
  if (code == "ExpiredToken" || code == "InvalidToken" || code == "TokenRefreshRequired") {
    return "renew the session token";
  }
  if (ask.kind == Ask::Kind::kPut) {
    return "check the keys and whether the bucket's policy allows them to write";
  }
  return "check the keys and what the bucket's policy allows them";
}

Verdict Missing(const Ask& ask, std::string_view code) {
  const bool no_bucket = code == "NoSuchBucket" || (ask.kind == Ask::Kind::kList && ask.s3);
  if (no_bucket) {
    return {Status::NotFound(
        Text(ask, "the bucket does not exist at this endpoint; check both names"))};
  }
  if (ask.s3 && ask.kind == Ask::Kind::kHead) {
    return {Status::NotFound(Text(ask, "the object or its bucket does not exist"))};
  }
  return {Status::NotFound(Text(ask, "the object does not exist"))};
}

Verdict Redirected(const Ask& ask, const ResponseHead& head, const std::string& answer) {
  std::string text = answer + "; the bucket belongs to another endpoint or region";
  if (!head.bucket_region.empty()) text += " (\"" + head.bucket_region + "\")";
  return {Status::Invalid(Text(ask, text + "; configure that one"))};
}

// S3 answers so to a HEAD for another region and to one with a stale token; there is no body to
// tell them apart.
Verdict BadHead(const Ask& ask, const ResponseHead& head, const std::string& answer) {
  if (!head.bucket_region.empty() && head.bucket_region != ask.region) {
    return Redirected(ask, head, answer);
  }
  return {Status::Invalid(Text(ask, answer + "; check the region, which is \"" +
                                        std::string(ask.region) + "\", and the session token"))};
}

Verdict Changed(const Ask& ask, std::string_view what) {
  return {Status::Changed(Text(ask, std::string(what) + "; list it again"))};
}
Verdict Wrong(const Ask& ask, std::string_view what) {
  return {Status::Corrupt(Text(ask, what)), Retry::kOnce};
}

// A size that is not the planned one is another version, unless the store says by the ETag that it
// is the same one: then the answer contradicts itself, and the next one may not.
Verdict WrongSize(const Ask& ask, const ResponseHead& head, uint64_t size) {
  Verdict verdict = Changed(ask, "has " + std::to_string(size) + " bytes, " +
                                     std::to_string(ask.length) + " were planned");
  if (!ask.etag.empty() && head.etag == ask.etag) verdict.retry = Retry::kOnce;
  return verdict;
}

Verdict Shorter(const Ask& ask) { return Changed(ask, "has fewer bytes than were planned"); }

std::optional<Verdict> JudgeVersion(const Ask& ask, const ResponseHead& head, uint64_t size) {
  if (ask.etag.empty()) return std::nullopt;
  const std::string version = VersionOf(head, size);
  if (version == ask.etag) return std::nullopt;
  return Changed(ask, "is version " + version + " now, " + std::string(ask.etag) + " was planned");
}

std::optional<Verdict> JudgePartial(const Ask& ask, const ResponseHead& head) {
  if (!ask.ranged) return Wrong(ask, "the whole object was asked for, the store sent a part");
  if (!head.content_range) return Wrong(ask, "a part came without a valid Content-Range");
  const ContentRange& range = *head.content_range;
  if (!range.total && !ask.whole) {
    return Verdict{Status::Invalid(Text(ask, "a part came that does not say of how many bytes")),
                   Retry::kUnranged};
  }
  const uint64_t total = range.total.value_or(ask.length);
  const uint64_t end = std::min(ask.end(), total);
  if (range.first != ask.offset || end <= ask.offset || range.last != end - 1) {
    return Wrong(ask, "bytes " + std::to_string(ask.offset) + "-" + std::to_string(ask.end() - 1) +
                          " were asked for, the store sent " + std::to_string(range.first) + "-" +
                          std::to_string(range.last));
  }
  if (head.content_length && *head.content_length != end - ask.offset) {
    return Wrong(ask, "Content-Length and Content-Range contradict each other");
  }
  if (!range.total && head.etag.empty() && !ask.etag.empty()) {
    return Wrong(ask, "a part came without anything that tells its version");
  }
  if (std::optional<Verdict> verdict = JudgeVersion(ask, head, total); verdict) return verdict;
  if (ask.whole && total != ask.length) return WrongSize(ask, head, total);
  return std::nullopt;
}

std::optional<Verdict> JudgeWhole(const Ask& ask, const ResponseHead& head) {
  if (!head.content_length) return std::nullopt;  // chunked: the end tells
  const uint64_t size = *head.content_length;
  if (std::optional<Verdict> verdict = JudgeVersion(ask, head, size); verdict) return verdict;
  if (ask.whole && size != ask.length) return WrongSize(ask, head, size);
  if (!ask.whole && ask.offset > 0 && size <= ask.offset) return Shorter(ask);
  if (BytesToSkip(ask, head) > kMostSkipped) {
    return Verdict{Status::Invalid(
        Text(ask, "the server sends no ranges, and all before byte " + std::to_string(ask.offset) +
                      " would come in vain: read the whole object, and with chunk = 0"))};
  }
  return std::nullopt;
}

}  // namespace

std::optional<Verdict> JudgeHead(const Ask& ask, const ResponseHead& head) {
  if (head.status == kPartial && ask.kind == Ask::Kind::kGet) return JudgePartial(ask, head);
  if (head.status != kOk) return JudgeRefusal(ask, head, "");
  if (ask.kind == Ask::Kind::kGet) return JudgeWhole(ask, head);
  if (ask.kind == Ask::Kind::kHead && !head.content_length) {
    return Verdict{Status::Invalid(Text(ask, "the server does not say how long it is"))};
  }
  return std::nullopt;
}

Verdict JudgeRefusal(const Ask& ask, const ResponseHead& head, std::string_view body) {
  const std::optional<S3Error> error = ask.s3 ? ParseError(body) : std::nullopt;
  const std::string code = error ? error->code : "";
  const std::string answer = Answer(head, error);
  const int status = head.status;
  if (status == kPreconditionFailed) return Changed(ask, "changed since it was planned");
  if (status == kRangeNotSatisfiable) {
    Verdict verdict = Shorter(ask);
    if (ask.ranged && ask.offset == 0) verdict.retry = Retry::kUnranged;
    return verdict;
  }
  if (status == kMissing) return Missing(ask, code);
  if (status == kForbidden || status == kDeniedLow) {
    return {Status::Denied(Text(ask, answer + "; " + Advice(ask, code)))};
  }
  if (IsTransient(status) || code == "RequestTimeout" || code == "SlowDown") {
    return {Status::Unavailable(Text(ask, answer)), Retry::kYes, status == 503 || status == 429};
  }
  if (code == "AuthorizationHeaderMalformed" || code == "ExpiredToken" || code == "InvalidToken") {
    return {Status::Denied(Text(ask, answer + "; " + Advice(ask, code)))};
  }
  if (status >= 300 && status < 400 && ask.s3) return Redirected(ask, head, answer);
  if (status == kBadRequest && ask.is_signed && ask.kind == Ask::Kind::kHead) {
    return BadHead(ask, head, answer);
  }
  if (status >= 400 && status < 500) return {Status::Invalid(Text(ask, answer))};
  return {Status::Unavailable(Text(ask, answer)), Retry::kOnce};
}

Verdict JudgeBody(const Ask& ask, const ResponseHead& head, const Body& body) {
  if (body.longer && head.status != kOk) {
    return Wrong(ask, "more bytes came than Content-Range says");
  }
  if (body.longer && !ask.whole) {
    return {Status::Invalid(Text(ask, "the server sends no ranges and says no length"))};
  }
  if (head.status == kOk) {  // one without a length has not been looked at yet
    const uint64_t came = ask.whole ? body.received : ObjectSize(ask, head, body.received);
    if (std::optional<Verdict> verdict = JudgeVersion(ask, head, came); verdict) {
      return std::move(*verdict);
    }
    if (ask.whole && came != ask.length) return WrongSize(ask, head, came);
  }
  const uint64_t size = ObjectSize(ask, head, body.received);
  const uint64_t begin = ask.whole ? 0 : ask.offset;
  const uint64_t landed = body.scattered + body.bytes.size();
  if (begin + landed != std::min(ask.end(), size)) return Shorter(ask);
  // Checksums are of whole objects, and what a part's are of differs from store to store.
  const bool first_to_last = begin == 0 && body.scattered == 0 && body.bytes.size() == size;
  if (!first_to_last || (head.status != kOk && ask.offset > 0)) return {};
  for (const GivenChecksum& given : head.checksums) {
    if (ChecksumBase64(given.kind, body.bytes) != given.base64) {
      return Wrong(ask, "the bytes do not have the " + std::string(ChecksumName(given.kind)) +
                            " that the store gives");
    }
  }
  return {};
}

uint64_t BytesToSkip(const Ask& ask, const ResponseHead& head) {
  return head.status == kOk ? ask.offset : 0;
}

uint64_t ObjectSize(const Ask& ask, const ResponseHead& head, uint64_t received) {
  if (ask.whole) return ask.length;
  if (head.status == kOk) return head.content_length.value_or(received);
  return *head.content_range->total;
}

}  // namespace holdfast::far
