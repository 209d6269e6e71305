// SPDX-License-Identifier: Apache-2.0
// Packs a data set: what is below `dest` is listed, the packs are made a few at a time
// (packs/pack_job.h), and the index is written when all of them are there. Whoever is killed in the
// middle has lost nothing: the next packer finds the packs that are finished.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "packs/pack_index.h"
#include "packs/pack_job.h"
#include "packs/pack_plan.h"

namespace holdfast::packs {

class Packer {
 public:
  static constexpr size_t kAtOnce = 4;
  static constexpr uint64_t kAtOnceBytes = 512 * kMiB;  // of packs in memory
  static constexpr size_t kMaxShown = 100;              // of what was left out

  struct Options {
    std::string dest;  // canonical prefix that ends in '/'
    std::function<void(uint64_t objects, uint64_t bytes)> progress = {};  // so far
  };
  struct Report {
    uint64_t packs_written = 0;
    uint64_t packs_found = 0;    // they were there
    uint64_t packs_unnamed = 0;  // below dest, that the index does not name
    uint64_t objects = 0;
    uint64_t bytes = 0;
    uint64_t index_bytes = 0;
    uint64_t changed = 0;              // packed in another version than was listed
    uint64_t left_out = 0;             // could not be read
    std::vector<Status> why_left_out;  // the first of them
  };

  // All outlive it; `far` is one that does not know packs.
  Packer(Clock* clock, FarStore* far, FarWriter* writer, Options options);
  // `done` runs once; nothing may be destroyed before. On an error the packs that are finished stay,
  // and the index is the one that was there before.
  void Start(std::vector<FarEntry> given, Plan plan, std::function<void(Result<Report>)> done);

 private:
  void List(const std::string& token);
  void OnPage(const Result<FarPage>& page);
  void Fill();
  void OnPack(size_t number, Result<PackJob::Outcome> outcome);
  void WriteIndex();
  void ReadIndexBack();
  void End(const Status& status);

  Clock* clock_;
  FarStore* far_;
  Options options_;
  PackJob::World world_;
  std::vector<FarEntry> given_;
  Plan plan_;
  std::function<void(Result<Report>)> done_;
  Report report_;
  std::map<std::string, FarInfo> there_;  // below dest
  size_t next_ = 0;                       // of the plan's packs
  uint64_t bytes_under_way_ = 0;
  std::map<size_t, std::unique_ptr<PackJob>> jobs_;
  Status failed_;
  std::vector<PackIndex::Pack> packs_;
  std::vector<PackIndex::Row> rows_;
  uint64_t done_objects_ = 0;
  uint64_t done_bytes_ = 0;
  Buffer index_;
  uint64_t index_hash_ = 0;
};

}  // namespace holdfast::packs
