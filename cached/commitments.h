// SPDX-License-Identifier: Apache-2.0
// What a node has promised: to whom, which objects, until when. The books of the calendar.
//
// Accounting. An object that is held is paid by exactly one of the commitments that hold it:
// reserved in the calendar under that one's end. Two commitments that hold the same object pay
// once; when the payer ends first, another one of its holders takes over. It costs what its record
// takes, whoever pays. An object that is waited for is paid by everyone who waits, and costs what
// its record may take with the longest name that the call declared. So at any time
//   calendar.reserved = Σ paid bytes of commitments + tentative offers, and
//   tier.held_bytes ≤ Σ paid bytes of what is kept.
// What memory has no room for is promised on the disk: held there and paid in a calendar of its own,
// by the same rules, at a price that its size alone decides.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/bitmap.h"
#include "cached/context.h"
#include "cached/manifests.h"
#include "cached/store/index.h"
#include "planner/calendar.h"

namespace holdfast::cached {

// A part of a list, all that is known of it after a restart: its promised objects. The manifest of a
// commitment that was read from the journal is made of these.
struct Excerpt {
  ManifestDigest list{};
  uint32_t count = 0;               // of the whole list
  std::vector<uint32_t> indices{};  // in the list, of each object of the manifest; rising
};

// The confirmed bids of one call. Bitmaps over the manifest; kept and pending are disjoint, paid
// within their union.
struct Commitment {
  JobId job = 0;
  uint32_t call = 0;
  const planner::Manifest* manifest = nullptr;
  const Excerpt* excerpt = nullptr;  // null: the manifest is the whole list
  uint8_t priority = 0;              // of its loads
  uint64_t least_record_bytes = 0;
  uint64_t least_below_bytes = 0;  // on the disk
  uint32_t name_allowance = 0;     // the most bytes of name and ETag that an object of the call has
  Time until;
  Bitmap kept;     // here, held for this commitment
  Bitmap pending;  // promised, not here yet
  Bitmap paid;
  Bitmap below;  // of kept and pending: promised on the disk
  bool ending = false;

  const ManifestDigest& list() const { return excerpt ? excerpt->list : manifest->digest(); }
  uint32_t list_size() const { return excerpt ? excerpt->count : manifest->size(); }
  // What the job calls it.
  uint32_t IndexInList(uint32_t index) const { return excerpt ? excerpt->indices[index] : index; }
  // The first object whose index in the list is not below this.
  uint32_t FromIndexInList(uint64_t index) const;

  ObjectKey key(uint32_t index) const { return {manifest->oid(index), manifest->version(index)}; }
  // Is it waited for, on the disk or in memory?
  bool Waits(uint32_t index, bool on_disk) const {
    return !ending && pending.Get(index) && below.Get(index) == on_disk;
  }
  // Of what is promised on the disk.
  uint64_t BelowBytes(uint32_t index) const {
    return std::max(store::DiskTier::HeldBytes(manifest->object_bytes(index)), least_below_bytes);
  }
  // Of an object that is waited for in memory.
  uint64_t ReservedBytes(uint32_t index) const {
    return std::max(least_record_bytes,
                    shm::RecordBytes(manifest->object_bytes(index), name_allowance, 0));
  }
};

class Commitments {
 public:
  // Objects that one slice of an ending commitment goes through, divided by the number of
  // manifests and of commitments on its own: each object is looked up in all of them.
  static constexpr size_t kEndSlice = 65'536;
  static constexpr size_t kMaxLossesPerMessage = 1'000;
  static constexpr uint64_t kLossBytes = 200;  // of one that waits, about
  static constexpr Duration kLossesTogether = 20ms;
  // Fewer than the promises that a record can carry, for all of them may hold the same one.
  static constexpr size_t kMaxCommitments = 8'192;
  static_assert(kMaxCommitments < store::Index::kMaxHolds);

  struct Job {
    JobId id = 0;
    PeerId peer = kNoPeer;
    uint64_t tenancy = 0;    // as it is told; survives a restart
    Duration lease{};        // how long one is
    Duration known_lease{};  // the last one that outlives the process
    Time lease_until;
    wire::Progress progress;       // counters; `lost` waits to be sent
    std::vector<wire::Loss> lost;  // not yet seen by the job
    // Number of lost[0]. Goes on from the last of an earlier record: a job that was given up and
    // comes back still names what it has seen of that one.
    uint64_t first_loss = 0;
    uint64_t told = 0;     // losses below this number have been in a message
    bool telling = false;  // a message about losses is going to be sent
    bool ended = false;
  };

