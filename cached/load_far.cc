// SPDX-License-Identifier: Apache-2.0
// The part of the loader that goes far.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "cached/loader.h"

namespace holdfast::cached {

void Loader::GoFar(Load& load) {
  // Where packs are known, so are the versions in them.
  if (load.want.key.version == 0) return load.together ? AskVersion(load) : GetFirst(load);
  if (!HasRoom(load, &Loader::GoFar)) return;
  FarGet get;
  if (load.first != nullptr) {
    get.offset = load.first->size();
    std::memcpy(load.into.data(), load.first->data(), load.first->size());
    DropFirst(load);
  }
  load.far_began = context_->Now();
  counters_.far_bytes += load.want.size - get.offset;
  if (Commitments::Job* job = commitments_->Find(load.want.job)) {
    job->progress.far_bytes += load.want.size;
  }
  get.uri = load.want.name;
  get.etag = load.want.etag;
  get.length = load.want.size;
  get.into = load.into;
  get.deadline = context_->Now() + kFarDeadline;
  context_->env.far->Get(std::move(get), [this, key = load.want.key, id = load.id](
                                             Status status, FarInfo info, uint64_t hash) {
    OnFar(key, id, std::move(status), info, hash);
  });
}

void Loader::OnFar(const ObjectKey& key, uint64_t id, Status status, const FarInfo& info,
                   uint64_t hash) {
  Load* load = Find(key, id);
  if (load == nullptr) return;
  CountRequests(*load, info.requests);
  if (status.ok() && HashVersion(info.etag, info.size) != key.version) {
    status = Status::Changed("\"" + load->want.name +
                             "\" is not the version that was listed; list it again");
  }
  if (!status.ok()) return Finish(key, status);
  far_latency_ = (far_latency_ * 7 + (context_->Now() - load->far_began)) / 8;
  load->expires_s = info.expires_s;
  Deliver(*load, hash, &far_pace_);
}

// Those that it took, once that is known: one may have brought many objects.
void Loader::CountRequests(const Load& load, uint32_t requests) {
  counters_.far_requests += requests;
  Commitments::Job* job = commitments_->Find(load.want.job);
  if (job != nullptr) job->progress.far_requests += requests;
}

// --- Of an object whose version nobody knows -----------------------------------------------------

// It is near, or will be: that costs a HEAD instead of its bytes.
void Loader::AskVersion(Load& load) {
  context_->env.far->Head(load.want.name, context_->Now() + kFarDeadline,
                          [this, key = load.want.key, id = load.id](const Result<FarInfo>& info) {
                            if (Load* asking = Find(key, id)) OnVersion(*asking, info);
                          });
}

void Loader::OnVersion(Load& load, const Result<FarInfo>& info) {
  CountRequests(load, info.ok() ? info->requests : 1);
  if (!info.ok()) return Finish(load.want.key, info.status());
  if (info->size > segment_bytes_) return Finish(load.want.key, TooLarge(info->size));
  Load& known = Learned(load, *info);
  Count(known, info->size);
  if (known.granted) {
    GoFar(known);
  } else {
    AskHome(known);
  }
  SchedulePump();
}

void Loader::GetFirst(Load& load) {
  const uint64_t share = context_->options.max_planning_bytes / kShareOfPlanning;
  const uint64_t left = share - std::min(share, first_bytes_);
  const uint64_t size = std::min(std::max(std::bit_floor(left / 16), kSmallFirst),
                                 context_->options.first_part_bytes);
  load.first = std::make_shared<Buffer>(size);
  first_bytes_ += size;
  Count(load, size);
  load.far_began = context_->Now();
  FarGet get;
  get.uri = load.want.name;
  get.length = size;
  get.whole = false;
  get.into = load.first->span();
  get.deadline = context_->Now() + kFarDeadline;
  context_->env.far->Get(std::move(get),
                         [this, key = load.want.key, id = load.id, first = load.first](
                             const Status& status, const FarInfo& info, uint64_t hash) {
                           if (Load* getting = Find(key, id)) OnFirst(*getting, status, info, hash);
                         });
}

void Loader::OnFirst(Load& load, const Status& status, const FarInfo& info, uint64_t hash) {
  CountRequests(load, info.requests);
  if (!status.ok()) return Finish(load.want.key, status);
  far_latency_ = (far_latency_ * 7 + (context_->Now() - load.far_began)) / 8;
  const uint64_t landed = std::min<uint64_t>(info.size, load.first->size());
  counters_.far_bytes += landed;
  if (info.size > segment_bytes_) return Finish(load.want.key, TooLarge(info.size));
  Load& known = Learned(load, info);
  if (landed == info.size) {
    known.first_hash = hash;
    known.expires_s = info.expires_s;
    Count(known, info.size);
    return TakeFirst(known);
  }
  Count(known, 0);
  rests_.push_back({known.want.key, known.id});
  SchedulePump();
}

// The only bytes of objects that this thread copies, but for small ones on the disk and those that are
// promised there: the slot cannot be had before the size is known.
// Of 30 KB that takes 4 us, of the most, 256 KiB, 36 us (both cold, measured); to ask for the size
// before would take a far store's round trip, and of this thread another call and its answer.
void Loader::TakeFirst(Load& load) {
  if (!HasRoom(load, &Loader::TakeFirst)) return;
  if (load.want.size > 0) std::memcpy(load.into.data(), load.first->data(), load.want.size);
  DropFirst(load);
  Deliver(load, load.first_hash, &far_pace_);
}

void Loader::DropFirst(Load& load) {
  if (load.first == nullptr) return;
  first_bytes_ -= load.first->size();
  load.first.reset();
}

// The load under its own name from now on. Nothing else brings this version: it would have waited
// for what came.
Loader::Load& Loader::Learned(Load& load, const FarInfo& info) {
  auto node = loads_.extract(load.want.key);
  node.key().version = HashVersion(info.etag, info.size);
  load.want.key = node.key();
  load.want.size = info.size;
  load.want.etag = info.etag;
  auto placed = loads_.insert(std::move(node));
  HF_CHECK(placed.inserted);
  return placed.position->second;
}

}  // namespace holdfast::cached
