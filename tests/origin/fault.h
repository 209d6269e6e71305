// SPDX-License-Identifier: Apache-2.0
// What may go wrong at the origin, and when.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "base/units.h"

namespace holdfast::origin {

enum class FaultKind : uint8_t {
  kStatus,       // an error status with S3's XML
  kTruncate,     // half of the body, then the connection is closed
  kReset,        // half of the body, then a TCP reset
  kLongLength,   // Content-Length says 10 bytes more than come
  kShortLength,  // Content-Length says 10 bytes less than the object has
  kWrongBytes,   // right headers, one other byte
  kWrongRange,   // the range asked for, moved by one byte
  kNoRange,      // the whole object where a range was asked for
  kOtherETag,    // another version's ETag and bytes, whatever If-Match says
  kNoETag,       // no ETag; Last-Modified only
  kChunked,      // no Content-Length
  kStall,        // half of the body, then nothing
  kHang,         // no answer at all
};
inline constexpr size_t kFaultKinds = 13;

// "status", "truncate", ...
std::string_view FaultName(FaultKind kind);

struct FaultRule {
  FaultKind kind = FaultKind::kStatus;
  double probability = 1;
  std::string path = {};  // paths that contain it; empty: all
  uint32_t times = 0;     // only the first requests for each path; 0: all
  int status = 503;
  std::string code = "SlowDown";  // S3's, of a kStatus
  std::optional<Duration> retry_after = {};
};

// "status,p=0.01,status=500,path=/o/,times=2,retry-after=1s": the kind first. kInvalid names what
// is allowed.
Result<FaultRule> ParseFault(std::string_view text);

// Picks the fault of each request; the first rule that fires wins.
class FaultChooser {
 public:
  FaultChooser(std::vector<FaultRule> rules, uint64_t seed)
      : rules_(std::move(rules)), random_(seed) {
    seen_.resize(rules_.size());
  }
  const FaultRule* Choose(const std::string& path);

 private:
  std::vector<FaultRule> rules_;
  std::vector<std::map<std::string, uint32_t>> seen_;  // per rule with `times`
  Random random_;
};

}  // namespace holdfast::origin