  // `calendar` is the memory's, `below` the disk's.
  Commitments(const Context* context, Manifests* manifests, planner::Calendar* calendar,
              planner::Calendar* below);

  // Called when a commitment begins to end, before its manifest may go.
  void OnEnd(std::function<void(const Commitment&)> ended) { ended_ = std::move(ended); }

  // Called when a job's lease has another length than before, and, without one, when it has ended.
  // `known` runs when that outlives the process, or not at all.
  using OnJobChange = std::function<void(JobId, uint64_t tenancy, std::optional<Duration> lease,
                                         std::function<void()> known)>;
  void OnJob(OnJobChange changed) { job_changed_ = std::move(changed); }

  // kNoSpace beyond max_jobs, kNotFound for a job that is ending. No lease is longer than max_hold.
  Result<Job*> Open(JobId id, PeerId peer, Duration lease);
  // The numbers of losses are above this from now on.
  void CountLossesFrom(uint64_t number) { past_losses_ = number; }
  // A job of an earlier life, which has not been heard of since.
  Status Reopen(JobId id, uint64_t tenancy, Duration lease);
  Job* Find(JobId id);
  void Heartbeat(const wire::Heartbeat& beat, PeerId peer);
  void SendProgress(Job& job);
  // The promises of a job end, at once for new decisions and in slices for the books.
  void End(JobId id);
  // Ends jobs whose lease is over and commitments whose time has come. Once a second.
  void Expire();

  Commitment& Create(JobId job, uint32_t call, const planner::Manifest* manifest,
                     uint32_t name_allowance, Time until);
  // Of an earlier life. The same excerpt of all commitments on a list.
  Commitment& Recreate(JobId job, uint32_t call, const planner::Manifest* manifest, Excerpt excerpt,
                       uint32_t name_allowance, Time until);
  // Also one that is ending.
  bool Has(JobId job, uint32_t call) const { return commitments_.contains({job, call}); }
  // nullptr once it has ended.
  const Commitment* Find(JobId job, uint32_t call) const;
  Commitment* Find(JobId job, uint32_t call) {
    return const_cast<Commitment*>(std::as_const(*this).Find(job, call));
  }

  // Promises the objects of a confirmed chunk; bitmaps over the chunk. Returns the refused ones:
  // keeps that are gone, loads for which there is no room in memory nor on the disk.
  Bitmap Admit(Commitment& commitment, uint32_t first, const Bitmap& keep, const Bitmap& load);

  // As Admit, of what an earlier life had promised: holds what is here, waits for what is `loadable`,
  // and loses the rest.
  void Readmit(Commitment& commitment, const Bitmap& promised, const Bitmap& loadable);
  // An admitted chunk is not promised after all, and nobody was told that it was.
  void Withdraw(Commitment& commitment, uint32_t first, const Bitmap& chunk);

  // An object is in memory now: every commitment that waits for it there holds it. Call right after it
  // became visible.
  void Arrived(const ObjectKey& key);
  // The same of the disk, which may have it.
  void ArrivedBelow(const ObjectKey& key);
  // Is somebody waiting for it in memory, and until when will it be held? nullopt: nobody.
  std::optional<Time> WantedUntil(const ObjectKey& key) const;
  // Is somebody waiting for it on the disk?
  bool WantedBelow(const ObjectKey& key) const;
  // It will not come: every commitment that waits for it loses it and its job is told.
  void Failed(const ObjectKey& key, const Status& why);
  // It will not come to the disk.
  void FailedBelow(const ObjectKey& key, const Status& why);
  // The disk may have lost what is held there: jobs are told. Call it every few milliseconds under load.
  void TellLostBelow();
  // Memory holds what has expired: promises of it end, and jobs are told. Looks at kSweepLooks of them in
  // kSweepPositions of lists; call it every second.
  static constexpr size_t kSweepLooks = 10'000;
  static constexpr size_t kSweepPositions = 1'000'000;
  void TellExpired();
  // Until when the holders of an object in memory want it.
  Time HeldUntil(const ObjectKey& key) const;
  // The bits of `manifest` that some commitment on the same manifest waits for are set in `here`
  // (over the chunk).
  void AddPending(const planner::Manifest& manifest, uint32_t first, Bitmap* here) const;

