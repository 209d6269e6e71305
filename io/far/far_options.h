// SPDX-License-Identifier: Apache-2.0
// What a FarClient is told at birth. Nothing here comes from the process's environment unless a
// caller puts it here: io/far/aws_settings.h reads the usual AWS variables and files.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/units.h"
#include "io/far/sigv4.h"

namespace holdfast::far {

// What the far store bills; directories are free. The defaults are the list prices of Amazon S3
// Standard in the United States: GET and HEAD, LIST and PUT, and bytes that leave the region.
struct Prices {
  MicroUsd per_1000_gets = 400;
  MicroUsd per_1000_lists = 5'000;  // and PUTs
  MicroUsd per_gb = 90'000;         // 10^9 bytes
};

inline constexpr char kDefaultRegion[] = "us-east-1";

struct S3Options {
  // "http://host:port" or "https://host": completes s3://bucket/key names, and the only store whose
  // requests are signed. Empty: requests to every S3 endpoint are signed.
  std::string endpoint = {};
  std::string region = {};       // empty: kDefaultRegion
  bool virtual_hosted = false;   // https://bucket.host/key instead of https://host/bucket/key
  Credentials credentials = {};  // none: anonymous requests
  bool anonymous = false;        // AddAwsSettings looks for no credentials
};

struct FarLimits {
  // Connections in flight follow the measured throughput between the two; equal values fix them.
  uint32_t min_connections = 8;
  uint32_t max_connections = 256;
  uint32_t http_threads = 1;  // that share the connections; one receives and hashes 2 to 3 GB/s
  uint32_t directory_threads = 4;
  uint32_t max_calls = 1 << 20;  // accepted and not yet answered; beyond that kNoSpace
};

struct FarTimeouts {
  Duration connect = 10s;
  Duration attempt = 300s;  // of one request, all of its bytes
  // A request that moves less than `stall_bytes` in `stall` is given up and tried again.
  Duration stall = 15s;
  uint64_t stall_bytes = 4096;
  uint32_t max_attempts = 8;
  // Retry n waits uniformly in [0, min(backoff * 2^n, backoff_limit)], and at least Retry-After.
  Duration backoff = 100ms;
  Duration backoff_limit = 20s;
};

struct FarOptions {
  S3Options s3;
  FarLimits limits;
  FarTimeouts timeouts;
  Prices prices;
  std::string ca_bundle;  // PEM file; empty: the system's
  // Unset: by http_proxy, https_proxy and no_proxy; "": none. Never for loopback.
  std::optional<std::string> proxy;
  // Only files below these may be read; empty: all that the process may read.
  std::vector<std::string> directory_roots;
  Log* log = nullptr;  // outlives the client
  // The clock of the deadlines, called from any thread; unset: CLOCK_MONOTONIC in microseconds.
  std::function<Time()> now;
  uint64_t seed = 0;  // of the jitter; 0: the kernel's choice
};

}  // namespace holdfast::far
