// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_tier.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace holdfast::store {
namespace {

// What may gather while a segment's worth is being written, of a segment: what comes, and with what
// reclaim keeps.
constexpr uint64_t kMeanwhilePart = 4;
constexpr uint64_t kMeanwhileKeptPart = 2;
// So long somebody waits for room.
constexpr Duration kPatience = 1s;
constexpr uint32_t kCopiesAtOnce = 1024;
// Pieces of a run or of its inputs on their way, in a builder and in a merge.
constexpr uint64_t kOnTheWay = 24 * TinyBuilder::kSliceBytes;

// With the seal, and what the last pack and the table leave empty.
uint64_t YoungBytes(uint64_t segment_bytes) { return segment_bytes - 3 * disk::kBlock; }

disk::Tiny TinyOf(const DiskWriter::Item& item) {
  const disk::Entry& entry = item.head.entry;
  return {.oid = entry.oid,
          .version = entry.version,
          .payload_hash = item.head.payload_hash,
          .loaded_s = static_cast<uint32_t>(std::max<int64_t>(entry.loaded_us, 0) / 1'000'000),
          .expires_s = item.head.expires_s,
          .name = item.head.name,
          .etag = item.head.etag,
          .payload = item.payload};
}

}  // namespace

TinyTier::TinyTier(const Env& env, Disk* disk, DiskSegments* segments, DiskWriter* writer,
                   EvictionCounts* evictions, TinyOptions options)
    : env_(env),
      disk_(disk),
      segments_(segments),
      writer_(writer),
      options_(options),
      flush_(env, disk, segments, writer, &runs_, &writes_,
             [this] { return !coming_.empty() || young_->bytes() > flushing_->bytes() / 8; }),
      merging_(env, disk, segments, writer, &runs_, &writes_, [this] { return merge_.Behind(2); }),
      merge_(env, disk, segments, writer, &runs_, &merging_, options.objects_per_pack),
      reclaim_(env, disk, segments, &runs_, evictions,
               [this](const disk::Tiny& tiny) {
                 // A younger one of it is there: this one would take its place.
                 return FindYoung(tiny.oid, 0, nullptr) || Add(tiny, true);
               }),
      list_(env, disk, segments, writer, &runs_),
      young_(std::make_unique<TinyYoung>(YoungBytes(segments->segment_bytes()))),
      flushing_(std::make_unique<TinyYoung>(YoungBytes(segments->segment_bytes()))) {}

uint64_t TinyTier::MemoryBytes(uint64_t segment_bytes, const TinyOptions& options) {
  if (options.most_bytes == 0) return 0;
  return segment_bytes + segment_bytes / kMeanwhileKeptPart + kOnTheWay;
}

uint64_t TinyTier::objects() const {
  return runs_.objects() + young_->objects() + flushing_->objects();
}

// --- Write ---------------------------------------------------------------------------------------

void TinyTier::Take(std::vector<DiskWriter::Item> items, std::function<void()> done) {
  coming_.push_back({.items = std::move(items),
                     .next = 0,
                     .until = env_.clock->Now() + kPatience,
                     .done = std::move(done)});
  PumpSoon();
}

void TinyTier::PumpSoon() {
  if (coming_.empty() || std::exchange(pumping_, true)) return;
  env_.clock->At(env_.clock->Now(), [this] { Pump(); });
}

void TinyTier::Pump() {
  pumping_ = false;
  if (coming_.empty()) return;
  Coming& first = coming_.front();
  const bool late = writer_->off() || env_.clock->Now() > first.until;
  for (uint32_t n = 0; n < kCopiesAtOnce && first.next < first.items.size(); ++n) {
    const disk::Tiny tiny = TinyOf(first.items[first.next]);
    const bool refused = Refuses(tiny);
    if (!refused && !Add(tiny, false)) {
      if (!late) return;  // until there is room, or Maintain finds it late
      refused_ += first.items.size() - first.next;
      first.next = first.items.size();
      break;
    }
    refused_ += refused ? 1 : 0;
    ++first.next;
  }
  if (first.next < first.items.size()) return PumpSoon();
  const std::function<void()> done = std::move(first.done);
  coming_.pop_front();
  PumpSoon();
  done();
}

