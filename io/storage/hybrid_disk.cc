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

bool IsSeal(uint64_t offset, const std::vector<ByteView>& parts, uint64_t segment_bytes) {
  return offset == 0 && parts.size() == 1 && parts[0].size() == Disk::kBlock &&
         disk::DecodeSeal(parts[0], segment_bytes).ok();
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
  without_copy_[segment] = ++writes_;
  const bool seal = IsSeal(offset, parts, segment_bytes());
  near_->Write(segment, offset, std::move(parts),
               [this, segment, seal, done = std::move(done)](const Status& status) {
                 if (seal && status.ok()) CopyLater(segment);
                 done(status);
               });
}

void HybridDisk::Sync(uint32_t segment, std::function<void(Status)> done) {
  near_->Sync(segment, std::move(done));
}

// --- Copy ----------------------------------------------------------------------------------------

void HybridDisk::CopyLater(uint32_t segment) {
  if (!queued_.insert(segment).second) return;
  queue_.push_back(segment);
  if (copying_.empty()) CopyNext();
}

void HybridDisk::CopyNext() {
  copying_ = Buffer();
  if (queue_.empty()) return;
  const uint32_t segment = queue_.front();
  queue_.pop_front();
  queued_.erase(segment);
  copying_ = Buffer(segment_bytes());
  const uint64_t write = without_copy_[segment];
  near_->Read(segment, 0, copying_.span(), [this, segment, write](const Status& read, uint64_t) {
    if (!read.ok()) return Copied(segment, write, read);
    options_.writer->Put({.uri = NameOf(segment),
                          .bytes = copying_.view(),
                          .deadline = options_.clock->Now() + kCopyDeadline},
                         [this, segment, write](const Result<FarInfo>& put) {
                           Copied(segment, write, put.status());
                         });
  });
}

void HybridDisk::Copied(uint32_t segment, uint64_t write, const Status& status) {
  if (status.ok()) {
    ++counters_.copies;
    auto without = without_copy_.find(segment);
    if (without != without_copy_.end() && without->second == write) without_copy_.erase(without);
  } else {
    ++counters_.failed_copies;
    if (!failing_ && options_.log != nullptr)
      options_.log->Warn("a segment has no copy in the far store: " + status.message());
  }
  failing_ = !status.ok();
  CopyNext();
}

// --- Far -----------------------------------------------------------------------------------------

void HybridDisk::ReadCopy(uint32_t segment, uint64_t offset, ByteSpan into,
                          std::function<void(Status, uint64_t)> done) {
  if (wanted_.empty()) {
    options_.clock->At(options_.clock->Now(), [this, alive = alive_] {
      if (*alive) Ask();
    });
  }
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
