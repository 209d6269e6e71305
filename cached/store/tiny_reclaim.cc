// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_reclaim.h"

#include <utility>

namespace holdfast::store {

// --- 1. Table ------------------------------------------------------------------------------------

void TinyReclaim::Start(uint32_t segment, std::function<void()> done) {
  HF_CHECK(victim_ == DiskSegments::kNone);
  victim_ = segment;
  done_ = std::move(done);
  const DiskSegment& s = (*segments_)[victim_];
  bytes_ = Buffer(s.entries);
  disk_->Read(victim_, s.end, bytes_.span(), [this](const Status& status, uint64_t hash) {
    OnTable(status.ok() && hash == (*segments_)[victim_].table_hash);
  });
}

void TinyReclaim::OnTable(bool right) {
  const TinySegment* s = runs_->Find(victim_);
  Result<disk::TinyTable> table = Status::Corrupt("not read");
  if (right) table = disk::DecodeTinyTable(bytes_.view(), segments_->segment_bytes());
  bytes_ = Buffer();
  if (!table.ok() || s == nullptr || table->objects.size() != s->index.objects() ||
      table->packs.size() != s->index.packs()) {
    ++counters_.bad_tables;
    return End();
  }
  table_ = *std::move(table);
  pack_ = object_ = 0;
  kept_bytes_ = 0;
  Settle();
}

// --- 2. Settle -----------------------------------------------------------------------------------

void TinyReclaim::Settle() {
  const TinyIndex& index = runs_->Find(victim_)->index;
  const uint64_t most = segments_->segment_bytes() / kKeptPart;
  for (const uint32_t stop = object_ + kObjectsAtOnce;
       pack_ < table_.packs.size() && object_ < stop; ++pack_) {
    const uint64_t bytes = index.EndOf(pack_) - index.OffsetOf(pack_);
    const uint32_t count = table_.packs[pack_].objects;
    bool keep = false;
    for (const uint32_t end = object_ + count; object_ < end; ++object_) {
      if (!index.alive(object_)) continue;
      if (index.was_read(object_) && kept_bytes_ + bytes / count <= most) {
        kept_bytes_ += bytes / count;
        keep = true;
      } else {
        Evict(object_, table_.objects[object_]);
      }
    }
    if (keep) keeping_.push_back(pack_);
  }
  if (pack_ < table_.packs.size()) return env_.clock->At(env_.clock->Now(), [this] { Settle(); });
  Keep();
}

// What has expired, or is somewhere else, too, was not evicted.
void TinyReclaim::Evict(uint32_t object, const disk::TinyEntry& entry) {
  runs_->Find(victim_)->index.Forget(object);
  const int64_t now_s = env_.clock->Wall().seconds;
  if (HasExpired(entry.expires_s, {now_s})) return;
  if (runs_->MayHave(entry.oid, victim_)) return;
  ++counters_.evicted_objects;
  const int64_t age_s = now_s - entry.loaded_s;
  evictions_->Evicted(snapshot::Ring::kKept, Duration(age_s > 0 ? age_s * 1'000'000 : 0));
}

// --- 3. Keep -------------------------------------------------------------------------------------

void TinyReclaim::Keep() {
  const TinyIndex& index = runs_->Find(victim_)->index;
  reading_.clear();
  for (uint64_t bytes = 0; !keeping_.empty() && bytes < kKeepAtOnce; keeping_.pop_back()) {
    const uint32_t pack = keeping_.back();
    reading_.push_back({.pack = pack, .bytes = Buffer(index.EndOf(pack) - index.OffsetOf(pack))});
    bytes += reading_.back().bytes.size();
  }
  if (reading_.empty()) return End();
  reads_ = reading_.size();
  for (Reading& r : reading_) {
    disk_->Read(victim_, index.OffsetOf(r.pack), r.bytes.span(),
                [this, &r](const Status& status, uint64_t) {
                  r.read = status.ok();
                  if (--reads_ == 0) KeepRead();
                });
  }
}

void TinyReclaim::KeepRead() {
  const TinyIndex& index = runs_->Find(victim_)->index;
  const int64_t now_s = env_.clock->Wall().seconds;
  for (const Reading& r : reading_) {
    Result<std::vector<disk::Tiny>> objects = Status::Corrupt("not read");
    if (r.read) objects = disk::DecodePack(r.bytes.view());
    if (!objects.ok() || objects->size() != index.ObjectsOf(r.pack)) continue;
    uint32_t object = index.FirstOf(r.pack);
    for (const disk::Tiny& tiny : *objects) {
      const uint32_t at = object++;
      if (!index.alive(at) || !index.was_read(at) || tiny.Expired(now_s)) continue;
      if (keep_(tiny)) {
        ++counters_.kept_objects;
      } else {
        Evict(at, {tiny.oid, tiny.loaded_s, tiny.expires_s});
      }
    }
  }
  Keep();
}

void TinyReclaim::End() {
  evictions_->SegmentDone();
  runs_->Remove(victim_);
  table_ = {};
  keeping_.clear();
  reading_.clear();
  victim_ = DiskSegments::kNone;
  std::exchange(done_, nullptr)();
}

}  // namespace holdfast::store
