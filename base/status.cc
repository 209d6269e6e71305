// SPDX-License-Identifier: Apache-2.0
#include "base/status.h"

#include <cstdio>
#include <cstdlib>

namespace holdfast {

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kInvalid:
      return "invalid";
    case Code::kNotFound:
      return "not found";
    case Code::kDenied:
      return "denied";
    case Code::kChanged:
      return "changed";
    case Code::kCorrupt:
      return "corrupt";
    case Code::kNoSpace:
      return "no space";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kTimeout:
      return "timeout";
  }
  return "unknown";
}

std::string Status::ToString() const {
  if (ok()) return "ok";
  return std::string(CodeName(code_)) + ": " + message_;
}

Status Status::Annotate(std::string_view context) const {
  if (ok()) return *this;
  return {code_, std::string(context) + ": " + message_};
}

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "holdfast: internal error at %s:%d: %s does not hold; please report it\n",
               file, line, condition);
  std::abort();
}

}  // namespace holdfast
