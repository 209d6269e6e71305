// SPDX-License-Identifier: Apache-2.0
#include "wire/local_reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "wire/shm_views.h"

namespace holdfast {
namespace {

using shm::kBucketEntries;
using shm::RecordHeader;
using Slot = std::atomic<shm::Entry>;

// An entry that changes under the reader's eyes so many times in a row is as good as gone.
constexpr int kMaxRestarts = 64;
constexpr size_t kGroup = 64;
// How many records before its turn the payload of a record is fetched, and how much of it: more
// would push the lines of the records in between out of the first-level cache.
constexpr size_t kAhead = 8;
constexpr size_t kPrefetchBytes = 1 * kKiB;

uint32_t LaneOfThisThread() {
  static std::atomic<uint32_t> next{0};
  thread_local const uint32_t lane = next.fetch_add(1, std::memory_order_relaxed) % shm::kPinLanes;
  return lane;
}

const std::byte* PayloadOf(const RecordHeader* header) {
  return reinterpret_cast<const std::byte*>(header) + shm::kRecordAlign;
}

}  // namespace

// A look-up that finds its record in the first bucket is inlined to few instructions on purpose:
// only then is the next one already on its way to memory while this one's payload is copied
// (measured: 1.5 times as many reads of 1 KB).
struct LocalReader::State {
  shm::RegionView region;
  shm::SessionView session;
  std::function<WallTime()> wall;
  const std::atomic<uint32_t>* forks = nullptr;
  uint32_t forks_at_open = 0;

  // Views by segment, and how many segments have any: what counts against the session's grant.
  std::unique_ptr<std::atomic<uint32_t>[]> views_of;
  std::atomic<uint32_t> viewed{0};
  std::atomic<uint32_t> grant_slot{0};

  bool InChild() const {
    return forks != nullptr && forks->load(std::memory_order_relaxed) != forks_at_open;
  }
  std::atomic<uint32_t>& PinOf(uint32_t lane, uint32_t segment) const {
    return session.pins[size_t{lane} * region.segments + segment];
  }
  bool Matches(shm::Entry e, const Oid& oid, VersionHash version) const {
    const RecordHeader* record = region.RecordAt(e);
    return record->oid == oid && (version == 0 || record->version == version) &&
           record->size <= region.segment_bytes - shm::OffsetOf(e) - shm::kRecordAlign &&
           !Expired(record);
  }
  bool Expired(const RecordHeader* record) const {
    return record->expires_s != 0 && HasExpired(record->expires_s, wall());
  }

  // Pins the segment of `seen`, which was loaded from `slot`. True: the slot still leads there, and
  // what lies there stays as it is until the pin goes (the rule of local reading). False: nothing
  // is pinned.
  bool Pin(const Slot& slot, shm::Entry seen, uint32_t lane) const {
    PinOf(lane, shm::SegmentOf(seen)).fetch_add(1, std::memory_order_seq_cst);
    if (slot.load(std::memory_order_seq_cst) == seen) return true;
    Unpin(lane, shm::SegmentOf(seen));
    return false;
  }
  void Unpin(uint32_t lane, uint32_t segment) const {
    // Release: what was read comes before the daemon, which acquires the pin, writes there again.
    PinOf(lane, segment).fetch_sub(1, std::memory_order_release);
  }
  bool PinRecord(const Slot& slot, shm::Entry seen, const LocalRequest& want, uint32_t lane) const {
    if (!Pin(slot, seen, lane)) return false;
    if (Matches(seen, want.oid, want.version)) return true;
    Unpin(lane, shm::SegmentOf(seen));
    return false;
  }

  // The entry of the wanted record, whose segment is pinned in this lane; 0 when it is not here.
  shm::Entry Find(const LocalRequest& want, uint32_t lane) const {
    const uint32_t tag = shm::TagFor(want.oid);
    const shm::Bucket& bucket = region.buckets[shm::FirstBucket(want.oid, region.bucket_count)];
    const uint32_t mask = shm::TagMask(bucket, tag);
    if (mask != 0) {
      const Slot& slot = bucket.entries[std::countr_zero(mask)];
      const shm::Entry seen = slot.load(std::memory_order_relaxed);
      if (region.InBounds(seen) && PinRecord(slot, seen, want, lane)) return seen;
    }
    return Search(want, lane);
  }
  // The same, in every place where it can be.
  shm::Entry Search(const LocalRequest& want, uint32_t lane) const;

