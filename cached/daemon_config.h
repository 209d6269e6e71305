// SPDX-License-Identifier: Apache-2.0
// The configuration of the daemon; docs/operators.md has the table of keys.
#pragma once

#include <string>
#include <vector>

#include "base/log.h"
#include "cached/node.h"
#include "cached/store/disk_tier.h"
#include "cached/store/memory_tier.h"
#include "io/config/config_file.h"
#include "io/far/far_options.h"
#include "io/shm/region_file.h"

namespace holdfast::cached {

struct DaemonConfig {
  NodeOptions node;                 // incarnation and endpoints are filled in as they become known
  store::MemoryTierOptions memory;  // memory_bytes: the region, which is `limit` less `planning`
  uint64_t memory_limit = 1 * kGiB;
  std::string disk_directory;
  std::string disk_at;  // a storage server instead; both empty: no disk tier
  Duration disk_patience = 10s;
  std::string disk_far_copy;  // canonical prefix of the segments' copies; empty: none
  bool reclaim_reads_far = false;
  std::string reclaim_at;  // who moves the bytes of reclaim; empty: the node
  Duration reclaim_patience = 10s;
  uint64_t disk_segment = 0;
  uint64_t disk_segments = 0;
  uint64_t disk_depth = 32;
  store::DiskTierOptions disk;
  std::string journal_directory;  // empty: the state directory
  std::string journal_at;         // a storage server instead
  Duration journal_patience = std::chrono::minutes(5);
  uint64_t journal_limit = 0;  // 0: no journal
  std::string state_directory;
  std::string group;
  bool keep_memory = false;  // when the daemon ends, for the next one
  shm::HugePages huge_pages = shm::HugePages::kAuto;
  std::string control_endpoint = "tcp://127.0.0.1:7070";
  std::string bulk_endpoint = "tcp://127.0.0.1:7071";
  std::string advertise_bulk;  // what others are told; empty: bulk_endpoint with its real port
  std::string cluster_key_file;
  uint64_t bulk_threads = 1;
  far::FarOptions far;
  std::vector<std::string> packed;          // canonical prefixes of packed data sets
  uint64_t packed_memory = 0;               // for their indices, out of the planning memory
  MicroUsd micro_usd_per_hour = 1'000'000;  // of waiting
  LogLevel log_level = LogLevel::kInfo;
};

// kInvalid names the key; kDenied and kNotFound the file that cannot be read.
Result<DaemonConfig> ReadDaemonConfig(config::ConfigFile* file);

}  // namespace holdfast::cached
