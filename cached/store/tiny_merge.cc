// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_merge.h"

#include <algorithm>
#include <utility>

namespace holdfast::store {
namespace {

// Of the disk's segments: what is more is evicted before a merge of it would have paid.
constexpr uint32_t kLargestPart = 2;

using Wide = unsigned __int128;

// The upper half of the first OID that may be in a pack of a run of so many.
Wide FirstOid(uint32_t pack, uint32_t run_packs) {
  return ((Wide{pack} << 64) + run_packs - 1) / run_packs;
}

uint64_t BytesOf(const TinyIndex& index) {
  return index.packs() == 0 ? 0 : index.EndOf(index.packs() - 1) - disk::kFirstRecord;
}

}  // namespace

TinyMerge::TinyMerge(const Env& env, Disk* disk, DiskSegments* segments, DiskWriter* writer,
                     TinyRuns* runs, TinyBuilder* builder, uint32_t objects_per_pack)
    : env_(env),
      disk_(disk),
      segments_(segments),
      writer_(writer),
      runs_(runs),
      builder_(builder),
      objects_per_pack_(objects_per_pack) {}

uint32_t TinyMerge::RunsOf(uint32_t segments) { return std::clamp(segments / 16, 2u, 8u); }

bool TinyMerge::Behind(uint32_t times) const {
  const std::vector<TinyRun>& runs = runs_->runs();
  const uint32_t most = times * RunsOf(segments_->size());
  return runs.size() >= most && runs[most - 1].level == 0;
}

// --- 1. Choose -----------------------------------------------------------------------------------

void TinyMerge::Maintain() {
  if (builder_->busy()) return builder_->Maintain();
  if (!writer_->off() && Choose()) Start();
}

// Runs of one level are neighbours in time: what is merged later is younger. Those that reclaim is at
// are left to it.
bool TinyMerge::Choose() {
  const std::vector<TinyRun>& runs = runs_->runs();
  const uint32_t enough = RunsOf(segments_->size());
  for (size_t begin = 0, end = 0; begin < runs.size(); begin = end) {
    while (end < runs.size() && runs[end].level == runs[begin].level) ++end;
    size_t last = end;
    while (last > begin && !Sealed(runs[last - 1])) --last;
    if (last - begin < enough) continue;
    size_t segments = 0;
    bool sealed = true;
    for (size_t i = last - enough; i < last; ++i) {
      segments += runs[i].segments.size();
      sealed = sealed && Sealed(runs[i]);
    }
    if (!sealed || segments > segments_->size() / kLargestPart) continue;
    inputs_.clear();
    for (size_t i = last - enough; i < last; ++i) inputs_.push_back(runs[i].number);
    return true;
  }
  return false;
}

bool TinyMerge::Sealed(const TinyRun& run) const {
  return std::all_of(run.segments.begin(), run.segments.end(), [this](const auto& s) {
    return (*segments_)[s->segment].use == DiskUse::kSealed;
  });
}

void TinyMerge::Start() {
  TinyBuilder::Plan plan;
  uint64_t objects = 0;
  for (const uint64_t number : inputs_) {
    const TinyRun& run = *runs_->FindRun(number);
    plan.order = std::max(plan.order, run.order);
    plan.level = run.level + 1;
    for (const auto& s : run.segments) {
      segments_->SetAside(s->segment);
      objects += s->index.live();
      plan.bytes += BytesOf(s->index);
    }
  }
  plan.packs = packs_ = TinyBuilder::PacksFor(objects, plan.bytes, objects_per_pack_);
  builder_->Start(
      plan,
      [this](uint32_t first, uint32_t end, TinyBuilder::Take take) {
        Slice(first, end, std::move(take));
      },
      [this](uint32_t packs_done) { GiveBack(packs_done); }, [this](bool whole) { Done(whole); });
}

// --- 2. Slice ------------------------------------------------------------------------------------

void TinyMerge::Slice(uint32_t first, uint32_t end, TinyBuilder::Take take) {
  first_ = first;
  end_ = end;
  take_ = std::move(take);
  parts_.clear();
  const auto from = static_cast<uint64_t>(FirstOid(first, packs_));
  const auto last = static_cast<uint64_t>(FirstOid(end, packs_) - 1);
  for (uint32_t rank = 0; rank < inputs_.size(); ++rank) {
    const TinyRun* run = runs_->FindRun(inputs_[rank]);
    if (run == nullptr) continue;  // all of it was passed
    AddParts(*run, rank, disk::PackOf({from, 0}, run->packs),
             disk::PackOf({last, 0}, run->packs) + 1);
  }
  if (parts_.empty()) return env_.clock->At(env_.clock->Now(), [this] { Merge(); });
  for (Part& part : parts_) part.late = true;
  ReadLate();
}

// What was not answered is not lost: it is asked for again.
void TinyMerge::ReadLate() {
  reads_ = static_cast<size_t>(
      std::count_if(parts_.begin(), parts_.end(), [](const Part& part) { return part.late; }));
  if (reads_ == 0) return Merge();
  for (Part& part : parts_) {
    if (!std::exchange(part.late, false)) continue;
    ++(*segments_)[part.segment].readers;
    counters_.read_bytes += part.bytes.size();
    disk_->Read(part.segment, part.offset, part.bytes.span(),
                [this, &part](const Status& status, uint64_t) {
                  --(*segments_)[part.segment].readers;
                  part.read = status.ok();
                  part.late = status.code() == Code::kTimeout;
                  if (--reads_ > 0) return;
                  const bool late = std::any_of(parts_.begin(), parts_.end(),
                                                [](const Part& p) { return p.late; });
                  if (!late) return Merge();
                  env_.clock->At(env_.clock->Now() + 500ms, [this] { ReadLate(); });
                });
  }
}

void TinyMerge::AddParts(const TinyRun& run, uint32_t rank, uint32_t first, uint32_t end) {
  for (const auto& s : run.segments) {
    const TinyIndex& index = s->index;
    const uint32_t base = index.first_pack();
    const uint32_t from = std::max(first, base), to = std::min(end, base + index.packs());
    if (from >= to) continue;
    const uint64_t offset = index.OffsetOf(from - base), stop = index.EndOf(to - 1 - base);
    if (offset == stop) continue;
    parts_.push_back({.segment = s->segment,
                      .rank = rank,
                      .first = from - base,
                      .end = to - base,
                      .offset = offset,
                      .bytes = Buffer(stop - offset)});
  }
}

void TinyMerge::Merge() {
  std::vector<Candidate> candidates;
  for (const Part& part : parts_) Collect(part, &candidates);
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    const auto order = a.object.tiny.oid <=> b.object.tiny.oid;
    return order != 0 ? order < 0 : a.rank < b.rank;
  });
  std::vector<TinyObject> objects;
  objects.reserve(candidates.size());
  for (const Candidate& c : candidates) {
    if (!objects.empty() && objects.back().tiny.oid == c.object.tiny.oid) {
      ++counters_.superseded_objects;
    } else {
      objects.push_back(c.object);
    }
  }
  const std::vector<Part> parts = std::exchange(parts_, {});  // the bytes of the objects
  std::exchange(take_, nullptr)(objects);
}

