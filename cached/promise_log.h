// SPDX-License-Identifier: Apache-2.0
// A node's promises in its journal:
//
//   1. Promise     what a confirmed chunk promises becomes a record, and `done` runs when it is durable
//   2. Pump        records go to the journal while no more than kMaxInFlight are on their way: those
//                  that come together share one write and one sync
//   3. Checkpoint  when more was written than is still true, what is still true is written again, a
//                  run of one commitment an event, and everything before it is given back. What is
//                  promised meanwhile comes after the checkpoint's beginning, and so stays
//
// The journal is never more than 40 % full when a checkpoint begins, so that it always finds room:
// a promise beyond that is refused. When the journal fails nothing can be promised any more, because
// nobody could say after a restart what was.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/bitmap.h"
#include "cached/commitments.h"
#include "cached/context.h"
#include "cached/promise_records.h"

namespace holdfast::cached {

class PromiseLog {
 public:
  static constexpr uint64_t kMinJournalBytes = 4 * kMiB;
  static constexpr uint64_t kMaxRecordBytes = 128 * kKiB;  // and one entry, which is no longer
  static constexpr uint32_t kMaxDescribed = 4'096;         // objects of an entry
  static constexpr uint64_t kMaxInFlight = 2 * kMiB;       // and one record
  static constexpr Duration kBetweenCheckpoints = 1s;      // of a journal that is full
  using Done = std::function<void(const Status&)>;
  // How the objects [first, last) of a commitment's manifest that it waits for can be had.
  using NamesOf =
      std::function<std::vector<entry::Name>(const Commitment&, uint32_t first, uint32_t last)>;

  struct Counters {
    uint64_t promised_objects = 0;  // in records, checkpoints apart
    uint64_t bytes = 0;             // of the records, checkpoints included
    uint64_t checkpoints = 0;
    uint64_t refused_objects = 0;  // for want of room
  };

  // `journal` may be null: then nothing is written, and promises last as long as the process.
  PromiseLog(const Context* context, Commitments* commitments, Journal* journal, NamesOf names_of)
      : context_(context),
        commitments_(commitments),
        journal_(journal),
        names_of_(std::move(names_of)) {}

  bool on() const { return journal_ != nullptr; }
  // Why nothing can be promised; ok while it can.
  const Status& failure() const { return failure_; }
  // What was there is read: from now on. Writes what is true into the journal anew; `ready` runs when
  // it is known there that this is another life, or when it never will be.
  void Begin(uint32_t life, std::function<void()> ready);
  // What was there cannot be used.
  void Fail(const Status& why);

  // Tells one promise that is being written from another.
  uint64_t NextTicket() { return ++last_ticket_; }
  // `done` runs once, perhaps before this returns: kNoSpace and whatever the journal says mean that it is not promised.
  // `names` are of what it waits for, with indices of the manifest.
  void Promise(const Commitment& commitment, uint32_t first, const Bitmap& chunk,
               std::vector<entry::Name> names, Done done);
  // A job's lease is another one, or, without one, it has ended. `known` runs when that is durable, at
  // once without a journal, and never when it cannot be.
  void OnJob(JobId job, uint64_t tenancy, std::optional<Duration> lease,
             std::function<void()> known);

  const Counters& counters() const { return counters_; }
  uint64_t used_bytes() const { return used_; }
  uint64_t memory_bytes() const;

 private:
  struct Item {
    std::vector<std::byte> record{};
    uint64_t objects = 0;
    Done done{};
    bool opens = false;   // a checkpoint
    bool closes = false;  // a checkpoint
  };
  struct Cursor {  // of a checkpoint
    JobId job = 0;
    uint32_t call = 0;
    uint64_t run = 0;  // where in the list of (job, call); 0: after it
  };

  uint64_t Limit() const;
  uint64_t MaxInFlight() const;
  Entry Owner() const;
  void Add(std::deque<Item>* queue, const Entry& entry);
  void Describe(std::deque<Item>* queue, const Commitment& commitment,
                const std::vector<uint32_t>& indices, std::vector<entry::Name> names);
  void Pump();
  bool HasRoomFor(const Item& item);
  void RefuseAll();
  void Append(Item item);
  void Appended(const Item& item, const Status& status, uint64_t sequence);
  void BeginCheckpoint();
  void StepCheckpoint();
  bool WriteNext();
  void AddUntold(const Commitment& commitment, uint32_t begin, uint32_t end,
                 std::vector<uint32_t>* indices) const;
  void EndCheckpoint();

  const Context* context_;
  Commitments* commitments_;
  Journal* journal_;
  NamesOf names_of_;
  Status failure_;
  Counters counters_;

  std::deque<Item> queue_;       // promises
  std::deque<Item> checkpoint_;  // goes first
  uint64_t queued_bytes_ = 0;    // in both
  uint64_t in_flight_ = 0;       // bytes
  uint64_t used_ = 0;            // of the journal, at most
  uint64_t last_ticket_ = 0;
  uint32_t life_ = 0;
  std::function<void()> ready_;

  // Objects that are described after the beginning of the last checkpoint, by list.
  std::map<ManifestDigest, Bitmap> described_;
  bool checkpointing_ = false;
  bool stalled_ = false;  // its next step waits for the journal
  Cursor cursor_;
  uint64_t used_before_ = 0;  // when the checkpoint began: what it gives back
  uint64_t first_sequence_ = 0;
  uint64_t last_size_ = 0;  // of a checkpoint, and what was promised meanwhile
  Time checkpointed_{INT64_MIN / 2};
};

}  // namespace holdfast::cached