  // Where a record most likely is.
  struct Candidate {
    const Slot* slot = nullptr;
    shm::Entry seen = 0;
  };
  void PrefetchBuckets(const Oid& oid) const {
    const uint32_t first = shm::FirstBucket(oid, region.bucket_count);
    __builtin_prefetch(&region.buckets[first]);
    __builtin_prefetch(
        &region.buckets[shm::OtherBucket(first, shm::TagFor(oid), region.bucket_count)]);
  }
  // The first entry with the OID's tag; its record's header is fetched.
  Candidate Locate(const Oid& oid) const;
  void PrefetchPayload(const Candidate& c, size_t most) const {
    if (c.slot == nullptr) return;
    const std::byte* payload = PayloadOf(region.RecordAt(c.seen));
    const size_t bytes = std::min(most, kPrefetchBytes);
    for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(payload + at);
  }

  LocalOutcome CopyOut(const LocalRequest& request, const RecordHeader* record) const;
  void CopyGroup(std::span<const LocalRequest> requests, std::span<LocalOutcome> outcomes) const;
  // Without a lock: two threads may write the same slot, and one of their marks is lost.
  void Mark(shm::Entry e) const {
    constexpr shm::Mark kMask = (shm::Mark{1} << (shm::kSegmentBits + shm::kOffsetBits)) - 1;
    const uint64_t head = session.header->mark_head.load(std::memory_order_relaxed);
    session.marks[head % shm::kMarkSlots].store(e & kMask, std::memory_order_relaxed);
    session.header->mark_head.store(head + 1, std::memory_order_release);
  }