void TinyMerge::Collect(const Part& part, std::vector<Candidate>* candidates) {
  const TinySegment* s = runs_->Find(part.segment);
  if (s == nullptr) return;
  const int64_t now_s = env_.clock->Wall().seconds;
  for (uint32_t pack = part.first; pack < part.end; ++pack) {
    const uint32_t count = s->index.ObjectsOf(pack);
    if (count == 0) continue;
    const uint64_t offset = s->index.OffsetOf(pack);
    Result<std::vector<disk::Tiny>> objects = Status::Corrupt("not read");
    if (part.read) {
      objects = disk::DecodePack(
          part.bytes.view().subspan(offset - part.offset, s->index.EndOf(pack) - offset));
    }
    if (!objects.ok() || objects->size() != count) {
      ++counters_.corrupt_packs;
      continue;
    }
    for (uint32_t i = 0, object = s->index.FirstOf(pack); i < count; ++i, ++object) {
      const disk::Tiny& tiny = (*objects)[i];
      const uint32_t to = disk::PackOf(tiny.oid, packs_);
      if (!s->index.alive(object) || to < first_ || to >= end_) continue;
      if (tiny.Expired(now_s)) {
        ++counters_.expired_objects;
      } else {
        candidates->push_back({{tiny, s->index.was_read(object)}, part.rank});
      }
    }
  }
}

// --- 3. Give back --------------------------------------------------------------------------------

void TinyMerge::GiveBack(uint32_t packs_done) {
  const Wide passed = FirstOid(packs_done, packs_);
  std::vector<uint32_t> passed_segments;
  for (const uint64_t number : inputs_) {
    const TinyRun* run = runs_->FindRun(number);
    if (run == nullptr) continue;
    for (const auto& s : run->segments) {
      const uint32_t end = s->index.first_pack() + s->index.packs();
      if (FirstOid(end, run->packs) <= passed) passed_segments.push_back(s->segment);
    }
  }
  for (const uint32_t segment : passed_segments) Release(segment);
}

void TinyMerge::Release(uint32_t segment) {
  runs_->Remove(segment);
  (*segments_)[segment].use = DiskUse::kReclaimed;
  writer_->Clean(segment);
}

void TinyMerge::Done(bool whole) {
  if (whole) {
    ++counters_.merges;
    GiveBack(packs_);
  }
  for (const uint64_t number : std::exchange(inputs_, {})) {
    const TinyRun* run = runs_->FindRun(number);
    if (run == nullptr) continue;
    for (const auto& s : run->segments) segments_->PutBack(s->segment);
  }
}

}  // namespace holdfast::store
