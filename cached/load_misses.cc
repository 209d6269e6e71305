// SPDX-License-Identifier: Apache-2.0
// The part of the loader that readers ask: what they miss, now.
#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/uri.h"
#include "cached/loader.h"

namespace holdfast::cached {

void Loader::OnMiss(bulk::ReadMiss miss, std::function<void(Status)> done) {
  ObjectKey key{miss.oid, miss.version};
  auto later = [this](std::function<void(Status)> run,
                      Status status) {  // never from inside the caller's call
    context_->env.clock->At(context_->Now(), [run = std::move(run), status] { run(status); });
  };
  if (Load* loading = Loading(key)) {
    if (miss.mode == BulkMode::kFetch && OidOf(miss.name) == miss.oid) {
      MayGoFar(*loading, {.key = key,
                          .size = miss.version == 0 ? 0 : miss.size,  // a guess of somebody's
                          .name = miss.name,
                          .etag = miss.etag,
                          .waiters = {}});
    }
    loading->want.waiters.push_back(Wanting(key, loading->want, std::move(done)));
    return;
  }
  context_->tier->LookAtTheClock();
  if (context_->tier->Find(miss.oid, miss.version)) return later(std::move(done), {});
  Want want;
  if (TellPlace(miss)) return;
  if (queue_.Find(key, &want)) {
    want.waiters.push_back(std::move(done));
    return AddUrgent(std::move(want));
  }
  if (miss.mode != BulkMode::kFetch && OnDiskHere(key)) {
    want.key = key;
    want.local = true;
    want.waiters.push_back(std::move(done));
    return AddUrgent(std::move(want));
  }
  if (miss.mode != BulkMode::kFetch) {
    return later(std::move(done), Status::NotFound("the object is neither here nor on its way"));
  }
  if (OidOf(miss.name) != miss.oid) {
    return later(std::move(done),
                 Status::Invalid("the name \"" + miss.name + "\" does not belong to the OID"));
  }
  want.name = std::move(miss.name);
  if (miss.version != 0 && HashVersion(miss.etag, miss.size) == miss.version) {
    // What cannot be promised may fit a segment all the same.
    if (miss.size > segment_bytes_) return later(std::move(done), TooLarge(miss.size));
    want.key = key;
    want.size = miss.size;
    want.etag = std::move(miss.etag);
  } else {
    want.key.oid = miss.oid;
    done = Wanting(key, want, std::move(done));
  }
  want.waiters.push_back(std::move(done));
  AddUrgent(std::move(want));
}

// Nobody waits for it in memory. What would be in memory had it been loaded the last
// time is loaded now.
bool Loader::TellPlace(const bulk::ReadMiss& miss) {
  const uint64_t least = context_->options.least_placed_bytes;
  const bool small = miss.size != 0 && miss.size < least;
  if (!miss.on_disk || small || context_->disk == nullptr) return false;
  if (commitments_->WantedUntil({miss.oid, miss.version})) return false;
  const std::optional<disk::Place> place = context_->disk->PlaceOf(miss.oid, miss.version);
  // Who peeks comes once more, with room.
  if (!place || second_reads_.Note(miss.oid, miss.peek ? 0 : miss.size)) return false;
  ++counters_.disk_places;
  context_->env.clock->At(context_->Now(),
                          [on_disk = miss.on_disk, place = *place] { on_disk(place); });
  return true;
}

Status Loader::TooLarge(uint64_t size) const {
  return Status::NoSpace("an object of " + FormatBytes(size) + " is too large for node " +
                         std::to_string(context_->options.node) + ", whose segments have " +
                         FormatBytes(segment_bytes_));
}

// `done` of who waits for this version of what is loaded in whichever version there is.
std::function<void(Status)> Loader::Wanting(const ObjectKey& key, const Want& loaded,
                                            std::function<void(Status)> done) const {
  if (key.version == loaded.key.version || key.version == 0) return done;
  return [this, key, name = loaded.name, done = std::move(done)](const Status& status) {
    const bool other = status.ok() && !context_->tier->Find(key.oid, key.version);
    done(other ? Status::Changed("\"" + name + "\" has changed since it was listed; list it again")
               : status);
  };
}

void Loader::AddUrgent(Want want) {
  if (urgent_.size() >= kMaxUrgent) {
    Status full = Status::NoSpace("node " + std::to_string(context_->options.node) + " has " +
                                  std::to_string(kMaxUrgent) + " reads waiting, its limit");
    for (auto& waiter : want.waiters) {
      context_->env.clock->At(context_->Now(),
                              [waiter = std::move(waiter), full] { waiter(full); });
    }
    return;
  }
  urgent_.push_back(std::move(want));
  SchedulePump();
}

}  // namespace holdfast::cached