  uint32_t Grant();
  bool TakeGrant(uint32_t segment);
  void GiveBack(uint32_t segment) {
    if (views_of[segment].fetch_sub(1, std::memory_order_relaxed) == 1) {
      viewed.fetch_sub(1, std::memory_order_relaxed);
    }
  }
};

[[gnu::noinline]] shm::Entry LocalReader::State::Search(const LocalRequest& want,
                                                        uint32_t lane) const {
  const uint32_t tag = shm::TagFor(want.oid);
  const uint32_t first = shm::FirstBucket(want.oid, region.bucket_count);
  const uint32_t second = shm::OtherBucket(first, tag, region.bucket_count);
  for (int restart = 0; restart < kMaxRestarts; ++restart) {
    bool changed = false;
    // The first one again: an entry may have been displaced from the second to it while we looked.
    for (uint32_t bucket : {first, second, first}) {
      const Slot* slots = region.buckets[bucket].entries;
      for (uint32_t left = shm::TagMask(region.buckets[bucket], tag); left != 0; left &= left - 1) {
        const Slot& slot = slots[std::countr_zero(left)];
        const shm::Entry seen = slot.load(std::memory_order_relaxed);
        if (!region.InBounds(seen)) continue;
        changed = !Pin(slot, seen, lane);
        if (changed) break;
        if (Matches(seen, want.oid, want.version)) return seen;
        Unpin(lane, shm::SegmentOf(seen));
      }
      if (changed) break;
    }
    if (!changed) return 0;
  }
  return 0;
}

inline LocalOutcome LocalReader::State::CopyOut(const LocalRequest& request,
                                                const RecordHeader* record) const {
  LocalOutcome outcome{Code::kOk, record->size, record->version};
  if (request.into.size() < record->size) {
    outcome.code = Code::kNoSpace;
  } else if (record->size != 0) {
    std::memcpy(request.into.data(), PayloadOf(record), record->size);
  }
  return outcome;
}

// Unlike Find this has nothing to wait for, so that leaving at the first match pays (measured: 7 %
// of a batch).
LocalReader::State::Candidate LocalReader::State::Locate(const Oid& oid) const {
  const uint32_t tag = shm::TagFor(oid);
  uint32_t bucket = shm::FirstBucket(oid, region.bucket_count);
  for (int look = 0; look < 2; ++look) {
    for (const Slot& slot : region.buckets[bucket].entries) {
      const shm::Entry seen = slot.load(std::memory_order_relaxed);
      if (shm::TagOf(seen) != tag || !region.InBounds(seen)) continue;
      __builtin_prefetch(region.RecordAt(seen));
      return {&slot, seen};
    }
    bucket = shm::OtherBucket(bucket, tag, region.bucket_count);
  }
  return {};
}

void LocalReader::State::CopyGroup(std::span<const LocalRequest> requests,
                                   std::span<LocalOutcome> outcomes) const {
  std::array<Candidate, kGroup> candidates;
  std::array<shm::Entry, kGroup> read;
  size_t reads = 0;
  const size_t n = requests.size();
  for (size_t i = 0; i < n; ++i) PrefetchBuckets(requests[i].oid);
  for (size_t i = 0; i < n; ++i) candidates[i] = Locate(requests[i].oid);
  auto prefetch_payload = [&](size_t i) {
    if (i < n) PrefetchPayload(candidates[i], requests[i].into.size());
  };
  for (size_t i = 0; i < kAhead; ++i) prefetch_payload(i);
  const uint32_t lane = LaneOfThisThread();
  for (size_t i = 0; i < n; ++i) {
    prefetch_payload(i + kAhead);
    const LocalRequest& request = requests[i];
    const Candidate& c = candidates[i];
    const bool pinned = c.slot != nullptr && PinRecord(*c.slot, c.seen, request, lane);
    const shm::Entry entry = pinned ? c.seen : Search(request, lane);
    outcomes[i] = {};
    if (entry == 0) continue;
    outcomes[i] = CopyOut(request, region.RecordAt(entry));
    Unpin(lane, shm::SegmentOf(entry));
    if (outcomes[i].code == Code::kOk) read[reads++] = entry;
  }
  for (size_t i = 0; i < reads; ++i) Mark(read[i]);
}

uint32_t LocalReader::State::Grant() {
  const uint32_t mine = session.header->session;
  uint32_t slot = grant_slot.load(std::memory_order_relaxed);
  if (region.grants[slot].session.load(std::memory_order_acquire) != mine) {
    for (slot = 0; slot < shm::kMaxSessions; ++slot) {
      if (region.grants[slot].session.load(std::memory_order_acquire) == mine) break;
    }
    if (slot == shm::kMaxSessions) return 0;
    grant_slot.store(slot, std::memory_order_relaxed);
  }
  return region.grants[slot].view_segments.load(std::memory_order_relaxed);
}

bool LocalReader::State::TakeGrant(uint32_t segment) {
  if (views_of[segment].fetch_add(1, std::memory_order_relaxed) != 0) return true;
  if (viewed.fetch_add(1, std::memory_order_relaxed) < Grant()) return true;
  GiveBack(segment);
  return false;
}

void FormatSession(ByteSpan session, uint32_t number, uint32_t segments, Incarnation incarnation,
                   uint32_t pid) {
  HF_CHECK(session.size() == shm::SessionBytes(segments) && number != 0);
  // Memory from the heap has been something else before, and what is not zero here pins segments
  // for ever.
  std::memset(session.data(), 0, session.size());
  auto* header = reinterpret_cast<shm::SessionHeader*>(session.data());
  header->layout_version = shm::kLayoutVersion;
  header->session = number;
  header->incarnation = incarnation;
  header->segments = segments;
  header->pid = pid;
  header->magic = shm::kSessionMagic;
}

Result<std::unique_ptr<LocalReader>> LocalReader::Open(ByteView region, ByteSpan session,
                                                       const std::atomic<uint32_t>* forks,
                                                       std::function<WallTime()> wall) {
  std::unique_ptr<LocalReader> reader(new LocalReader());
  reader->state_ = std::make_unique<State>();
  State& state = *reader->state_;
  Result<shm::RegionView> region_view = shm::ViewRegion(region);
  if (!region_view.ok()) return region_view.status();
  state.region = *region_view;
  Result<shm::SessionView> session_view = shm::ViewSession(session, state.region.segments);
  if (!session_view.ok()) return session_view.status();
  state.session = *session_view;
  state.views_of = std::make_unique<std::atomic<uint32_t>[]>(state.region.segments);
  state.wall = wall ? std::move(wall) : [] { return WallTime(); };
  state.forks = forks;
  state.forks_at_open = forks != nullptr ? forks->load(std::memory_order_relaxed) : 0;
  return reader;
}

LocalReader::~LocalReader() = default;

Incarnation LocalReader::incarnation() const {
  return __atomic_load_n(&state_->region.header->incarnation, __ATOMIC_ACQUIRE);
}

LocalOutcome LocalReader::Copy(const LocalRequest& request) {
  const State& state = *state_;
  if (state.InChild()) return {};
  const uint32_t lane = LaneOfThisThread();
  const shm::Entry entry = state.Find(request, lane);
  if (entry == 0) return {};
  const LocalOutcome outcome = state.CopyOut(request, state.region.RecordAt(entry));
  state.Unpin(lane, shm::SegmentOf(entry));
  if (outcome.code == Code::kOk) state.Mark(entry);  // a look at its size is no read
  return outcome;
}

void LocalReader::CopyMany(std::span<const LocalRequest> requests,
                           std::span<LocalOutcome> outcomes) {
  HF_CHECK(outcomes.size() >= requests.size());
  if (state_->InChild()) {
    std::fill_n(outcomes.begin(), requests.size(), LocalOutcome());
    return;
  }
  for (size_t base = 0; base < requests.size(); base += kGroup) {
    const size_t n = std::min(kGroup, requests.size() - base);
    state_->CopyGroup(requests.subspan(base, n), outcomes.subspan(base, n));
  }
}

void LocalReader::Prefetch(std::span<const Oid> oids, size_t payload_bytes) const {
  std::array<State::Candidate, kGroup> candidates;
  for (; !oids.empty(); oids = oids.subspan(std::min(kGroup, oids.size()))) {
    const size_t n = std::min(kGroup, oids.size());
    for (size_t i = 0; i < n; ++i) state_->PrefetchBuckets(oids[i]);
    for (size_t i = 0; i < n; ++i) candidates[i] = state_->Locate(oids[i]);
    for (size_t i = 0; i < n; ++i) state_->PrefetchPayload(candidates[i], payload_bytes);
  }
}

LocalView LocalReader::Pin(const Oid& oid, VersionHash version) {
  LocalView view;
  if (state_->InChild()) return view;
  const uint32_t lane = LaneOfThisThread();
  const shm::Entry entry = state_->Find({oid, version, {}}, lane);
  if (entry == 0) return view;
  view.header_ = state_->region.RecordAt(entry);
  view.reader_ = this;
  view.segment_ = shm::SegmentOf(entry);
  view.lane_ = lane;
  return view;
}

void LocalReader::MarkRead(const LocalView& view) const {
  if (state_->InChild()) return;
  const RecordHeader* segment = state_->region.RecordAt(shm::MakeEntry(0, view.segment_, 0));
  const auto records = static_cast<uint64_t>(view.header_ - segment);
  state_->Mark(shm::MakeEntry(0, view.segment_, records * sizeof(RecordHeader)));
}

LocalView LocalReader::View(const Oid& oid, VersionHash version, bool* over_grant) {
  *over_grant = false;
  LocalView view = Pin(oid, version);
  if (!view) return view;
  if (state_->TakeGrant(view.segment_)) {
    view.granted_ = true;
    MarkRead(view);
  } else {
    *over_grant = true;
    view.Release();
  }
  return view;
}

LocalView::LocalView(LocalView&& o) noexcept
    : header_(std::exchange(o.header_, nullptr)),
      reader_(o.reader_),
      segment_(o.segment_),
      lane_(o.lane_),
      granted_(o.granted_) {}

LocalView& LocalView::operator=(LocalView&& o) noexcept {
  if (this == &o) return *this;
  Release();
  header_ = std::exchange(o.header_, nullptr);
  reader_ = o.reader_;
  segment_ = o.segment_;
  lane_ = o.lane_;
  granted_ = o.granted_;
  return *this;
}

void LocalView::Release() {
  if (std::exchange(header_, nullptr) == nullptr) return;
  LocalReader::State& state = *reader_->state_;
  if (state.InChild()) return;
  state.Unpin(lane_, segment_);
  if (granted_) state.GiveBack(segment_);
}

ByteView LocalView::payload() const { return {PayloadOf(header_), header_->size}; }

std::string_view LocalView::name() const {
  return {reinterpret_cast<const char*>(PayloadOf(header_)) + header_->size, header_->name_bytes};
}

std::string_view LocalView::etag() const {
  return {name().data() + header_->name_bytes, header_->etag_bytes};
}

uint64_t LocalView::payload_file_offset() const {
  const auto* region = reinterpret_cast<const std::byte*>(reader_->state_->region.header);
  return static_cast<uint64_t>(PayloadOf(header_) - region);
}

}  // namespace holdfast
