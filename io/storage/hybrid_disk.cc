// SPDX-License-Identifier: Apache-2.0
#include "io/storage/hybrid_disk.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "base/hash.h"
#include "wire/disk_segment.h"

namespace holdfast::storage {
namespace {

// And not the mark of one that is open.
bool IsSeal(ByteView block, uint64_t segment_bytes) {
  const Result<disk::Seal> seal = disk::DecodeSeal(block, segment_bytes);
  return seal.ok() && seal->kind != disk::SegmentKind::kOpen;
}

}  // namespace

HybridDisk::HybridDisk(std::unique_ptr<Disk> near, Options options)
    : near_(std::move(near)), options_(std::move(options)) {}

// What its threads still read goes into memory of this one.
HybridDisk::~HybridDisk() {
  *alive_ = false;
  near_.reset();
}

std::string HybridDisk::NameOf(uint32_t segment) const {
  std::array<char, 48> name;
  std::snprintf(name.data(), name.size(), "node-%u/%06u.segment", unsigned{options_.node}, segment);
  return options_.prefix + name.data();
}

// --- Near ----------------------------------------------------------------------------------------

void HybridDisk::Read(uint32_t segment, uint64_t offset, ByteSpan into,
                      std::function<void(Status, uint64_t)> done) {
  near_->Read(
      segment, offset, into,
      [this, segment, offset, into, done = std::move(done)](const Status& status, uint64_t hash) {
        if (status.ok() || without_copy_.contains(segment)) return done(status, hash);
        ReadCopy(segment, offset, into, [status, done](const Status& far, uint64_t found) {
          done(far.ok() ? far : status, found);
        });
      });
}

void HybridDisk::Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
                       std::function<void(Status)> done) {
  const uint64_t write = without_copy_[segment] = ++writes_;
  const bool seal = offset == 0 && parts.size() == 1 && parts[0].size() == kBlock &&
                    IsSeal(parts[0], segment_bytes());
  near_->Write(segment, offset, std::move(parts),
               [this, segment, write, seal, done = std::move(done)](const Status& status) {
                 if (seal && status.ok()) CopyLater(segment, write);
                 done(status);
               });
}

void HybridDisk::Sync(uint32_t segment, std::function<void(Status)> done) {
  near_->Sync(segment, std::move(done));
}

// --- Copy ----------------------------------------------------------------------------------------

void HybridDisk::CopyLater(uint32_t segment, uint64_t write) {
  if (queued_.insert_or_assign(segment, write).second) queue_.push_back(segment);
  if (copying_.empty() && !resting_) CopyNext();
}

void HybridDisk::CopyNext() {
  copying_ = Buffer();
  while (!queue_.empty()) {
    const uint32_t segment = queue_.front();
    queue_.pop_front();
    const uint64_t write = queued_.extract(segment).mapped();
    const auto without = without_copy_.find(segment);
    if (without == without_copy_.end() || without->second != write) continue;  // written again
    copying_ = Buffer(segment_bytes());
    return near_->Read(segment, 0, copying_.span(),
                       [this, segment, write](const Status& read, uint64_t) {
                         if (!read.ok()) return Unread(segment, write, read);
                         options_.writer->Put({.uri = NameOf(segment),
                                               .bytes = copying_.view(),
                                               .deadline = options_.clock->Now() + kCopyDeadline},
                                              [this, segment, write](const Result<FarInfo>& put) {
                                                Copied(segment, write, put.status());
                                              });
                       });
  }
}

// What the disk cannot read has no copy, which is no fault of the far store; one that does not answer is
// asked again.
void HybridDisk::Unread(uint32_t segment, uint64_t write, const Status& read) {
  if (read.code() == Code::kTimeout) return Copied(segment, write, read);
  ++counters_.failed_copies;
  if (options_.log != nullptr) {
    options_.log->Warn("segment " + std::to_string(segment) +
                       " cannot be read, and has no copy in the far store: " + read.message());
  }
  CopyNext();
}

void HybridDisk::Copied(uint32_t segment, uint64_t write, const Status& status) {
  auto without = without_copy_.find(segment);
  const bool as_copied = without != without_copy_.end() && without->second == write;
  if (status.ok()) {
    ++counters_.copies;
    if (as_copied) without_copy_.erase(without);
    if (rest_ != Duration(0) && options_.log != nullptr)
      options_.log->Info("copies of segments are written to the far store again");
    rest_ = Duration(0);
    return CopyNext();
  }
  ++counters_.failed_copies;
  if (rest_ == Duration(0) && options_.log != nullptr) {
    options_.log->Warn("a segment has no copy in the far store, " +
                       std::to_string(queue_.size() + 1) +
                       " wait for theirs; it is tried again: " + status.message());
  }
  if (as_copied && queued_.emplace(segment, write).second) queue_.push_back(segment);
  copying_ = Buffer();
  rest_ = std::clamp(2 * rest_, options_.rest, kMostRests * options_.rest);
  resting_ = true;
  After(rest_, [this] {
    resting_ = false;
    CopyNext();
  });
}

