// SPDX-License-Identifier: Apache-2.0
// What is written for tiny objects that are packed, for bench space.
#pragma once

#include <string>

namespace holdfast::bench {

struct TinySpace {
  double write_amplification = 0;       // written, for a byte of what comes: payload, name and ETag
  double written_per_payload_byte = 0;  // for a byte of payload
  double utilization = 0;               // payload that is there, of the disk
};

TinySpace MeasureTinySpace(const std::string& directory, bool quick);

}  // namespace holdfast::bench
