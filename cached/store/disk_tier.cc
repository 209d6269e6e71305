// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_tier.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/hash.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kLeastSegments = 8;
constexpr uint64_t kMostSegments = 65'535;
constexpr uint64_t kBytesPerObject = 64 * kKiB;
constexpr uint64_t kLeastObjects = 1'024;
constexpr uint64_t kMostObjects = uint64_t{1} << 31;
// Of a segment: larger records leave too much of it empty.
constexpr uint64_t kLargestPart = 4;

uint64_t IndexObjects(uint64_t segments, uint64_t segment_bytes, const DiskTierOptions& options) {
  if (options.index_objects != 0) return options.index_objects;
  return std::max(segments * segment_bytes / kBytesPerObject, kLeastObjects);
}

// One fingerprint for two objects of the index.
size_t Fingerprints(uint64_t index_objects) { return std::bit_floor(index_objects / 2); }

}  // namespace

Status DiskTier::Check(uint64_t segments, uint64_t segment_bytes, const DiskTierOptions& options) {
  if (segment_bytes % disk::kBlock != 0 || segment_bytes < 16 * disk::kBlock ||
      segment_bytes > disk::kMaxSegmentBytes) {
    return Status::Invalid("segment_bytes must be a multiple of 4 KiB from 64 KiB to " +
                           FormatBytes(disk::kMaxSegmentBytes));
  }
  if (segments < kLeastSegments || segments > kMostSegments) {
    return Status::Invalid("segments: there must be " + std::to_string(kLeastSegments) + " to " +
                           std::to_string(kMostSegments) + ", not " + std::to_string(segments) +
                           "; choose another size for them, or for all together");
  }
  const uint64_t objects = IndexObjects(segments, segment_bytes, options);
  if (objects < kLeastObjects || objects > kMostObjects) {
    return Status::Invalid("index_objects must be from " + FormatCount(kLeastObjects) + " to " +
                           FormatCount(kMostObjects));
  }
  return {};
}

uint64_t DiskTier::MemoryBytes(uint64_t segments, uint64_t segment_bytes,
                               const DiskTierOptions& options) {
  const uint64_t objects = IndexObjects(segments, segment_bytes, options);
  // One segment's table while it is open, in two forms; and records on their way back.
  const uint64_t table = segment_bytes / 1024 * (sizeof(disk::Entry) + disk::kEntryBytes);
  return DiskRecords::MemoryBytes(objects) + Fingerprints(objects) * sizeof(uint16_t) +
         segments * sizeof(DiskSegment) + table + DiskReclaim::kKeepAtOnce;
}

DiskTier::DiskTier(const Env& env, Disk* disk, const DiskTierOptions& options)
    : env_(env),
      disk_(disk),
      copies_(options.copies),
      segments_(disk->segments(), disk->segment_bytes()),
      records_(&segments_, IndexObjects(disk->segments(), disk->segment_bytes(), options)),
      writer_(env, disk, options.identity, &segments_, &records_),
      reclaim_(env, disk, options.reclaim_reads_copies ? options.copies : nullptr, &segments_,
               &records_, &writer_),
      recovery_(env, disk, options.identity, &segments_, &records_),
      let_go_(Fingerprints(IndexObjects(disk->segments(), disk->segment_bytes(), options))) {
  HF_CHECK(Check(disk->segments(), disk->segment_bytes(), options).ok());
}

void DiskTier::Recover(std::function<void(Status)> done) {
  recovery_.Start([this, done = std::move(done)](const Status& status) {
    ready_ = status.ok();
    recovering_ = false;
    was_full_ = segments_.free() < DiskReclaim::kLeastFree;
    done(status);
  });
}

// --- Look and read -------------------------------------------------------------------------------

bool DiskTier::Has(const Oid& oid, VersionHash version) const {
  return ready_ && records_.index().Find(oid, version) != Index::kNone;
}

void DiskTier::Look(const Oid& oid, VersionHash version, std::function<void(Result<Found>)> done) {
  std::vector<DiskRecords::Candidate> candidates;
  if (ready_) candidates = records_.Find(oid, version);
  if (candidates.empty()) {
    env_.clock->At(env_.clock->Now(),
                   [done = std::move(done)] { done(Status::NotFound("not on the disk")); });
    return;
  }
  const uint64_t id = next_look_++;
  looks_[id] = {.oid = oid,
                .version = version,
                .candidates = std::move(candidates),
                .at = {},
                .sequence = 0,
                .bytes = {},
                .from_copy = false,
                .done = std::move(done)};
  Try(id);
}

