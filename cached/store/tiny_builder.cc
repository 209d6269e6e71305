// SPDX-License-Identifier: Apache-2.0
#include "cached/store/tiny_builder.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace holdfast::store {
namespace {

constexpr uint64_t kBytesPerPack = 16 * kKiB;
// Who reads one object reads its pack. Of objects that are this large in the mean few are in one.
constexpr uint64_t kLargeBytes = 2 * kKiB, kBytesPerPackOfLarge = 4 * kKiB;
// Of a segment: a pack is never larger, whatever the OIDs are.
constexpr uint64_t kLargestPart = 4;

}  // namespace

TinyBuilder::TinyBuilder(const Env& env, Disk* disk, DiskSegments* segments, DiskWriter* writer,
                         TinyRuns* runs, Counters* counters, std::function<bool()> hurry)
    : env_(env),
      disk_(disk),
      segments_(segments),
      writer_(writer),
      runs_(runs),
      counters_(counters),
      hurry_(std::move(hurry)) {}

uint32_t TinyBuilder::PacksFor(uint64_t objects, uint64_t bytes, uint32_t objects_per_pack) {
  const bool large = bytes > objects * kLargeBytes;
  const uint64_t per_pack = large ? kBytesPerPackOfLarge : kBytesPerPack;
  const uint64_t packs = std::max(objects / objects_per_pack, bytes / per_pack) + 1;
  return static_cast<uint32_t>(std::min<uint64_t>(packs, UINT32_MAX));
}

void TinyBuilder::Start(const Plan& plan, Source source, Sealed sealed,
                        std::function<void(bool)> done) {
  HF_CHECK(!busy_);
  busy_ = true;
  plan_ = plan;
  run_ = {.level = plan.level, .packs = plan.packs};
  source_ = std::move(source);
  sealed_ = std::move(sealed);
  done_ = std::move(done);
  next_pack_ = 0;
  const uint64_t slices = plan.bytes / kSliceBytes + 1;
  slice_packs_ = static_cast<uint32_t>(plan.packs / slices + 1);
  Next();
}

void TinyBuilder::Maintain() {
  if (std::exchange(waiting_, false)) Next();
}

void TinyBuilder::Forget(const Oid& oid) {
  if (index_ == nullptr) return;
  index_->FindMatch(oid, [this](uint32_t, uint32_t object, uint32_t) {
    index_->Forget(object);
    return false;
  });
}

// --- 1. Slice ------------------------------------------------------------------------------------

void TinyBuilder::Next() {
  if (next_pack_ == plan_.packs && segment_ == DiskSegments::kNone) return End(true);
  if (next_pack_ == plan_.packs) return CloseSegment();
  if (segment_ == DiskSegments::kNone && !OpenSegment()) {
    waiting_ = true;
    return;
  }
  const uint32_t first = next_pack_;
  const uint32_t end = first + std::min(slice_packs_, plan_.packs - first);
  source_(first, end,
          [this, first, end](std::span<const TinyObject> objects) { Pack(first, end, objects); });
}

bool TinyBuilder::OpenSegment() {
  segment_ = segments_->OpenForPacks();
  if (segment_ == DiskSegments::kNone) return false;
  DiskSegment& s = (*segments_)[segment_];
  if (run_.number == 0) {
    run_.number = s.sequence;
    run_.order = plan_.order == 0 ? s.sequence : plan_.order;
  }
  s.order = run_.order;
  full_ = false;
  index_ = std::make_unique<TinyIndex>(run_.packs, next_pack_);
  table_ = {.run = run_.number,
            .order = run_.order,
            .level = run_.level,
            .run_packs = run_.packs,
            .first_pack = next_pack_,
            .end = disk::kFirstRecord};
  out_.clear();
  written_ = 0;
  return true;
}

// --- 2. Pack -------------------------------------------------------------------------------------

void TinyBuilder::Pack(uint32_t first, uint32_t end, std::span<const TinyObject> objects) {
  for (uint32_t pack = first; pack < end && !full_; ++pack) {
    size_t n = 0;
    while (n < objects.size() && disk::PackOf(objects[n].tiny.oid, run_.packs) == pack) ++n;
    full_ = !AddPack(Fitting(objects.first(n)));
    if (full_) break;
    objects = objects.subspan(n);
    ++next_pack_;
  }
  const bool all = full_ || next_pack_ == plan_.packs;
  Write(all, [this, all] {
    if (all) return CloseSegment();
    env_.clock->At(env_.clock->Now() + Pace(), [this] { Next(); });
  });
}