void HybridDisk::After(Duration rest, std::function<void()> run) {
  options_.clock->At(options_.clock->Now() + rest, [alive = alive_, run = std::move(run)] {
    if (*alive) run();
  });
}

// --- Check ---------------------------------------------------------------------------------------

void HybridDisk::CheckNext(uint32_t segment) {
  while (segment < segments() && without_copy_.contains(segment)) ++segment;
  checking_ = segment < segments() ? Buffer(2 * kBlock) : Buffer();
  if (checking_.empty()) return;
  near_->Read(segment, 0, checking_.span().first(kBlock),
              [this, segment](const Status& read, uint64_t) {
                if (read.code() == Code::kTimeout) return CheckLater(segment);
                const ByteView block = checking_.view().first(kBlock);
                if (!read.ok() || !IsSeal(block, segment_bytes())) return CheckNext(segment + 1);
                CheckCopy(segment);
              });
}

void HybridDisk::CheckLater(uint32_t segment) {
  After(kMostRests * options_.rest, [this, segment] { CheckNext(segment); });
}

void HybridDisk::CheckCopy(uint32_t segment) {
  const ByteSpan into = checking_.span().last(kBlock);
  ReadCopy(segment, 0, into, [this, segment](const Status& read, uint64_t) {
    if (without_copy_.contains(segment)) return CheckNext(segment + 1);  // meanwhile written
    if (read.code() == Code::kTimeout || read.code() == Code::kUnavailable)
      return CheckLater(segment);
    const ByteView seal = checking_.view().first(kBlock), copy = checking_.view().last(kBlock);
    // One that cannot be read is as good as none.
    if (!read.ok() || !std::equal(seal.begin(), seal.end(), copy.begin())) {
      without_copy_[segment] = ++writes_;
      CopyLater(segment, writes_);
    }
    CheckNext(segment + 1);
  });
}

// --- Far -----------------------------------------------------------------------------------------

void HybridDisk::ReadCopy(uint32_t segment, uint64_t offset, ByteSpan into,
                          std::function<void(Status, uint64_t)> done) {
  if (wanted_.empty()) After(Duration(0), [this] { Ask(); });
  wanted_[segment].push_back({offset, into, std::move(done)});
}

void HybridDisk::Ask() {
  for (auto& [segment, wanted] : std::exchange(wanted_, {})) AskFor(segment, std::move(wanted));
}

// Ranges that overlap do not share a request: the far store fills each place once.
void HybridDisk::AskFor(uint32_t segment, std::vector<Wanted> wanted) {
  if (without_copy_.contains(segment)) {
    for (Wanted& w : wanted) w.done(Status::NotFound("the segment has no copy"), 0);
    return;
  }
  std::stable_sort(wanted.begin(), wanted.end(),
                   [](const Wanted& a, const Wanted& b) { return a.offset < b.offset; });
  auto together = std::make_shared<std::vector<Wanted>>();
  auto pieces = std::make_shared<std::vector<FarPiece>>();
  std::vector<Wanted> others;
  uint64_t end = wanted.front().offset;
  for (Wanted& w : wanted) {
    if (w.offset < end || w.into.empty()) {
      others.push_back(std::move(w));
      continue;
    }
    end = w.offset + w.into.size();
    pieces->push_back({.offset = w.offset, .into = w.into});
    together->push_back(std::move(w));
  }
  if (together->empty()) {
    for (Wanted& w : others) w.done({}, Hash64({}));
    return;
  }
  counters_.far_reads += together->size();
  ++counters_.far_requests;
  const uint64_t begin = together->front().offset;
  options_.far->Get(
      {.uri = NameOf(segment),
       .etag = {},
       .offset = begin,
       .length = end - begin,
       .whole = false,
       .into = {},
       .deadline = options_.clock->Now() + kReadDeadline,
       .pieces = pieces.get()},
      [together, pieces](const Status& status, const FarInfo&, uint64_t) {
        for (size_t i = 0; i < together->size(); ++i) {
          const FarPiece& piece = (*pieces)[i];
          const Status cut = Status::NotFound("the segment's copy is cut off");
          (*together)[i].done(!status.ok() ? status : piece.filled ? Status() : cut, piece.hash);
        }
      });
  if (!others.empty()) AskFor(segment, std::move(others));
}

}  // namespace holdfast::storage