// One candidate after the other; there is hardly ever more than one.
void DiskTier::Try(uint64_t id) {
  constexpr uint64_t kMost = sizeof(shm::RecordHeader) + disk::kMaxText;
  Looking& looking = looks_[id];
  looking.at = looking.candidates.back();
  looking.candidates.pop_back();
  DiskSegment& s = segments_[looking.at.segment];
  looking.sequence = s.sequence;
  looking.from_copy = false;
  looking.bytes = Buffer(std::min(kMost, segments_.segment_bytes() - looking.at.offset));
  ++s.readers;
  disk_->Read(looking.at.segment, looking.at.offset, looking.bytes.span(),
              [this, id](const Status& read, uint64_t) { Tried(id, read); });
}

void DiskTier::Tried(uint64_t id, const Status& read) {
  Looking& looking = looks_[id];
  const bool bad =
      !read.ok() ||
      !disk::DecodeHead(looking.bytes.view(), looking.at.offset, segments_.segment_bytes()).ok();
  if (bad && copies_ != nullptr && !std::exchange(looking.from_copy, true)) {
    return copies_->Read(looking.at.segment, looking.at.offset, looking.bytes.span(),
                         [this, id](const Status& again, uint64_t) { Tried(id, again); });
  }
  Found found{.head = {}, .segment = looking.at.segment, .sequence = looking.sequence, .bytes = {}};
  const Status status = Judge(looking, read, &found.head);
  DoneReading(looking.at.segment);
  if (!status.ok() && !looking.candidates.empty()) return Try(id);
  found.bytes = std::move(looking.bytes);
  auto finished = looks_.extract(id);
  if (!status.ok()) return finished.mapped().done(status);
  finished.mapped().done(std::move(found));
}

Status DiskTier::Judge(const Looking& looking, const Status& read, disk::Head* head) {
  if (read.code() == Code::kTimeout) return read;  // it is there, elsewhere, and may come back
  Result<disk::Head> decoded = read;
  if (read.ok()) {
    decoded = disk::DecodeHead(looking.bytes.view(), looking.at.offset, segments_.segment_bytes());
  }
  if (!decoded.ok()) {
    ++corrupt_;
    Forget(looking.at.segment, {.oid = looking.oid, .offset = looking.at.offset});
    return Status::NotFound("the disk has lost it: " + decoded.status().message());
  }
  const disk::Entry& entry = decoded->entry;
  const bool right =
      entry.oid == looking.oid && (looking.version == 0 || entry.version == looking.version);
  if (!right) return Status::NotFound("not on the disk");
  const uint32_t slot = records_.SlotOf(looking.at.segment, entry);
  if (slot != Index::kNone) records_.index().AddRead(slot);
  *head = *std::move(decoded);
  return {};
}

void DiskTier::Read(const Found& found, ByteSpan into, std::function<void(Status)> done) {
  const disk::Entry& entry = found.head.entry;
  HF_CHECK(into.size() == entry.size);
  if (segments_[found.segment].sequence != found.sequence) {
    env_.clock->At(env_.clock->Now(), [done = std::move(done)] {
      done(Status::NotFound("evicted from the disk meanwhile"));
    });
    return;
  }
  ++segments_[found.segment].readers;
  Payload payload{.segment = found.segment,
                  .entry = entry,
                  .hash = found.head.payload_hash,
                  .into = into,
                  .from_copy = false,
                  .done = std::move(done)};
  const uint64_t head_bytes = entry.payload_offset() - entry.offset;
  if (head_bytes + entry.size > found.bytes.size()) {
    disk_->Read(found.segment, entry.payload_offset(), into,
                [this, payload = std::move(payload)](const Status& read, uint64_t hash) mutable {
                  CheckPayload(std::move(payload), read, hash);
                });
    return;
  }
  if (!into.empty()) std::memcpy(into.data(), found.bytes.data() + head_bytes, into.size());
  const uint64_t hash = Hash64(into);
  env_.clock->At(env_.clock->Now(), [this, payload = std::move(payload), hash]() mutable {
    CheckPayload(std::move(payload), {}, hash);
  });
}

void DiskTier::CheckPayload(Payload payload, const Status& read, uint64_t hash) {
  const bool right = read.ok() && hash == payload.hash;
  if (!right && copies_ != nullptr && !std::exchange(payload.from_copy, true)) {
    const uint32_t segment = payload.segment;
    const uint64_t offset = payload.entry.payload_offset();
    const ByteSpan into = payload.into;
    return copies_->Read(
        segment, offset, into,
        [this, payload = std::move(payload)](const Status& again, uint64_t found) mutable {
          CheckPayload(std::move(payload), again, found);
        });
  }
  DoneReading(payload.segment);
  if (right) {
    ++reads_;
    return payload.done({});
  }
  if (read.code() == Code::kTimeout) return payload.done(read);
  ++corrupt_;
  Forget(payload.segment, payload.entry);
  payload.done(read.ok() ? Status::Corrupt("a record on the disk does not have its checksum")
                         : read);
}

