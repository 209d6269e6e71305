// SPDX-License-Identifier: Apache-2.0
// One pack on its way into the far store:
//
//   1. Look      under this name there is one already: it is read, and believed if all of it is right
//   2. Read      the objects, each into its place, in the version that was listed
//   3. Write     payloads and table, in one piece
//   4. ReadBack  and compared
//
// An object that has changed since it was listed is looked up again, one that is gone or may not be
// read is left out; then the pack has another name, and begins again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/env.h"
#include "packs/pack_format.h"

namespace holdfast::packs {

class PackJob {
 public:
  static constexpr uint32_t kMaxRounds = 5;  // objects may go on changing, not for ever
  static constexpr Duration kDeadline = 600s;

  struct World {
    Clock* clock;
    FarStore* far;
    FarWriter* writer;
    std::string dest;  // canonical prefix that ends in '/'
    // The size of what is there under a name, with its ETag; nothing if nothing is.
    std::function<const FarInfo*(const std::string& uri)> there;
    // So many bytes of objects were read.
    std::function<void(uint64_t objects, uint64_t bytes)> progress;
  };
  struct Outcome {
    Oid name;
    std::vector<PackedObject> objects;  // with their hashes; none: there is no such pack
    uint64_t bytes = 0;                 // of the payloads
    bool found = false;                 // it was there
    uint64_t changed = 0;               // objects, since they were listed
    std::vector<Status> left_out;       // why, of each
  };

  // `done` runs once; the job must live until then. Both outlive it.
  PackJob(const World* world, std::vector<FarEntry> objects,
          std::function<void(Result<Outcome>)> done);
  void Start() { Look(); }

 private:
  void Look();
  void OnFound(const Status& status, const Buffer& pack);
  void Read();
  void OnObject(size_t i, const Status& status, uint64_t hash);
  void LookUpAgain();
  void OnLookedUp(size_t i, const Result<FarInfo>& info);
  void NextRound();
  void Write();
  void ReadBack();
  void End(const Status& status);

  const World* world_;
  std::vector<FarEntry> entries_;
  std::function<void(Result<Outcome>)> done_;
  Outcome outcome_;
  std::string uri_;
  Buffer pack_;
  uint64_t pack_hash_ = 0;
  size_t under_way_ = 0;
  uint32_t rounds_ = 0;
  Status failed_;
  std::vector<size_t> changed_;  // of entries_, to be looked up again
  std::vector<bool> gone_;       // of entries_, to be left out
};

}  // namespace holdfast::packs