// More are in one pack only if somebody made their OIDs so.
std::span<const TinyObject> TinyBuilder::Fitting(std::span<const TinyObject> pack) {
  uint64_t bytes = disk::kPackHeadBytes;
  size_t n = 0;
  while (n < pack.size() && n < disk::kMaxPackObjects &&
         bytes + pack[n].tiny.bytes() <= segments_->segment_bytes() / kLargestPart) {
    bytes += pack[n++].tiny.bytes();
  }
  counters_->left_out_objects += pack.size() - n;
  return pack.first(n);
}

bool TinyBuilder::AddPack(std::span<const TinyObject> pack) {
  std::vector<disk::Tiny> objects;
  objects.reserve(pack.size());
  for (const TinyObject& object : pack) objects.push_back(object.tiny);
  const uint64_t bytes = objects.empty() ? 0 : disk::PackBytes(objects);
  const uint64_t offset = disk::kFirstRecord + written_ + out_.size();
  const uint64_t table =
      table_.bytes() + disk::kPackEntryBytes + objects.size() * disk::kTinyEntryBytes;
  if (shm::AlignUp(offset + bytes, disk::kBlock) + table > segments_->segment_bytes()) return false;
  if (!objects.empty()) disk::AppendPack(objects, &out_);
  index_->AddPack(offset);
  table_.packs.push_back({static_cast<uint32_t>(offset), static_cast<uint32_t>(objects.size())});
  for (const TinyObject& object : pack) {
    index_->Add(object.tiny.oid, object.read);
    table_.objects.push_back({object.tiny.oid, object.tiny.loaded_s, object.tiny.expires_s});
  }
  table_.end = static_cast<uint32_t>(offset + bytes);
  return true;
}

// --- 3. Write ------------------------------------------------------------------------------------

void TinyBuilder::Write(bool all, std::function<void()> then) {
  const uint64_t bytes =
      all ? shm::AlignUp(out_.size(), disk::kBlock) : out_.size() / disk::kBlock * disk::kBlock;
  if (bytes == 0) return env_.clock->At(env_.clock->Now(), std::move(then));
  const uint64_t used = std::min<uint64_t>(bytes, out_.size());
  writing_ = Buffer(bytes);
  std::memcpy(writing_.data(), out_.data(), used);
  std::memset(writing_.data() + used, 0, bytes - used);
  out_.erase(out_.begin(), out_.begin() + static_cast<ptrdiff_t>(used));
  const uint64_t offset = disk::kFirstRecord + written_;
  written_ += bytes;
  disk_->Write(segment_, offset, {writing_.view()},
               [this, then = std::move(then)](const Status& status) {
                 if (writer_->Failed(status, "writing packs")) return End(false);
                 then();
               });
}

// --- 4. Seal -------------------------------------------------------------------------------------

void TinyBuilder::CloseSegment() {
  index_->End(table_.end);
  (*segments_)[segment_].end = disk::kFirstRecord + written_;
  Buffer table(table_.bytes());
  disk::EncodeTinyTable(table_, table.data());
  writer_->SealPacks(segment_, std::move(table), Pace(), [this](bool sealed) { OnSealed(sealed); });
}

void TinyBuilder::OnSealed(bool sealed) {
  if (!sealed) return End(false);
  counters_->written_objects += table_.objects.size();
  counters_->written_bytes += disk::kBlock + written_ + table_.bytes();
  runs_->Add(run_, std::exchange(segment_, DiskSegments::kNone), std::move(*index_));
  index_.reset();
  if (sealed_) sealed_(next_pack_);
  Next();
}

void TinyBuilder::End(bool whole) {
  if (segment_ != DiskSegments::kNone) {
    (*segments_)[segment_].use = DiskUse::kReclaimed;
    writer_->Clean(std::exchange(segment_, DiskSegments::kNone));
  }
  index_.reset();
  table_ = {};
  out_ = {};
  writing_ = Buffer();
  source_ = nullptr;
  sealed_ = nullptr;
  busy_ = false;
  std::exchange(done_, nullptr)(whole);
}

}  // namespace holdfast::store
