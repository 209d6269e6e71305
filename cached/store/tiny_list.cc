// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_list.h"

#include <algorithm>
#include <utility>

namespace holdfast::store {
namespace {

constexpr uint32_t kYoungSlices = 64;

}  // namespace

void TinyList::Segment(uint32_t segment, Visit visit, std::function<void()> done) {
  if (runs_->Find(segment) == nullptr) return env_.clock->At(env_.clock->Now(), std::move(done));
  const uint64_t id = next_++;
  DiskSegment& s = (*segments_)[segment];
  Listing& listing = listings_[id];
  listing.segment = segment;
  listing.bytes = Buffer(s.entries);
  listing.visit = std::move(visit);
  listing.done = std::move(done);
  ++s.readers;
  disk_->Read(segment, s.end, listing.bytes.span(),
              [this, id, right = s.table_hash](const Status& read, uint64_t hash) {
                OnTable(id, read.ok() && hash == right);
              });
}

void TinyList::OnTable(uint64_t id, bool right) {
  Listing& listing = listings_[id];
  DiskSegment& s = (*segments_)[listing.segment];
  const bool waited_for = runs_->Find(listing.segment) == nullptr;
  if (--s.readers == 0 && waited_for) writer_->Clean(listing.segment);
  Result<disk::TinyTable> table = Status::Corrupt("not read");
  if (right) table = disk::DecodeTinyTable(listing.bytes.view(), segments_->segment_bytes());
  listing.bytes = Buffer();
  if (table.ok()) listing.table = *std::move(table);
  Step(id);
}

// The segment may be gone by now; then another has its objects, or none.
void TinyList::Step(uint64_t id) {
  Listing& listing = listings_[id];
  const TinySegment* s = runs_->Find(listing.segment);
  const auto objects = static_cast<uint32_t>(listing.table.objects.size());
  const uint32_t end = std::min(objects, listing.next + kAtOnce);
  const int64_t now_s = env_.clock->Wall().seconds;
  const bool same = s != nullptr && s->index.objects() == objects;
  for (; same && listing.next < end; ++listing.next) {
    const disk::TinyEntry& e = listing.table.objects[listing.next];
    const bool expired = HasExpired(e.expires_s, {now_s});
    if (s->index.alive(listing.next) && !expired) listing.visit(e.oid, 0, Age(e.loaded_s));
  }
  if (same && end < objects) {
    return env_.clock->At(env_.clock->Now(), [this, id] { Step(id); });
  }
  auto finished = listings_.extract(id);
  finished.mapped().done();
}

void TinyList::Young(std::function<const TinyYoung*()> young, Visit visit,
                     std::function<void()> done) {
  env_.clock->At(env_.clock->Now(), [this, young = std::move(young), visit = std::move(visit),
                                     done = std::move(done)]() mutable {
    StepYoung(0, std::move(young), std::move(visit), std::move(done));
  });
}

void TinyList::StepYoung(uint32_t slice, std::function<const TinyYoung*()> young, Visit visit,
                         std::function<void()> done) {
  const TinyYoung* const now = young();
  if (slice == kYoungSlices || now == nullptr) return done();
  const int64_t now_s = env_.clock->Wall().seconds;
  for (const TinyObject& object : now->Slice(slice, slice + 1, kYoungSlices)) {
    const disk::Tiny& tiny = object.tiny;
    if (!tiny.Expired(now_s)) visit(tiny.oid, tiny.version, Age(tiny.loaded_s));
  }
  env_.clock->At(env_.clock->Now(), [this, slice, young = std::move(young),
                                     visit = std::move(visit), done = std::move(done)]() mutable {
    StepYoung(slice + 1, std::move(young), std::move(visit), std::move(done));
  });
}

Duration TinyList::Age(uint32_t loaded_s) const {
  const int64_t age_s = env_.clock->Wall().seconds - loaded_s;
  return Duration(age_s > 0 ? age_s * 1'000'000 : 0);
}

}  // namespace holdfast::store
