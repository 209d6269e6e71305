// SPDX-License-Identifier: Apache-2.0
// How a tiny object is found: among the young ones, or by reading the packs whose prints fit.
#include <memory>
#include <string>
#include <utility>

#include "base/hash.h"
#include "cached/store/tiny_tier.h"

namespace holdfast::store {

bool TinyTier::FindYoung(const Oid& oid, VersionHash version, disk::Tiny* found) const {
  return young_->Find(oid, version, found) || flushing_->Find(oid, version, found);
}

bool TinyTier::MayHave(const Oid& oid, VersionHash version) const {
  disk::Tiny young;
  if (FindYoung(oid, version, &young)) return !young.Expired(env_.clock->Wall().seconds);
  return runs_.MayHave(oid);
}

bool TinyTier::Keeps(const Oid& oid, VersionHash version) const {
  disk::Tiny young;
  if (FindYoung(oid, version, &young)) return !young.Expired(env_.clock->Wall().seconds);
  return runs_.FindMatch(oid, [](const TinySegment& s, uint32_t, uint32_t object, uint32_t) {
    return s.index.was_read(object);
  });
}

void TinyTier::Look(const Oid& oid, VersionHash version,
                    std::function<void(Result<DiskFound>)> done) {
  const uint64_t id = next_look_++;
  Looking& looking = looks_[id];
  looking.oid = oid;
  looking.version = version;
  looking.done = std::move(done);
  disk::Tiny young;
  if (FindYoung(oid, version, &young)) {
    const bool expired = young.Expired(env_.clock->Wall().seconds);
    young_->SetRead(oid);
    flushing_->SetRead(oid);
    auto answer = [this, id](Result<DiskFound> found) {
      env_.clock->At(env_.clock->Now(),
                     [this, id, found = std::make_shared<Result<DiskFound>>(std::move(found))] {
                       looks_.extract(id).mapped().done(std::move(*found));
                     });
    };
    if (expired) return answer(Status::NotFound("it has expired"));
    ++reads_;
    return answer(FoundOf(young));
  }
  runs_.FindMatch(oid, [&](const TinySegment& s, uint32_t pack, uint32_t object, uint32_t index) {
    const uint64_t offset = s.index.OffsetOf(pack);
    looking.candidates.push_back({.segment = s.segment,
                                  .sequence = (*segments_)[s.segment].sequence,
                                  .object = object,
                                  .index = index,
                                  .offset = offset,
                                  .bytes = s.index.EndOf(pack) - offset});
    return false;
  });
  Try(id);
}

// One after the other: a second one is a stranger, or an older copy.
void TinyTier::Try(uint64_t id) {
  Looking& looking = looks_[id];
  if (looking.next == looking.candidates.size()) {
    return env_.clock->At(env_.clock->Now(), [this, id] {
      looks_.extract(id).mapped().done(Status::NotFound("not on the disk"));
    });
  }
  const Candidate& at = looking.candidates[looking.next];
  if (runs_.Find(at.segment) == nullptr || (*segments_)[at.segment].sequence != at.sequence) {
    // Merged or taken back behind a stranger's read: it is somewhere else by now, if anywhere.
    auto moved = looks_.extract(id);
    return Look(moved.mapped().oid, moved.mapped().version, std::move(moved.mapped().done));
  }
  looking.pack = Buffer(at.bytes);
  ++(*segments_)[at.segment].readers;
  disk_->Read(at.segment, at.offset, looking.pack.span(),
              [this, id](const Status& read, uint64_t) { Tried(id, read); });
}

void TinyTier::Tried(uint64_t id, const Status& read) {
  Looking& looking = looks_[id];
  const uint32_t segment = looking.candidates[looking.next].segment;
  const TinySegment* const s = runs_.Find(segment);  // null: it waits for its readers
  disk::Tiny found;
  const bool right = Judge(looking, read, &found);
  if (--(*segments_)[segment].readers == 0 && s == nullptr) writer_->Clean(segment);
  if (!right) {
    ++looking.next;
    return Try(id);
  }
  ++reads_;
  DiskFound answer = FoundOf(found);
  auto finished = looks_.extract(id);
  finished.mapped().done(std::move(answer));
}

bool TinyTier::Judge(const Looking& looking, const Status& read, disk::Tiny* found) {
  const Candidate& at = looking.candidates[looking.next];
  // It cannot be another's by now: that would have to wait for this reader.
  TinySegment* s = runs_.Find(at.segment);
  if (read.code() == Code::kTimeout) return false;  // it is there, elsewhere, and may come back
  Result<disk::Tiny> tiny = read;
  if (read.ok()) tiny = disk::DecodeTiny(looking.pack.view(), at.index);
  if (!tiny.ok() || (tiny->oid == looking.oid && Hash64(tiny->payload) != tiny->payload_hash)) {
    ++corrupt_;
    if (s != nullptr) s->index.Forget(at.object);
    return false;
  }
  if (tiny->oid != looking.oid) {
    ++stray_reads_;
    return false;
  }
  const bool expired = tiny->Expired(env_.clock->Wall().seconds);
  const bool right = !expired && (looking.version == 0 || looking.version == tiny->version);
  if (s != nullptr && expired) s->index.Forget(at.object);
  // Another version is wanted: then this one need not stay, and that one may come.
  if (s != nullptr && !expired && s->index.alive(at.object)) s->index.SetRead(at.object, right);
  *found = *tiny;
  return right;
}

DiskFound TinyTier::FoundOf(const disk::Tiny& tiny) {
  return {.head = {.entry = {.oid = tiny.oid,
                             .version = tiny.version,
                             .size = tiny.payload.size(),
                             .loaded_us = int64_t{tiny.loaded_s} * 1'000'000,
                             .offset = 0,
                             .name_bytes = static_cast<uint16_t>(tiny.name.size()),
                             .etag_bytes = static_cast<uint16_t>(tiny.etag.size())},
                   .payload_hash = tiny.payload_hash,
                   .name = std::string(tiny.name),
                   .etag = std::string(tiny.etag),
                   .expires_s = tiny.expires_s},
          .bytes = Buffer::CopyOf(tiny.payload),
          .tiny = true};
}

}  // namespace holdfast::store
