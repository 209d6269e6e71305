// SPDX-License-Identifier: Apache-2.0
// Traces of requests: from a file, or made up from a seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace holdfast::bench {

struct Trace {
  static constexpr uint32_t kNever = UINT32_MAX;

  std::string name;
  bool skewed = false;             // some objects are asked for much more often than others
  bool quick = false;              // one of the few for those in a hurry
  std::vector<uint32_t> requests;  // numbers of objects, in the order of time
  std::vector<uint32_t> sizes;     // bytes, by object; at least 1
  std::vector<uint32_t> next;  // by request: the position of the same object's next one, or kNever

  uint64_t FootprintBytes() const;  // of all objects together
};

// Lines of time, object, size, comma-separated, in the order of time; lines that begin with # and a
// first line without numbers are skipped. An object is any text without a comma, and has the size
// of its first request. kInvalid with the line's number.
Result<Trace> ReadTrace(const std::string& path);

// Every kind of load in both kinds of sizes, `requests` of each.
std::vector<Trace> MakeTraces(uint32_t requests);

// Divides all sizes by `by`, rounding up.
void ScaleDown(Trace* trace, uint32_t by);

}  // namespace holdfast::bench
