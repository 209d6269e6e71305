// SPDX-License-Identifier: Apache-2.0
#include "packs/pack_job.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/hash.h"

namespace holdfast::packs {
namespace {

// Of one object alone: the others can be packed.
bool LeavesOut(Code code) {
  return code == Code::kNotFound || code == Code::kDenied || code == Code::kInvalid;
}

}  // namespace

PackJob::PackJob(const World* world, std::vector<FarEntry> objects,
                 std::function<void(Result<Outcome>)> done)
    : world_(world), entries_(std::move(objects)), done_(std::move(done)) {}

void PackJob::End(const Status& status) {
  auto done = std::exchange(done_, nullptr);
  if (!status.ok()) return done(status);
  done(std::move(outcome_));
}

// --- 1. Look -------------------------------------------------------------------------------------

void PackJob::Look() {
  outcome_.objects.clear();
  outcome_.bytes = 0;
  for (const FarEntry& entry : entries_) {
    outcome_.objects.push_back({entry.uri, entry.info.etag, entry.info.size, 0});
    outcome_.bytes += entry.info.size;
  }
  if (entries_.empty()) return End({});
  outcome_.name = PackName(outcome_.objects);
  uri_ = world_->dest + PackFileName(outcome_.name);
  const FarInfo* there = world_->there(uri_);
  const bool fits = there != nullptr && there->size >= outcome_.bytes + kFooterBytes &&
                    there->size <= outcome_.bytes + kMaxPackBytes;
  if (!fits) return Read();
  auto pack = std::make_shared<Buffer>(there->size);
  FarGet get;
  get.uri = uri_;
  get.length = there->size;
  get.into = pack->span();
  get.deadline = world_->clock->Now() + kDeadline;
  world_->far->Get(std::move(get), [this, pack](const Status& status, const FarInfo&, uint64_t) {
    OnFound(status, *pack);
  });
}

void PackJob::OnFound(const Status& status, const Buffer& pack) {
  Result<std::vector<PackedObject>> objects = status.ok() ? ReadPack(pack.view()) : status;
  // What is wrong with it does not matter: it is written again.
  if (!objects.ok() || PackName(*objects) != outcome_.name) return Read();
  outcome_.objects = *std::move(objects);
  outcome_.found = true;
  world_->progress(outcome_.objects.size(), outcome_.bytes);
  End({});
}

// --- 2. Read -------------------------------------------------------------------------------------

void PackJob::Read() {
  pack_ = Buffer(outcome_.bytes);
  changed_.clear();
  gone_.assign(entries_.size(), false);
  under_way_ = entries_.size();
  uint64_t offset = 0;
  for (size_t i = 0; i < entries_.size(); ++i) {
    const FarEntry& entry = entries_[i];
    FarGet get;
    get.uri = entry.uri;
    get.etag = entry.info.etag;
    get.length = entry.info.size;
    get.into = pack_.span().subspan(offset, entry.info.size);
    get.deadline = world_->clock->Now() + kDeadline;
    offset += entry.info.size;
    world_->far->Get(std::move(get), [this, i](const Status& status, const FarInfo&,
                                               uint64_t hash) { OnObject(i, status, hash); });
  }
}

void PackJob::OnObject(size_t i, const Status& status, uint64_t hash) {
  if (status.ok()) {
    outcome_.objects[i].hash = hash;
  } else if (status.code() == Code::kChanged) {
    changed_.push_back(i);
  } else if (LeavesOut(status.code())) {
    gone_[i] = true;
    outcome_.left_out.push_back(status);
  } else if (failed_.ok()) {
    failed_ = status;
  }
  if (--under_way_ > 0) return;
  if (!failed_.ok()) return End(failed_);
  const bool all = changed_.empty() && std::find(gone_.begin(), gone_.end(), true) == gone_.end();
  if (all) return Write();
  if (changed_.empty()) return NextRound();
  LookUpAgain();
}

void PackJob::LookUpAgain() {
  outcome_.changed += changed_.size();
  under_way_ = changed_.size();
  const Time deadline = world_->clock->Now() + kDeadline;
  const std::vector<size_t> looked_up = changed_;
  for (size_t i : looked_up) {
    world_->far->Head(entries_[i].uri, deadline,
                      [this, i](const Result<FarInfo>& info) { OnLookedUp(i, info); });
  }
}

void PackJob::OnLookedUp(size_t i, const Result<FarInfo>& info) {
  const bool fits =
      info.ok() && info->size <= kMaxPackBytes - outcome_.bytes && info->etag.size() <= 256;
  if (fits) {
    entries_[i].info = *info;
  } else if (info.ok() || LeavesOut(info.status().code())) {
    gone_[i] = true;
    outcome_.left_out.push_back(
        info.ok() ? Status::Changed(entries_[i].uri + " has changed and is too large now")
                  : info.status());
  } else if (failed_.ok()) {
    failed_ = info.status();
  }
  if (--under_way_ > 0) return;
  if (!failed_.ok()) return End(failed_);
  NextRound();
}

void PackJob::NextRound() {
  std::vector<FarEntry> kept;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (!gone_[i]) kept.push_back(std::move(entries_[i]));
  }
  entries_ = std::move(kept);
  if (++rounds_ == kMaxRounds) {
    return End(
        Status::Changed("objects of one pack change faster than they can be read, among them " +
                        (entries_.empty() ? "none that is left" : entries_.front().uri) +
                        "; pack when nobody writes them"));
  }
  Look();
}

// --- 3. Write and 4. ReadBack --------------------------------------------------------------------

void PackJob::Write() {
  const Buffer payloads = std::move(pack_);
  const Buffer tail = EncodeTail(outcome_.objects);
  pack_ = Buffer(payloads.size() + tail.size());
  if (!payloads.empty()) std::memcpy(pack_.data(), payloads.data(), payloads.size());
  std::memcpy(pack_.data() + payloads.size(), tail.data(), tail.size());
  pack_hash_ = Hash64(pack_.view());
  world_->writer->Put({uri_, pack_.view(), world_->clock->Now() + kDeadline},
                      [this](const Result<FarInfo>& info) {
                        if (!info.ok()) return End(info.status());
                        ReadBack();
                      });
}

// Into the same memory: what was written is known by its hash.
void PackJob::ReadBack() {
  FarGet get;
  get.uri = uri_;
  get.length = pack_.size();
  get.into = pack_.span();
  get.deadline = world_->clock->Now() + kDeadline;
  world_->far->Get(std::move(get), [this](const Status& status, const FarInfo&, uint64_t hash) {
    if (!status.ok()) return End(status.Annotate("reading back what was written"));
    if (hash != pack_hash_) {
      return End(Status::Corrupt(uri_ + ": what was written reads back as something else"));
    }
    world_->progress(outcome_.objects.size(), outcome_.bytes);
    End({});
  });
}

}  // namespace holdfast::packs
