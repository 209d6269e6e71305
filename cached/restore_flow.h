// SPDX-License-Identifier: Apache-2.0
// A node that starts takes up what its journal says it had promised:
//
//   1. Replay      the journal is read
//   2. AwaitDisk   what is not in memory may be on the disk, which says so when it has recovered
//   3. List        the promised objects of each list become a manifest
//   4. Job         a job is taken up whole or not at all: with its tenancy, and a lease that counts from now
//   5. Promise     what is in memory is held; what is not is loaded: by its name, or from this node's disk
//   6. Load        all that a call waits for is queued; of what is lost the job is told when it is heard of
//
// Nothing is decided in between: until `done` the node answers nobody and reclaims nothing.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "base/bitmap.h"
#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/loader.h"
#include "cached/manifests.h"
#include "cached/promise_replay.h"

namespace holdfast::cached {

class RestoreFlow {
 public:
  static constexpr Duration kDiskPoll = 10ms;
  static constexpr Duration kUntilGreeted = 200ms;  // then the homes can be asked
  struct Counters {
    uint64_t jobs = 0;
    uint64_t objects = 0;       // promised to them
    uint64_t lost_objects = 0;  // of which nothing is there and nothing can be had
    uint64_t void_jobs = 0;     // that could not be taken up
  };

  RestoreFlow(const Context* context, Manifests* manifests, Commitments* commitments,
              Loader* loader)
      : context_(context), manifests_(manifests), commitments_(commitments), loader_(loader) {}

  // `done` runs once. An error: the journal cannot be used, and nothing was taken up.
  void Begin(Journal* journal, std::function<void(Status)> done);
  const Counters& counters() const { return counters_; }
  uint32_t life() const { return life_; }  // of this node, as its journal counts them

 private:
  struct Listed {
    const planner::Manifest* manifest = nullptr;  // null: no room for it
    Excerpt excerpt{};
    const PromiseReplay::List* from = nullptr;
  };

  void Replayed(const Status& status);
  void AwaitDisk();
  void TakeUp();
  Duration LeftOf(const entry::Promise& promise) const;
  void MakeList(const ManifestDigest& digest);
  bool TakeUpJob(JobId id, const PromiseReplay::Job& job);
  void TakeUpPromise(const entry::Promise& promise);
  // Of the objects of a list: which have a name, by index of the manifest; null: none.
  std::vector<const PromiseReplay::Named*> NamesOf(const Listed& list) const;
  void Load(const Commitment& commitment, const std::vector<const PromiseReplay::Named*>& names,
            const PromiseReplay::List& list);

  const Context* context_;
  Manifests* manifests_;
  Commitments* commitments_;
  Loader* loader_;
  std::function<void(Status)> done_;
  PromiseReplay replay_;
  Status wrong_;
  uint32_t life_ = 1;
  std::map<ManifestDigest, Listed> lists_;
  Counters counters_;
};

}  // namespace holdfast::cached
