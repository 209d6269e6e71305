// SPDX-License-Identifier: Apache-2.0
// Turns a call into the URL and the header lines that are sent, signed where it has to be.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/uri.h"
#include "io/far/far_options.h"
#include "io/far/sigv4.h"
#include "io/far/verdict.h"

namespace holdfast::far {

// Where a request goes. `path` and `query` are encoded exactly as they are sent and signed.
struct HttpTarget {
  std::string scheme;  // "http" or "https"
  std::string host;    // with a port that is not the default
  std::string path;
  std::string query;
  std::string Url() const;
};

struct ListAsk {
  std::string token;  // continuation token of the page before; empty for the first
  bool delimited = false;
};

class HttpRequestMaker {
 public:
  explicit HttpRequestMaker(const S3Options& options);

  // Whether requests to the endpoint of this name are signed: credentials go to the configured
  // endpoint only.
  bool Signs(const FarName& name) const;
  HttpTarget TargetOf(const FarName& name, const ListAsk* list) const;
  // Replaces the elements of `headers`, "Name: value" each. `unix_seconds` is the time of the
  // signature, `body` what a PUT sends: the store refuses other bytes than those that were signed.
  void Headers(const Ask& ask, const HttpTarget& target, ByteView body, int64_t unix_seconds,
               std::vector<std::string>& headers);

 private:
  void SignedHeaders(const Ask& ask, const HttpTarget& target, ByteView body, int64_t unix_seconds,
                     std::vector<std::string>& headers);

  bool virtual_hosted_;
  std::optional<FarName> endpoint_;  // scheme and authority of the only store that is signed for
  std::unique_ptr<Signer> signer_;
};

}  // namespace holdfast::far
