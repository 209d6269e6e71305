// SPDX-License-Identifier: Apache-2.0
#include "packs/packed_store.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/hash.h"
#include "base/uri.h"

namespace holdfast::packs {
namespace {

// Less than all of a packed object.
bool IsPart(const FarGet& get, const PackIndex::Entry& entry) {
  return !get.whole && (get.offset > 0 || get.length < entry.size);
}

}  // namespace

PackedStore::PackedStore(Clock* clock, FarStore* real, Log* log, Options options)
    : clock_(clock), real_(real), log_(log), max_gap_(WorthwhileGap(options.prices)) {
  for (std::string& prefix : options.sets) {
    sets_.push_back(std::make_unique<PackedSet>(clock_, real_, log_, std::move(prefix),
                                                options.max_index_bytes));
  }
}

// --- Indices -------------------------------------------------------------------------------------

void PackedStore::Start() {
  first_loads_ = sets_.size();
  for (auto& set : sets_) {
    set->Load([this] {
      if (--first_loads_ > 0) return;
      for (auto& run : std::exchange(waiting_, {})) run();
    });
  }
}

void PackedStore::WhenReady(std::function<void()> done) {
  if (first_loads_ == 0) return clock_->At(clock_->Now(), std::move(done));
  waiting_.push_back(std::move(done));
}

void PackedStore::LoadWhatIsDue() {
  for (auto& set : sets_) {
    if (set->Due()) set->Load([] {});
  }
}

std::optional<PackedStore::Place> PackedStore::Find(const Oid& oid) const {
  for (const auto& set : sets_) {
    if (set->index() == nullptr) continue;
    if (const auto entry = set->index()->Find(oid)) return Place{set.get(), set->index(), *entry};
  }
  return std::nullopt;
}

std::optional<FarPlace> PackedStore::PlaceOf(const Oid& oid) const {
  const std::optional<Place> place = Find(oid);
  if (!place) return std::nullopt;
  return FarPlace{place->pack().name.hi, place->entry.offset};
}

// Nothing for what packs cannot serve: another version, the rest of something, the first part of
// whichever version there is (its rest would be asked for next).
std::optional<PackedStore::Place> PackedStore::PlaceFor(const FarGet& get) const {
  if ((get.whole && get.offset > 0) || get.pieces != nullptr) return std::nullopt;
  std::optional<Place> place = Find(OidOf(get.uri));
  if (!place) return std::nullopt;
  const PackIndex::Entry& entry = place->entry;
  const bool version = get.etag.empty() || get.etag == entry.etag;
  const bool in_it =
      get.whole ? get.length == entry.size : get.offset < entry.size || get.offset == 0;
  const bool known = !IsPart(get, entry) || !get.etag.empty();
  if (!version || !in_it || !known || place->set->LeftAlone(place->pack().name))
    return std::nullopt;
  return place;
}

// --- Reading -------------------------------------------------------------------------------------

void PackedStore::Get(FarGet get, GetDone done) {
  if (first_loads_ > 0) {
    waiting_.push_back([this, get = std::move(get), done = std::move(done)]() mutable {
      Locate(std::move(get), std::move(done));
    });
    return;
  }
  LoadWhatIsDue();
  Locate(std::move(get), std::move(done));
}

void PackedStore::Locate(FarGet get, GetDone done) {
  std::optional<Place> place = PlaceFor(get);
  if (!place) return real_->Get(std::move(get), std::move(done));
  gathered_.push_back({*std::move(place), std::move(get), std::move(done)});
  if (std::exchange(flush_scheduled_, true)) return;
  clock_->At(clock_->Now() + kGather, [this] {
    flush_scheduled_ = false;
    Flush();
  });
}

void PackedStore::Flush() {
  std::vector<Waiting> objects = std::exchange(gathered_, {});
  // By what differs between machines last: the pack's name before the address of its set.
  const auto rank = [](const Waiting& w) {
    return std::tuple(w.place.pack().name, w.place.set, w.place.index.get(), w.place.entry.offset);
  };
  std::stable_sort(objects.begin(), objects.end(),
                   [&](const Waiting& a, const Waiting& b) { return rank(a) < rank(b); });
  const auto same_pack = [](const Place& a, const Place& b) {
    return a.set == b.set && a.index == b.index && a.entry.pack == b.entry.pack;
  };
  for (size_t first = 0, last = 0; first < objects.size(); first = last) {
    std::vector<WantedRange> wanted;
    for (; last < objects.size() && same_pack(objects[first].place, objects[last].place); ++last) {
      wanted.push_back({objects[last].place.entry.offset, objects[last].place.entry.size});
    }
    for (const MergedRange& range : Merge(wanted, max_gap_, kMaxRange)) {
      const auto begin = std::next(objects.begin(), static_cast<ptrdiff_t>(first + range.first));
      const auto end = std::next(objects.begin(), static_cast<ptrdiff_t>(first + range.last));
      Send({std::move_iterator(begin), std::move_iterator(end)}, range.offset, range.size);
    }
  }
}

void PackedStore::Send(std::vector<Waiting> objects, uint64_t offset, uint64_t size) {
  auto flight = std::make_shared<Flight>();
  flight->objects = std::move(objects);
  FarGet get;
  for (Waiting& object : flight->objects) {
    const PackIndex::Entry& entry = object.place.entry;
    if (IsPart(object.get, entry)) object.whole = Buffer(entry.size);
    const ByteSpan into = object.whole.empty() ? object.get.into : object.whole.span();
    flight->pieces.push_back({.offset = entry.offset, .into = into.first(entry.size)});
    get.deadline = std::min(get.deadline, object.get.deadline);
  }
  if (size == 0) {  // nothing but empty objects: there is no such range to ask for
    for (FarPiece& piece : flight->pieces) piece = {.filled = true, .hash = Hash64({})};
    return clock_->At(clock_->Now(), [this, flight] { Landed(*flight, {}, 0); });
  }
  const Place& place = flight->objects.front().place;
  get.uri = place.set->PackUri(place.pack().name);
  get.whole = false;
  get.offset = offset;
  get.length = size;
  get.pieces = &flight->pieces;
  // The far store writes into the pieces until it calls back, so the callback owns the flight.
  real_->Get(std::move(get), [this, flight](const Status& status, const FarInfo& pack, uint64_t) {
    Landed(*flight, status, pack.expires_s);
  });
}

// Objects end with their pack.
void PackedStore::Landed(Flight& flight, const Status& status, uint32_t expires_s) {
  uint32_t requests = 1;
  for (size_t i = 0; i < flight.objects.size(); ++i) {
    Waiting& object = flight.objects[i];
    const FarPiece& piece = flight.pieces[i];
    const Place& place = object.place;
    const bool late = status.code() == Code::kTimeout && clock_->Now() >= object.get.deadline;
    if (late) {
      object.done(status, {}, 0);
    } else if (!status.ok() || !piece.filled) {
      const Status why = status.ok() ? Status::Corrupt("is shorter than its index says") : status;
      place.set->Trouble(place.pack().name, why, false);
      Instead(std::move(object), why);
    } else if (piece.hash != place.entry.hash) {
      const Status why = Status::Corrupt("the bytes of " + object.get.uri + " in it are damaged");
      place.set->Trouble(place.pack().name, why, true);
      Instead(std::move(object), why);
    } else {
      const FarInfo info{place.entry.size, std::string(place.entry.etag),
                         std::exchange(requests, 0u), expires_s};
      object.done({}, info, object.whole.empty() ? piece.hash : CutOut(object));
    }
  }
}

// On the deciding thread, but what is packed is small.
uint64_t PackedStore::CutOut(const Waiting& object) {
  const FarGet& get = object.get;
  const uint64_t size = std::min(get.length, object.whole.size() - get.offset);
  const ByteView part = object.whole.view().subspan(get.offset, size);
  std::memcpy(get.into.data(), part.data(), part.size());
  Hasher64 hasher;
  hasher.Update(get.before);
  hasher.Update(part);
  return hasher.Digest();
}

void PackedStore::Instead(Waiting object, const Status& why) {
  const std::string pack = object.place.set->PackUri(object.place.pack().name);
  real_->Get(std::move(object.get), [done = std::move(object.done), pack, why](
                                        Status status, FarInfo info, uint64_t hash) {
    if (!status.ok()) {
      status = Status(status.code(), status.message() + "; nor can its pack " + pack +
                                         " be used: " + why.message());
    }
    done(std::move(status), std::move(info), hash);
  });
}

// --- All else ------------------------------------------------------------------------------------

void PackedStore::Head(const std::string& uri, Time deadline,
                       std::function<void(Result<FarInfo>)> done) {
  if (first_loads_ > 0) {
    waiting_.push_back([this, uri, deadline, done = std::move(done)]() mutable {
      Head(uri, deadline, std::move(done));
    });
    return;
  }
  const std::optional<Place> place = Find(OidOf(uri));
  if (!place || place->set->LeftAlone(place->pack().name)) {
    return real_->Head(uri, deadline, std::move(done));
  }
  const FarInfo info{place->entry.size, std::string(place->entry.etag), 0};
  clock_->At(clock_->Now(), [done = std::move(done), info] { done(info); });
}

void PackedStore::List(const std::string& prefix, const std::string& token, bool delimited,
                       Time deadline, std::function<void(Result<FarPage>)> done) {
  real_->List(prefix, token, delimited, deadline, std::move(done));
}

}  // namespace holdfast::packs
