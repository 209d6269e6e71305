// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_tier.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "base/hash.h"

namespace holdfast::store {
namespace {

constexpr uint64_t kLeastSegments = 8;
constexpr uint64_t kMostSegments = 65'535;
constexpr uint64_t kBytesPerObject = 64 * kKiB;
constexpr uint64_t kLeastObjects = 1'024;
constexpr uint64_t kTinyPerObject = 4;
constexpr uint64_t kBytesPerTiny = 2;
constexpr uint64_t kMostObjects = uint64_t{1} << 31;
// Of a segment: larger records leave too much of it empty.
constexpr uint64_t kLargestPart = 4;
constexpr uint64_t kLargestHeldPart = 8;
// What may be held: seven tenths of all segments but a few. So there is always one of which at most
// seven tenths are held: nine tenths of it are used at worst (kLargestHeldPart, the table).
constexpr uint64_t kPromisedPercent = 70;
constexpr Duration kTellEvery = 1min;  // of damage
constexpr uint64_t kNotPromised = 4;   // segments: open, free, being taken back

uint64_t IndexObjects(uint64_t segments, uint64_t segment_bytes, const DiskTierOptions& options) {
  if (options.index_objects != 0) return options.index_objects;
  return std::max(segments * segment_bytes / kBytesPerObject, kLeastObjects);
}

// What a look reads at least: any head fits. And records up to this size come whole, which costs a copy
// and saves a read; of more bytes than that the copy costs as much.
constexpr uint64_t kTogether = 80 * kKiB;

TinyOptions TinyFor(uint64_t segments, uint64_t segment_bytes, const DiskTierOptions& options) {
  TinyOptions tiny = options.tiny;
  if (tiny.most_bytes == 0) {
    tiny.most_objects = 0;
  } else if (tiny.most_objects == 0) {
    tiny.most_objects = kTinyPerObject * IndexObjects(segments, segment_bytes, options);
  }
  return tiny;
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
    return Status::Invalid("segments: makes " + std::to_string(segments) + " segments of " +
                           FormatBytes(segment_bytes) + ", there must be " +
                           std::to_string(kLeastSegments) + " to " + std::to_string(kMostSegments) +
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
  const TinyOptions tiny = TinyFor(segments, segment_bytes, options);
  return DiskRecords::MemoryBytes(objects) + tiny.most_objects * kBytesPerTiny +
         TinyTier::MemoryBytes(segment_bytes, tiny) + Fingerprints(objects) * sizeof(uint16_t) +
         segments * sizeof(DiskSegment) + table + DiskReclaim::kKeepAtOnce;
}

DiskTier::DiskTier(const Env& env, Disk* disk, const DiskTierOptions& options)
    : env_(env),
      disk_(disk),
      copies_(options.copies),
      segments_(disk->segments(), disk->segment_bytes()),
      records_(&segments_, IndexObjects(disk->segments(), disk->segment_bytes(), options)),
      mover_(env, disk, options.copies, options.mover),
      writer_(env, disk, &mover_, options.identity, &segments_, &records_),
      tiny_(env, disk, &segments_, &writer_, &evictions_,
            TinyFor(disk->segments(), disk->segment_bytes(), options)),
      reclaim_(env, disk, options.reclaim_reads_copies ? options.copies : nullptr, &segments_,
               &records_, &writer_, &tiny_, &evictions_),
      recovery_(env, disk, options.identity, &segments_, &records_, &tiny_),
      let_go_(Fingerprints(IndexObjects(disk->segments(), disk->segment_bytes(), options))) {
  HF_CHECK(Check(disk->segments(), disk->segment_bytes(), options).ok());
}

void DiskTier::Recover(std::function<void(Status)> done) {
  recovery_.Start([this, done = std::move(done)](const Status& status) {
    ready_ = status.ok();
    refused_why_ = status.message();
    recovering_ = false;
    was_full_ = segments_.free() < DiskReclaim::kLeastFree;
    if (ready_) {
      for (const uint32_t segment : recovery_.found_open()) writer_.SealFound(segment);
    }
    done(status);
  });
}

// --- Look and read -------------------------------------------------------------------------------

bool DiskTier::Has(const Oid& oid, VersionHash version) const {
  return ready_ &&
         (records_.index().Find(oid, version) != Index::kNone || tiny_.MayHave(oid, version));
}

uint64_t DiskTier::PromisableBytes() const {
  const uint64_t segments = std::max<uint64_t>(segments_.size(), kNotPromised) - kNotPromised;
  return segments * LentBytes();
}

uint64_t DiskTier::LentBytes() const { return segments_.segment_bytes() / 100 * kPromisedPercent; }

uint64_t DiskTier::most_held_bytes() const {
  const uint64_t most = segments_.segment_bytes() / kLargestHeldPart;
  return std::min(most, DiskReclaim::kKeepAtOnce) - disk::kMostHead;
}

uint64_t DiskTier::most_record_bytes() const { return segments_.segment_bytes() / kLargestPart; }

uint64_t DiskTier::least_promise_bytes() const {
  return PromisableBytes() / std::max<uint64_t>(records_.index().capacity() / 10 * 9, 1);
}

bool DiskTier::IsHeld(const Oid& oid, VersionHash version) const {
  const uint32_t slot = records_.index().Find(oid, version);
  return slot != Index::kNone && records_.index().holds(slot) > 0;
}

std::optional<disk::Place> DiskTier::PlaceOf(const Oid& oid, VersionHash version) {
  if (!ready_) return std::nullopt;
  const uint32_t slot = records_.index().Find(oid, version);
  if (slot == Index::kNone) return std::nullopt;
  const shm::Entry e = records_.index().entry(slot);
  records_.index().AddRead(slot);
  return disk::Place{.segment = shm::SegmentOf(e), .offset = Index::OffsetOnDisk(e)};
}

void DiskTier::Look(const Oid& oid, VersionHash version, uint64_t record_bytes,
                    std::function<void(Result<Found>)> done) {
  std::vector<DiskRecords::Candidate> candidates;
  if (ready_) candidates = records_.Find(oid, version);
  if (candidates.empty() && ready_) return tiny_.Look(oid, version, std::move(done));
  if (candidates.empty()) {
    env_.clock->At(env_.clock->Now(),
                   [done = std::move(done)] { done(Status::NotFound("not on the disk")); });
    return;
  }
  const uint64_t id = next_look_++;
  looks_[id] = {
      .oid = oid,
      .version = version,
      .read_bytes = std::max(disk::kMostHead, record_bytes <= kTogether ? record_bytes : 0),
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
  Looking& looking = looks_[id];
  looking.at = looking.candidates.back();
  looking.candidates.pop_back();
  DiskSegment& s = segments_[looking.at.segment];
  looking.sequence = s.sequence;
  looking.from_copy = false;
  looking.bytes =
      Buffer(std::min(looking.read_bytes, segments_.segment_bytes() - looking.at.offset));
  ++s.readers;
  disk_->Read(looking.at.segment, looking.at.offset, looking.bytes.span(),
              [this, id](const Status& read, uint64_t) { Tried(id, read); });
}

void DiskTier::Tried(uint64_t id, const Status& read) {
  Looking& looking = looks_[id];
  const auto bad = [&] {
    return !read.ok() ||
           !disk::DecodeHead(looking.bytes.view(), looking.at.offset, segments_.segment_bytes())
                .ok();
  };
  if (copies_ != nullptr && !looking.from_copy && bad()) {
    looking.from_copy = true;
    return copies_->Read(looking.at.segment, looking.at.offset, looking.bytes.span(),
                         [this, id](const Status& again, uint64_t) { Tried(id, again); });
  }
  Found found{.segment = looking.at.segment, .sequence = looking.sequence};
  const Status status = Judge(looking, read, &found.head);
  DoneReading(looking.at.segment);
  if (!status.ok() && !looking.candidates.empty()) return Try(id);
  found.bytes = std::move(looking.bytes);
  auto finished = looks_.extract(id);
  if (status.code() == Code::kTimeout) return finished.mapped().done(status);
  if (!status.ok()) {
    Looking& last = finished.mapped();
    return tiny_.Look(last.oid, last.version, std::move(last.done));
  }
  found.payload = found.head.entry.payload_offset() - found.head.entry.offset;
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
  if (Expired(*decoded)) {
    Forget(looking.at.segment, entry);
    return Status::NotFound("it has expired");
  }
  const uint32_t slot = records_.SlotOf(looking.at.segment, entry);
  if (slot != Index::kNone) records_.index().AddRead(slot);
  *head = *std::move(decoded);
  return {};
}

void DiskTier::Read(const Found& found, ByteSpan into, std::function<void(Status)> done) {
  const disk::Entry& entry = found.head.entry;
  HF_CHECK(into.size() == entry.size);
  if (found.tiny) return ReadRange(found, 0, into, std::move(done));
  const bool evicted = segments_[found.segment].sequence != found.sequence;
  if (evicted || Expired(found.head)) {
    env_.clock->At(env_.clock->Now(), [evicted, done = std::move(done)] {
      done(Status::NotFound(evicted ? "evicted from the disk meanwhile" : "it has expired"));
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
  if (found.payload + entry.size > found.bytes.size()) {
    disk_->Read(found.segment, entry.payload_offset(), into,
                [this, payload = std::move(payload)](const Status& read, uint64_t hash) mutable {
                  CheckPayload(std::move(payload), read, hash);
                });
    return;
  }
  if (!into.empty()) std::memcpy(into.data(), found.bytes.data() + found.payload, into.size());
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

void DiskTier::ReadRange(const Found& found, uint64_t first, ByteSpan into,
                         std::function<void(Status)> done) {
  const uint64_t size = found.head.entry.size;
  HF_CHECK(first <= size && into.size() <= size - first);
  if (!found.tiny) {
    auto whole = std::make_shared<Buffer>(size);
    return Read(found, whole->span(), [whole, first, into, done = std::move(done)](Status read) {
      if (read.ok() && !into.empty()) std::memcpy(into.data(), whole->data() + first, into.size());
      done(std::move(read));
    });
  }
  const bool expired = Expired(found.head);
  if (!expired && !into.empty()) {
    std::memcpy(into.data(), found.bytes.data() + found.payload + first, into.size());
  }
  if (!expired) ++reads_;
  env_.clock->At(env_.clock->Now(), [expired, done = std::move(done)] {
    done(expired ? Status::NotFound("it has expired") : Status());
  });
}

void DiskTier::DoneReading(uint32_t segment) {
  if (--segments_[segment].readers == 0) writer_.Clean(segment);
}

void DiskTier::Forget(uint32_t segment, const disk::Entry& entry) {
  records_.index().ForEachVersion(entry.oid, [&](uint32_t slot) {
    const shm::Entry e = records_.index().entry(slot);
    if (shm::SegmentOf(e) == segment && Index::OffsetOnDisk(e) == entry.offset) {
      records_.Unlink(slot, &entry.oid);
    }
  });
}

// --- Write ---------------------------------------------------------------------------------------

bool DiskTier::Wants(const Oid& oid, VersionHash version, uint64_t record_bytes) {
  if (!ready_ || writer_.off() || record_bytes > most_record_bytes() || records_.Crowded(16) ||
      records_.index().Find(oid, version) != Index::kNone || tiny_.Keeps(oid, version)) {
    return false;
  }
  if (!was_full_) return true;
  const auto [place, print] = Note(oid, version);
  if (std::exchange(*place, print) == print) return true;
  ++refused_;
  return false;
}

std::pair<uint16_t*, uint16_t> DiskTier::Note(const Oid& oid, VersionHash version) {
  const uint64_t hash = Mix64(oid.hi ^ version);
  return {&let_go_[hash & (let_go_.size() - 1)], static_cast<uint16_t>(hash >> 48 | 1)};
}

void DiskTier::LeftByOutlet(const Oid& oid, VersionHash version) {
  const auto [place, print] = Note(oid, version);
  if (*place == print) *place = 0;
}

uint64_t DiskTier::SpareBytes() const {
  constexpr uint32_t kNotSpare = DiskReclaim::kLeastFree + 1;
  if (!ready_ || writer_.off() || segments_.free() <= kNotSpare || records_.Crowded(16)) return 0;
  return (segments_.free() - kNotSpare) * segments_.segment_bytes();
}

void DiskTier::Take(std::vector<DiskWriter::Item> items, std::function<void()> done) {
  std::vector<DiskWriter::Item> tiny, records;
  for (DiskWriter::Item& item : items) {
    (tiny_.Packs(item.head.entry.size) ? tiny : records).push_back(std::move(item));
  }
  if (tiny.empty()) return writer_.Write(std::move(records), std::move(done));
  if (!records.empty()) {
    done = [left = std::make_shared<int>(2), done = std::move(done)] {
      if (--*left == 0) done();
    };
    writer_.Write(std::move(records), done);
  }
  tiny_.Take(std::move(tiny), std::move(done));
}

void DiskTier::Maintain() {
  if (!ready_) return;
  was_full_ = was_full_ || segments_.free() < DiskReclaim::kLeastFree;
  tiny_.Maintain();
  reclaim_.Maintain();
  TellDamage();
}

void DiskTier::TellDamage() {
  if (env_.clock->Now() < tell_at_) return;
  tell_at_ = env_.clock->Now() + kTellEvery;
  const uint64_t corrupt = corrupt_ + tiny_.Stats().corrupt;
  const uint64_t more = corrupt - std::exchange(told_corrupt_, corrupt);
  if (more == 0 || env_.log == nullptr) return;
  env_.log->Warn("disk: " + FormatCount(more) +
                 " records could not be read, or were not what was written (" +
                 FormatCount(corrupt) +
                 " since the start): what they held is loaded again when it is wanted; look after "
                 "the disk, or who else writes to it");
}

DiskStats DiskTier::Stats() const {
  const TinyStats tiny = tiny_.Stats();
  return {.bytes = segments_.size() * segments_.segment_bytes(),
          .segments = segments_.size(),
          .free_segments = segments_.free(),
          .lent_segments = segments_.lent(),
          .objects = records_.live() + tiny.objects,
          .held_objects = records_.held(),
          .index_objects = records_.index().capacity(),
          .recovered_objects = recovery_.objects(),
          .reads = reads_,
          .corrupt = corrupt_ + tiny.corrupt,
          .refused_objects = refused_,
          .writes = writer_.counters(),
          .reclaim = reclaim_.counters(),
          .moves = mover_.counters(),
          .tiny = tiny,
          .off = writer_.off(),
          .refused = refused_why_};
}

}  // namespace holdfast::store