void DiskTier::DoneReading(uint32_t segment) {
  if (--segments_[segment].readers == 0) writer_.Clean(segment);
}

void DiskTier::Forget(uint32_t segment, const disk::Entry& entry) {
  records_.index().ForEachVersion(entry.oid, [&](uint32_t slot) {
    const shm::Entry e = records_.index().entry(slot);
    if (shm::SegmentOf(e) == segment && Index::OffsetOnDisk(e) == entry.offset) {
      records_.Unlink(slot);
    }
  });
}

uint64_t DiskTier::Drop(const Oid& oid, VersionHash version) {
  uint64_t dropped = 0;
  for (;; ++dropped) {
    const uint32_t slot = ready_ ? records_.index().Find(oid, version) : Index::kNone;
    if (slot == Index::kNone) return dropped;
    records_.Unlink(slot);
  }
}

void DiskTier::List(uint32_t segment, Visit visit, std::function<void()> done) {
  DiskSegment& s = segments_[segment];
  const uint64_t id = next_look_++;
  Listing& listing = listings_[id];
  listing = {.segment = segment, .table = {}, .visit = std::move(visit), .done = std::move(done)};
  if (s.use != DiskUse::kSealed) {  // its table is still in memory, if it has one
    listing.table = Buffer(s.table.size() * disk::kEntryBytes);
    for (size_t i = 0; i < s.table.size(); ++i) {
      disk::EncodeEntry(s.table[i], listing.table.data() + i * disk::kEntryBytes);
    }
    env_.clock->At(env_.clock->Now(), [this, id] { Listed(id); });
    return;
  }
  listing.table = Buffer(s.entries * disk::kEntryBytes);
  ++s.readers;
  disk_->Read(segment, s.end, listing.table.span(),
              [this, id, segment, right = s.table_hash](const Status& read, uint64_t hash) {
                if (!read.ok() || hash != right) listings_[id].table = Buffer();
                DoneReading(segment);
                Listed(id);
              });
}

void DiskTier::Listed(uint64_t id) {
  auto finished = listings_.extract(id);
  const Listing& listing = finished.mapped();
  Result<std::vector<disk::Entry>> entries =
      disk::DecodeTable(listing.table.view(), segments_.segment_bytes());
  if (entries.ok()) {
    const int64_t now_us = Stamp({});
    for (const disk::Entry& entry : *entries) {
      if (records_.SlotOf(listing.segment, entry) == Index::kNone) continue;
      listing.visit(entry.oid, entry.version, entry.Age(now_us));
    }
  }
  listing.done();
}

// --- Write ---------------------------------------------------------------------------------------

bool DiskTier::Wants(const Oid& oid, VersionHash version, uint64_t record_bytes) {
  if (!ready_ || writer_.off() || record_bytes > segments_.segment_bytes() / kLargestPart ||
      Has(oid, version)) {
    return false;
  }
  if (!was_full_) return true;
  const uint64_t hash = Mix64(oid.hi ^ version);
  const auto print = static_cast<uint16_t>(hash >> 48 | 1);
  uint16_t& place = let_go_[hash & (let_go_.size() - 1)];
  if (std::exchange(place, print) == print) return true;
  ++refused_;
  return false;
}

void DiskTier::Take(std::vector<DiskWriter::Item> items, std::function<void()> done) {
  writer_.Write(std::move(items), std::move(done));
}

void DiskTier::Maintain() {
  if (!ready_) return;
  was_full_ = was_full_ || segments_.free() < DiskReclaim::kLeastFree;
  reclaim_.Maintain();
}

DiskStats DiskTier::Stats() const {
  return {.bytes = segments_.size() * segments_.segment_bytes(),
          .segments = segments_.size(),
          .free_segments = segments_.free(),
          .lent_segments = segments_.lent(),
          .objects = records_.live(),
          .index_objects = records_.index().capacity(),
          .recovered_objects = recovery_.objects(),
          .reads = reads_,
          .corrupt = corrupt_,
          .refused_objects = refused_,
          .writes = writer_.counters(),
          .reclaim = reclaim_.counters(),
          .off = writer_.off()};
}

}  // namespace holdfast::store
