// SPDX-License-Identifier: Apache-2.0
#include "cached/store/disk_recovery.h"

#include <algorithm>
#include <string>
#include <utility>

namespace holdfast::store {

void DiskRecovery::Start(std::function<void(Status)> done) {
  done_ = std::move(done);
  env_.clock->At(env_.clock->Now(), [this] { Step(); });
}

void DiskRecovery::Step() {
  while (refused_.ok() && next_ < segments_->size() && bytes_.size() < kAtOnce) {
    const uint32_t segment = next_++;
    ReadSeal(segment);
  }
  if (!bytes_.empty() || !done_) return;
  if (refused_.ok() && !walks_.empty()) {
    // The oldest first: of what was being moved when a machine crashed the younger copy may be torn.
    const auto older = [](const auto& a, const auto& b) {
      return a.second.seal.sequence < b.second.seal.sequence;
    };
    return ReadOpen(std::min_element(walks_.begin(), walks_.end(), older)->first);
  }
  std::exchange(done_, nullptr)(refused_);
}

void DiskRecovery::Next(uint32_t segment) {
  bytes_.erase(segment);
  Step();
}

// A disk elsewhere that does not answer has not lost what it has.
bool DiskRecovery::Waits(uint32_t segment, const Status& read, std::function<void()> again) {
  if (read.code() != Code::kTimeout) return false;
  if (++waits_ <= kMostWaits) {
    env_.clock->At(env_.clock->Now() + kWait, std::move(again));
  } else {
    refused_ = read.Annotate("segment " + std::to_string(segment));
    Next(segment);
  }
  return true;
}

// --- 1. Seal -------------------------------------------------------------------------------------

void DiskRecovery::ReadSeal(uint32_t segment) {
  Buffer& block = bytes_[segment] = Buffer(disk::kBlock);
  disk_->Read(segment, 0, block.span(),
              [this, segment](const Status& read, uint64_t) { OnSeal(segment, read); });
}

void DiskRecovery::OnSeal(uint32_t segment, const Status& read) {
  if (Waits(segment, read, [this, segment] { ReadSeal(segment); })) return;
  Result<disk::Seal> seal = read;
  if (read.ok()) seal = disk::DecodeSeal(bytes_[segment].view(), segments_->segment_bytes());
  const bool foreign = seal.ok() && (seal->node != identity_.node ||
                                     seal->cluster != disk::ClusterHash(identity_.cluster));
  if (foreign) {
    refused_ = Status::Invalid("segment " + std::to_string(segment) + " is of node " +
                               std::to_string(seal->node) +
                               " of another cluster, or another node "
                               "of this one: give each node a disk.directory of its own");
  } else if (seal.status().code() == Code::kInvalid) {
    refused_ = seal.status().Annotate("segment " + std::to_string(segment));
  } else if (!seal.ok() || !sequences_.insert(seal->sequence).second) {
    segments_->AddFree(segment);
  } else if (seal->kind == disk::SegmentKind::kOpen) {
    walks_[segment] = {.seal = *seal};  // when all that is sealed is known
  } else {
    return ReadTable(segment, *seal);
  }
  Next(segment);
}

// --- 2. Table ------------------------------------------------------------------------------------

void DiskRecovery::ReadTable(uint32_t segment, const disk::Seal& seal) {
  Buffer& table = bytes_[segment] = Buffer(seal.table_bytes());
  disk_->Read(segment, seal.table_offset, table.span(),
              [this, segment, seal](const Status& status, uint64_t hash) {
                OnTable(segment, seal, status, hash);
              });
}

void DiskRecovery::OnTable(uint32_t segment, const disk::Seal& seal, const Status& read,
                           uint64_t hash) {
  if (Waits(segment, read, [this, segment, seal] { ReadTable(segment, seal); })) return;
  Status linked = read;
  if (read.ok() && hash != seal.table_hash) linked = Status::Corrupt("not its hash");
  if (linked.ok()) linked = Link(segment, seal, bytes_[segment].view());
  if (!linked.ok()) {
    env_.log->Warn("segment " + std::to_string(segment) +
                   " of the disk has a damaged table; what it held is forgotten");
    segments_->AddFree(segment);
  }
  Next(segment);
}

Status DiskRecovery::Link(uint32_t segment, const disk::Seal& seal, ByteView table) {
  if (seal.kind == disk::SegmentKind::kPacks) {
    const Result<uint64_t> order = tiny_->Recovered(seal, segment, table);
    if (!order.ok()) return order.status();
    segments_->AddSealed(segment, seal, *order);
    objects_ += tiny_->ObjectsIn(segment);
    return {};
  }
  const Result<std::vector<disk::Entry>> entries = disk::DecodeTable(table, seal.table_offset);
  if (!entries.ok()) return entries.status();
  segments_->AddSealed(segment, seal, seal.sequence);
  for (const disk::Entry& entry : *entries) objects_ += records_->Link(segment, entry) ? 1 : 0;
  return {};
}

// --- 3. Open -------------------------------------------------------------------------------------

void DiskRecovery::ReadOpen(uint32_t segment) {
  const uint64_t at = walks_[segment].at;
  Buffer& bytes = bytes_[segment] = Buffer(std::min(kWalk, segments_->segment_bytes() - at));
  disk_->Read(segment, at, bytes.span(),
              [this, segment](const Status& read, uint64_t) { OnOpen(segment, read); });
}

void DiskRecovery::OnOpen(uint32_t segment, const Status& read) {
  if (Waits(segment, read, [this, segment] { ReadOpen(segment); })) return;
  Walk& walk = walks_[segment];
  const uint64_t begin = walk.at;
  const ByteView bytes = read.ok() ? bytes_[segment].view() : ByteView();
  while (walk.at < begin + bytes.size()) {
    if (!TakeRecord(bytes, begin, &walk)) return EndWalk(segment);
    // A head may reach beyond what was read, unless that is all that there is.
    const uint64_t left = begin + bytes.size() - std::min(walk.at, begin + bytes.size());
    if (left < disk::kMostHead && begin + bytes.size() < segments_->segment_bytes()) break;
  }
  if (!read.ok() || walk.at >= segments_->segment_bytes()) return EndWalk(segment);
  ReadOpen(segment);
}

// Takes the record at walk->at, which is behind the last one or, of another batch, at a block: one that
// was not written leaves a hole. False when there is no room for more.
bool DiskRecovery::TakeRecord(ByteView bytes, uint64_t begin, Walk* walk) const {
  const uint64_t most = segments_->segment_bytes();
  Result<disk::Head> head = disk::DecodeHead(bytes.subspan(walk->at - begin), walk->at, most);
  if (!head.ok()) {
    walk->at = shm::AlignUp(walk->at + 1, disk::kBlock);
    return true;
  }
  walk->at = head->entry.end();
  // What is there already is not taken for an old copy, which may have been written over in part.
  if (records_->index().Find(head->entry.oid, head->entry.version) != Index::kNone) return true;
  const uint64_t table = (walk->entries.size() + 1) * disk::kEntryBytes;
  if (shm::AlignUp(walk->at, disk::kBlock) + table > most) return false;
  walk->entries.push_back(head->entry);
  walk->end = walk->at;
  return true;
}

void DiskRecovery::EndWalk(uint32_t segment) {
  auto walk = walks_.extract(segment);
  if (walk.mapped().entries.empty()) {
    segments_->AddFree(segment);
    return Next(segment);
  }
  segments_->AddClosed(segment, walk.mapped().seal, walk.mapped().end);
  DiskSegment& s = (*segments_)[segment];
  for (const disk::Entry& entry : walk.mapped().entries)
    objects_ += records_->Link(segment, entry) ? 1 : 0;
  s.table = std::move(walk.mapped().entries);
  s.entries = static_cast<uint32_t>(s.table.size());
  found_open_.push_back(segment);
  Next(segment);
}

}  // namespace holdfast::store