// OID and version are not stored: they are what name and ETag say.
bool TinyTier::Refuses(const disk::Tiny& tiny) const {
  return tiny.Expired(env_.clock->Wall().seconds) || Hash128(AsBytes(tiny.name)) != tiny.oid ||
         HashVersion(tiny.etag, tiny.payload.size()) != tiny.version;
}

bool TinyTier::Add(const disk::Tiny& tiny, bool kept) {
  // Look-ups go through few runs: what comes waits for merging.
  const bool waits = !kept && merge_.Behind(3);
  if (!young_->Fits(tiny.bytes()) && !flush_.busy() && !waits) Flush();
  const uint64_t most = segments_->segment_bytes() / (kept ? kMeanwhileKeptPart : kMeanwhilePart);
  return (!flush_.busy() || young_->bytes() + tiny.bytes() <= most) && young_->Add(tiny);
}

void TinyTier::Flush() {
  std::swap(young_, flushing_);
  const uint32_t packs =
      TinyBuilder::PacksFor(flushing_->objects(), flushing_->bytes(), options_.objects_per_pack);
  flush_.Start(
      {.packs = packs, .bytes = flushing_->bytes()},
      [this, packs](uint32_t first, uint32_t end, const TinyBuilder::Take& take) {
        take(flushing_->Slice(first, end, packs));
      },
      nullptr,
      [this](bool whole) {
        if (!whole) lost_ += flushing_->objects();
        flushing_->Clear();
        PumpSoon();
      });
}

void TinyTier::Maintain() {
  flush_.Maintain();
  merge_.Maintain();
  PumpSoon();
}

// --- Drop, recover, reclaim ----------------------------------------------------------------------

bool TinyTier::Drop(const Oid& oid, VersionHash version) {
  bool dropped = young_->Drop(oid, version) > 0;
  dropped = flushing_->Drop(oid, version) > 0 || dropped;
  runs_.FindMatch(oid, [&](TinySegment& s, uint32_t, uint32_t object, uint32_t) {
    s.index.Forget(object);
    dropped = true;
    return false;
  });
  flush_.Forget(oid);
  merging_.Forget(oid);
  return dropped;
}

Result<uint64_t> TinyTier::Recovered(const disk::Seal& seal, uint32_t segment, ByteView bytes) {
  Result<disk::TinyTable> table = disk::DecodeTinyTable(bytes, seal.table_offset);
  if (!table.ok()) return table.status();
  const TinyRun run{.number = table->run,
                    .order = std::min(table->order, seal.sequence),
                    .level = table->level,
                    .packs = table->run_packs};
  const TinyRun* const there = runs_.FindRun(run.number);
  if (there != nullptr && (there->packs != run.packs || there->level != run.level)) {
    return Status::Corrupt("the table is of a run that is another one in other segments");
  }
  runs_.Add(run, segment, TinyIndex(*table));
  return run.order;
}

void TinyTier::Reclaim(uint32_t segment, std::function<void()> done) {
  if (runs_.Find(segment) == nullptr) return env_.clock->At(env_.clock->Now(), std::move(done));
  reclaim_.Start(segment, std::move(done));
}

TinyStats TinyTier::Stats() const {
  return {.objects = objects(),
          .young_objects = young_->objects() + flushing_->objects(),
          .runs = static_cast<uint32_t>(runs_.runs().size()),
          .segments = runs_.segments(),
          .memory_bytes = runs_.memory_bytes(),
          .reads = reads_,
          .stray_reads = stray_reads_,
          .corrupt = corrupt_,
          .refused_objects = refused_,
          .lost_objects = lost_,
          .writes = writes_,
          .merge = merge_.counters(),
          .reclaim = reclaim_.counters()};
}

}  // namespace holdfast::store