  size_t size() const { return commitments_.size(); }
  const std::map<JobId, Job>& jobs() const { return jobs_; }
  // Another one on the same manifest that is not ending; nullptr when there is none.
  const Commitment* Another(const Commitment& than) const;
  // The first commitment that is not ending after (job, call), in their order; nullptr at the end.
  const Commitment* Next(JobId job, uint32_t call) const;
  // Of the bitmaps and of the losses that nobody has seen.
  uint64_t memory_bytes() const;
  uint64_t pending_objects() const { return pending_objects_; }
  uint64_t promises_broken() const { return promises_broken_; }
  // Reserved for others than commitments.
  struct Others {
    uint64_t tentative_bytes = 0;
    uint64_t stream_bytes = 0;
    uint64_t disk_bytes = 0;  // of either, in the disk's calendar
  };
  Status CheckBooks(const Others& others) const;

 private:
  void AdmitKeeps(Commitment& commitment, uint32_t first, const Bitmap& keeps, Bitmap* refused);
  void AdmitHeldBelow(Commitment& commitment, uint32_t first, Bitmap* loads);
  // Holds what is here; returns what it has no room to pay for.
  std::vector<uint32_t> Keep(Commitment& commitment, const std::vector<uint32_t>& indices);
  // Pays for the bits of a chunk: all at once when there is room, else one by one; what does not
  // fit is refused.
  void ReserveAll(Commitment& commitment, uint32_t first, const Bitmap& chunk, Bitmap* refused);
  bool ReserveOne(Commitment& commitment, uint32_t index);
  bool FitsBelow(uint64_t size) const;
  bool ReserveBelow(Commitment& commitment, uint32_t index);
  void ReleaseWaiting(Commitment& commitment, uint32_t index);
  // Holds what is on the disk; false when it is not, or there is no room to pay for it.
  bool KeepBelow(Commitment& commitment, uint32_t index);
  std::vector<std::pair<Commitment*, uint32_t>> StopWaiting(const ObjectKey& key, bool below);
  void CountLoad(const Commitment& commitment, uint32_t index);
  bool ReadmitLater(Commitment& commitment, uint32_t index);
  void AddPendingBits(Commitment& commitment, uint32_t first, const Bitmap& chunk);
  // Starts the end of all that `which` names; false when it names none.
  bool EndWhere(const std::function<bool(const Commitment&)>& which);
  void EndSlice(JobId job, uint32_t call, size_t word);
  void TellLosses(Job& job);
  void Erase(std::map<JobId, Job>::iterator it);
  void EndObject(Commitment& commitment, uint32_t index);
  void EndBelow(Commitment& commitment, uint32_t index, bool paid);
  void Lose(Commitment& commitment, uint32_t index, const Status& why);
  uint64_t CostOf(uint64_t record_bytes) const {
    return std::max(record_bytes, context_->least_record_bytes);
  }
  // Runs visit(commitment, index) for each one whose list has the object, those that end, too: one
  // look-up for all that share a manifest.
  template <typename Visit>
  void ForEachWith(const ObjectKey& key, const Visit& visit) const;
  using Ids = std::pair<JobId, uint32_t>;
  static void ForgetLosses(Job& job, uint64_t seen);
  void DropExcerpt(const Excerpt* excerpt);
  // The payer does not hold it any more; another one may.
  void PassOn(const Commitment& payer, const ObjectKey& key, uint64_t bytes);
  void PassOnBelow(const ObjectKey& key);
  void LoseBelow(Commitment& commitment, uint32_t index, const Status& why);
  void CheckBelow(Commitment& commitment, uint32_t index);
  std::optional<uint64_t> KeptBytes(const ObjectKey& key) const;
  Status CheckPaid(uint64_t paid, uint64_t paid_below, const Others& others) const;

  const Context* context_;
  Manifests* manifests_;
  planner::Calendar* calendar_;
  planner::Calendar* below_;
  std::map<JobId, Job> jobs_;
  std::map<Ids, Commitment> commitments_;
  std::pair<Ids, size_t> swept_;  // up to where TellExpired has looked
  std::map<ManifestDigest, std::vector<Commitment*>> by_manifest_;
  std::map<ManifestDigest, Excerpt> excerpts_;  // by list
  std::function<void(const Commitment&)> ended_;
  OnJobChange job_changed_;
  uint64_t past_losses_ = 0;  // above every number of a record that is gone
  uint64_t pending_objects_ = 0;
  uint64_t promises_broken_ = 0;
};

template <typename Visit>
void Commitments::ForEachWith(const ObjectKey& key, const Visit& visit) const {
  for (const auto& [digest, group] : by_manifest_) {
    const planner::Manifest& manifest = *group.front()->manifest;
    const std::optional<uint32_t> index = manifest.Find(key.oid);
    if (!index || manifest.version(*index) != key.version) continue;
    for (Commitment* commitment : group) visit(*commitment, *index);
  }
}

}  // namespace holdfast::cached
