// SPDX-License-Identifier: Apache-2.0
// The tiny objects of a disk tier (docs/decisions/0014-tiny-objects-in-runs-of-packs.md): gathered in
// memory, written in runs of packs, merged, and taken back with the segments that they lie in. About two
// bytes of memory an object, and a segment's worth of those that are not written yet, which a restart
// loses.
//
// The deciding thread's. Callbacks run on it, never from inside the call that was given them.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "cached/store/disk_found.h"
#include "cached/store/tiny_list.h"
#include "cached/store/tiny_merge.h"
#include "cached/store/tiny_reclaim.h"

namespace holdfast::store {

struct TinyOptions {
  uint64_t most_bytes = disk::kTinyBytes;  // of the payload; smaller ones are packed. 0: none is
  uint32_t objects_per_pack = 25;          // about
  uint64_t most_objects = 0;               // at a time; 0: 4 for one of disk.index_objects
};

struct TinyStats {
  uint64_t objects = 0;
  uint64_t young_objects = 0;  // of them, not written yet
  uint32_t runs = 0;
  uint32_t segments = 0;
  uint64_t memory_bytes = 0;     // of what is written
  uint64_t reads = 0;            // of objects that were right
  uint64_t stray_reads = 0;      // of packs without the object that was looked for
  uint64_t corrupt = 0;          // packs or objects that were not what they should be
  uint64_t refused_objects = 0;  // there was no room in time
  uint64_t lost_objects = 0;     // could not be written
  TinyBuilder::Counters writes{};
  TinyMerge::Counters merge{};
  TinyReclaim::Counters reclaim{};
};

class TinyTier {
 public:
  using Visit = TinyList::Visit;

  TinyTier(const Env& env, Disk* disk, DiskSegments* segments, DiskWriter* writer,
           EvictionCounts* evictions, TinyOptions options);
  // Beside the two bytes an object.
  static uint64_t MemoryBytes(uint64_t segment_bytes, const TinyOptions& options);

  // Is it one that belongs here?
  uint64_t most_bytes() const { return options_.most_bytes; }  // 0: nothing is packed
  bool Packs(uint64_t size) const { return size <= options_.most_bytes && options_.most_bytes > 0; }
  // Takes copies; the memory must not change until `done`, which waits for room, but not for long: then
  // the rest is left out.
  void Take(std::vector<DiskWriter::Item> items, std::function<void()> done);

  // By prints: wrong for one of 330, for each run. Expiry is not known.
  bool MayHave(const Oid& oid, VersionHash version) const;
  // It would be written for the second time: it is young, or was read since it was written.
  bool Keeps(const Oid& oid, VersionHash version) const;
  // kNotFound when it is not there.
  void Look(const Oid& oid, VersionHash version, std::function<void(Result<DiskFound>)> done);
  // Whatever has its print, in any version; false when nothing had.
  bool Drop(const Oid& oid, VersionHash version);
  TinyList& list() { return list_; }
  void ListYoung(Visit visit, std::function<void()> done) {
    list_.Young([this] { return young_.get(); }, std::move(visit), std::move(done));
  }

  // A segment with a right seal and table; its place in the ring. kCorrupt: it is free.
  Result<uint64_t> Recovered(const disk::Seal& seal, uint32_t segment, ByteView table);
  uint64_t ObjectsIn(uint32_t segment) const { return runs_.Find(segment)->index.live(); }
  void Reclaim(uint32_t segment, std::function<void()> done);
  // There are more than memory should know of.
  bool TooMany() const { return runs_.cells() > options_.most_objects; }

  bool merging() const { return merging_.busy(); }

  void Maintain();
  uint64_t objects() const;
  TinyStats Stats() const;

 private:
  struct Candidate {
    uint32_t segment = 0;
    uint64_t sequence = 0;  // of the segment
    uint32_t object = 0;    // of the segment
    uint32_t index = 0;     // of its pack
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };
  struct Looking {
    Oid oid;
    VersionHash version = 0;
    std::vector<Candidate> candidates{};  // the youngest first
    size_t next = 0;
    Buffer pack{};
    std::function<void(Result<DiskFound>)> done{};
  };

  // Taken, and not all of it copied yet.
  struct Coming {
    std::vector<DiskWriter::Item> items{};
    size_t next = 0;
    Time until{};
    std::function<void()> done{};
  };

  void PumpSoon();
  void Pump();
  bool Refuses(const disk::Tiny& tiny) const;
  // `kept` ones were on the disk already.
  bool Add(const disk::Tiny& tiny, bool kept);
  void Flush();
  void Try(uint64_t id);
  void Tried(uint64_t id, const Status& read);
  bool Judge(const Looking& looking, const Status& read, disk::Tiny* found);
  bool FindYoung(const Oid& oid, VersionHash version, disk::Tiny* found) const;
  static DiskFound FoundOf(const disk::Tiny& tiny);

  Env env_;
  Disk* disk_;
  DiskSegments* segments_;
  DiskWriter* writer_;
  TinyOptions options_;
  TinyRuns runs_;
  TinyBuilder::Counters writes_;
  TinyBuilder flush_;
  TinyBuilder merging_;
  TinyMerge merge_;
  TinyReclaim reclaim_;
  TinyList list_;
  std::unique_ptr<TinyYoung> young_;
  std::unique_ptr<TinyYoung> flushing_;  // is being written, or empty
  std::deque<Coming> coming_;
  bool pumping_ = false;  // goes on by itself
  std::map<uint64_t, Looking> looks_;
  uint64_t next_look_ = 1;
  uint64_t reads_ = 0, stray_reads_ = 0, corrupt_ = 0, refused_ = 0, lost_ = 0;
};

}  // namespace holdfast::store
