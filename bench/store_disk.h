// SPDX-License-Identifier: Apache-2.0
// Gets from a node's disk tier, not out of any cache, beside fio's random reads of the same size with
// as many in flight.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"

namespace holdfast::bench {

struct DiskGets {
  uint64_t bytes = 0;     // of an object
  double gets_per_s = 0;  // medians of the rounds
  double fio_reads_per_s = 0;
  double ratio = 0;  // the median of the rounds' ratios
  // Fio's reads of what a get reads: as many sectors as a record with its head has, from any sector on.
  double fio_records_per_s = 0;
};

// `directory` is on the disk that is measured. Ends the program when there is no fio.
std::vector<DiskGets> MeasureDiskGets(const std::string& directory, int rounds, Duration span);

// fio's 20,000 reads of 8 KiB a second, beside 100 writes of 128 KiB: what packed tiny objects ask of the
// device, about, and what it makes of that.
struct DeviceTail {
  double p99_ms = 0, p999_ms = 0;
};
DeviceTail MeasureDeviceTail(const std::string& directory, Duration span);

}  // namespace holdfast::bench
