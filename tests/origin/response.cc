// SPDX-License-Identifier: Apache-2.0
#include "tests/origin/response.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "io/far/checksum.h"

namespace holdfast::origin {
namespace {

constexpr uint64_t kLengthLie = 10;
constexpr char kLastModified[] = "Last-Modified: Fri, 24 May 2013 00:00:00 GMT\r\n";

std::string_view Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 206:
      return "Partial Content";
    case 404:
      return "Not Found";
    case 412:
      return "Precondition Failed";
    case 416:
      return "Range Not Satisfiable";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

std::string StatusLine(int status) {
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(Reason(status)) + "\r\n";
}

Response MakeText(const Request& request, int status, const std::string& headers,
                  std::string body) {
  Response response;
  response.head =
      StatusLine(status) + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  response.text = std::move(body);
  response.send_bytes = request.method == "HEAD" ? 0 : response.text.size();
  return response;
}

Response MakeError(const Request& request, int status, const std::string& code,
                   const std::string& headers = "") {
  return MakeText(request, status, headers + "Content-Type: application/xml\r\n",
                  "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + code +
                      "</Code><Message>made by the test origin</Message></Error>");
}

Response MakeFaultStatus(const Request& request, const FaultRule& fault) {
  std::string headers;
  if (fault.retry_after) {
    headers =
        "Retry-After: " + std::to_string(*fault.retry_after / std::chrono::seconds(1)) + "\r\n";
  }
  return MakeError(request, fault.status, fault.code, headers);
}

// How a body with a fault ends, and after how many bytes.
void SpoilBody(FaultKind kind, Response* response) {
  if (kind == FaultKind::kTruncate || kind == FaultKind::kReset || kind == FaultKind::kStall) {
    response->send_bytes /= 2;
  }
  if (kind == FaultKind::kShortLength) {
    response->send_bytes -= std::min(response->send_bytes, kLengthLie);
  }
  switch (kind) {
    case FaultKind::kTruncate:
    case FaultKind::kLongLength:
      response->ending = Ending::kClose;
      break;
    case FaultKind::kReset:
      response->ending = Ending::kReset;
      break;
    case FaultKind::kStall:
      response->ending = Ending::kHang;
      break;
    case FaultKind::kWrongBytes:
      response->wrong_at = static_cast<int64_t>(response->offset + response->send_bytes / 2);
      break;
    default:
      break;
  }
}

std::string Checksum(const Content& content, uint64_t size) {
  Buffer bytes(size);
  content.Read(0, bytes.span());
  return far::ChecksumBase64(far::ChecksumKind::kCrc32c, bytes.view());
}

std::string LengthHeader(FaultKind kind, bool faulty, uint64_t length) {
  if (faulty && kind == FaultKind::kChunked) return "Transfer-Encoding: chunked\r\n";
  if (faulty && kind == FaultKind::kLongLength) length += kLengthLie;
  if (faulty && kind == FaultKind::kShortLength) length -= std::min(length, kLengthLie);
  return "Content-Length: " + std::to_string(length) + "\r\n";
}

}  // namespace

Response MakeCanned(const Request& request, CannedResponse canned) {
  std::string headers;
  for (const std::string& header : canned.headers) headers += header + "\r\n";
  return MakeText(request, canned.status, headers, std::move(canned.body));
}

Response MakeResponse(const Request& request, uint64_t version, const FaultRule* fault,
                      const ResponseOptions& options) {
  const bool faulty = fault != nullptr;
  const FaultKind kind = faulty ? fault->kind : FaultKind::kStatus;
  const auto is = [&](FaultKind other) { return faulty && kind == other; };
  if (is(FaultKind::kStatus)) return MakeFaultStatus(request, *fault);
  const std::optional<uint64_t> size = SizeInPath(request.path);
  if (!size) return MakeError(request, 404, "NoSuchKey");

  const Content content(request.path, is(FaultKind::kOtherETag) ? version + 1 : version);
  const std::string etag = "\"" + content.ETag() + "\"";
  const std::string_view if_match = request.Header("if-match");
  if (!if_match.empty() && if_match != etag && !is(FaultKind::kOtherETag)) {
    return MakeError(request, 412, "PreconditionFailed");
  }
  Response response;
  response.content = content;
  response.send_bytes = *size;
  int status = 200;
  std::string headers = kLastModified;
  const auto range = request.Range();
  if (range && !is(FaultKind::kNoRange)) {
    if (range->first >= *size || range->first > range->second)
      return MakeError(request, 416, "InvalidRange",
                       "Content-Range: bytes */" + std::to_string(*size) + "\r\n");
    const uint64_t shift = is(FaultKind::kWrongRange) ? 1 : 0;
    const uint64_t first = range->first + shift;
    const uint64_t last = std::max(first, std::min(range->second + shift, *size - 1));
    status = 206;
    response.offset = first;
    response.send_bytes = last - first + 1;
    headers += "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) + "/" +
               std::to_string(*size) + "\r\n";
  }
  if (options.checksums && response.send_bytes == *size) {
    headers += "x-amz-checksum-crc32c: " + Checksum(content, *size) + "\r\n";
  }
  if (!is(FaultKind::kNoETag)) headers += "ETag: " + etag + "\r\n";
  headers += LengthHeader(kind, faulty, response.send_bytes);
  response.head = StatusLine(status) + headers + "Accept-Ranges: bytes\r\n\r\n";
  if (is(FaultKind::kChunked)) {
    std::array<char, 24> chunk;
    std::snprintf(chunk.data(), chunk.size(), "%llx\r\n",
                  static_cast<unsigned long long>(response.send_bytes));
    if (request.method != "HEAD") response.head += chunk.data();
    response.chunked = response.send_bytes > 0;
  }
  if (faulty) SpoilBody(kind, &response);
  if (request.method == "HEAD") {
    response.send_bytes = 0;
    response.chunked = false;
  }
  return response;
}

}  // namespace holdfast::origin
