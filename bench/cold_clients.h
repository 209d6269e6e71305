// SPDX-License-Identifier: Apache-2.0
// The readers of the cold benchmark. Each run is a process of its own, forked for it, so that its
// processor time is its own and no run leaves anything behind for the next one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/servers.h"

namespace holdfast::bench {

// Objects that nobody has asked for before.
struct ColdSet {
  uint64_t size = 0;
  std::vector<std::string> paths;  // "/o/<size>/<id>"
  std::vector<std::string> etags;
  std::vector<uint64_t> first_words;  // of the right bytes
};
// `number` makes the names new.
ColdSet MakeColdSet(uint64_t size, size_t count, uint64_t number);

// Thrown by the two below when their process ended early; it has said why. Unwinding stops the
// servers.
struct ReaderFailed {};

struct Run {
  double seconds = 0;
  double server_cpu_s = 0;  // origin, and the cache where there is one
  double client_cpu_s = 0;
  double plan_s = 0;       // of `seconds`, for the job's call until the last acknowledgement
  double local_share = 0;  // of the objects, read from mapped memory
};

struct CurlSpec {
  std::string base_url;
  uint32_t connections = 1;
};
// A plain program on libcurl's multi interface: curl_multi_socket_action and epoll, keep-alive, a
// posted buffer for each connection that stays in the processor's cache.
Run RunCurl(const ColdSet& set, const CurlSpec& spec,
            const std::vector<const ServerProcess*>& servers);

struct HoldfastSpec {
  std::string origin;
  std::string control;
  std::string state_directory;
  bool verify_all = false;  // compare every byte (outside of measurements)
};
// The client library as a job uses it: the list (with sizes and ETags, as listed before) is planned
// and read in order.
Run RunHoldfast(const ColdSet& set, const HoldfastSpec& spec,
                const std::vector<const ServerProcess*>& servers);

}  // namespace holdfast::bench
