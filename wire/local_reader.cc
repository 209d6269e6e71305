// SPDX-License-Identifier: Apache-2.0
#include "wire/local_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

namespace holdfast {
namespace {

using shm::kBucketEntries;
using Slot = std::atomic<shm::Entry>;

// An entry that changes under the reader's eyes so many times in a row is as good as gone.
constexpr int kMaxRestarts = 64;
constexpr size_t kGroup = 64;
// How many records before its turn the payload of a record is fetched, and how much of it: more would push the lines of
// the records in between out of the first-level cache.
constexpr size_t kAhead = 8;
constexpr size_t kPrefetchBytes = 1 * kKiB;

uint32_t LaneOfThisThread() {
  static std::atomic<uint32_t> next{0};
  thread_local const uint32_t lane = next.fetch_add(1, std::memory_order_relaxed) % shm::kPinLanes;
  return lane;
}

const std::byte* PayloadOf(const shm::RecordHeader* header) {
  return reinterpret_cast<const std::byte*>(header) + shm::kRecordAlign;
}

void Prefetch(const std::byte* bytes, size_t size) {
  for (size_t at = 0; at < size; at += 64) __builtin_prefetch(bytes + at);
}

}  // namespace

struct LocalReader::State {
  const std::byte* region = nullptr;
  const shm::RegionHeader* header = nullptr;
  const shm::Bucket* buckets = nullptr;
  const shm::SessionGrant* grants = nullptr;
  const std::byte* segments_begin = nullptr;
  uint64_t segment_bytes = 0;
  uint32_t bucket_count = 0;
  uint32_t segments = 0;

  shm::SessionHeader* session = nullptr;
  std::atomic<uint32_t>* pins = nullptr;
  std::atomic<shm::Mark>* marks = nullptr;
  const std::atomic<uint32_t>* forks = nullptr;
  uint32_t forks_at_open = 0;

  // Views by segment, and how many segments have any: what counts against the session's grant.
  std::unique_ptr<std::atomic<uint32_t>[]> views_of;
  std::atomic<uint32_t> viewed{0};
  std::atomic<uint32_t> grant_slot{0};

  Status SetRegion(ByteView memory);
  Status SetSession(ByteSpan memory);
  bool InChild() const {
    return forks != nullptr && forks->load(std::memory_order_relaxed) != forks_at_open;
  }
  std::atomic<uint32_t>& PinOf(uint32_t lane, uint32_t segment) const {
    return pins[size_t{lane} * segments + segment];
  }
  const shm::RecordHeader* RecordAt(shm::Entry e) const {
    return reinterpret_cast<const shm::RecordHeader*>(
        segments_begin + shm::SegmentOf(e) * segment_bytes + shm::OffsetOf(e));
  }
  // What an entry leads to lies inside the region, whatever the entry says.
  bool InBounds(shm::Entry e) const {
    return e != 0 && shm::SegmentOf(e) < segments &&
           shm::OffsetOf(e) + shm::kRecordAlign <= segment_bytes;
  }
  bool Matches(shm::Entry e, const Oid& oid, VersionHash version) const {
    const shm::RecordHeader* record = RecordAt(e);
    return record->oid == oid && (version == 0 || record->version == version) &&
           record->size <= segment_bytes - shm::OffsetOf(e) - shm::kRecordAlign;
  }
  // The first slot of a bucket with this tag, from place `from` on; nullptr at the end.
  const Slot* ScanBucket(uint32_t bucket, uint32_t tag, uint32_t from, shm::Entry* seen) const {
    const Slot* slots = buckets[bucket].entries;
    for (uint32_t i = from; i < kBucketEntries; ++i) {
      const shm::Entry e = slots[i].load(std::memory_order_relaxed);
      if (shm::TagOf(e) == tag && InBounds(e)) {
        *seen = e;
        return slots + i;
      }
    }
    return nullptr;
  }

  class Pinner;
  const shm::RecordHeader* Find(const Oid& oid, VersionHash version, Pinner* pinner,
                                shm::Entry* found) const;
  LocalOutcome CopyOut(const LocalRequest& request, const shm::RecordHeader* record) const;
  void CopyGroup(std::span<const LocalRequest> requests, std::span<LocalOutcome> outcomes) const;
  void WriteMarks(std::span<const shm::Entry> entries) const;

  uint32_t Grant();
  bool TakeGrant(uint32_t segment);
  void GiveBack(uint32_t segment) {
    if (views_of[segment].fetch_sub(1, std::memory_order_relaxed) == 1) {
      viewed.fetch_sub(1, std::memory_order_relaxed);
    }
  }
};

// The pin of one segment at a time, kept while the records that follow lie in the same one.
class LocalReader::State::Pinner {
 public:
  Pinner(const State& state, uint32_t lane) : state_(state), lane_(lane) {}
  ~Pinner() { Release(); }
  Pinner(const Pinner&) = delete;

  // Pins the segment of `seen`, which was loaded from `slot`. True: the slot still leads there, and what lies there
  // stays as it is until the pin goes (the rule of local reading).
  bool Pin(const Slot& slot, shm::Entry seen) {
    const uint32_t segment = shm::SegmentOf(seen);
    if (segment != segment_) {
      Release();
      state_.PinOf(lane_, segment).fetch_add(1, std::memory_order_seq_cst);
      segment_ = segment;
    }
    return slot.load(std::memory_order_seq_cst) == seen;
  }
  void Release() {
    if (segment_ == kNone) return;
    // Release: what was read comes before the daemon, which acquires the pin, writes there again.
    state_.PinOf(lane_, segment_).fetch_sub(1, std::memory_order_release);
    segment_ = kNone;
  }
  // The pin is somebody else's from now on.
  void Leave() { segment_ = kNone; }
  uint32_t segment() const { return segment_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  const State& state_;
  uint32_t lane_;
  uint32_t segment_ = kNone;
};

const shm::RecordHeader* LocalReader::State::Find(const Oid& oid, VersionHash version,
                                                  Pinner* pinner, shm::Entry* found) const {
  const uint32_t tag = shm::TagFor(oid);
  const uint32_t first = shm::FirstBucket(oid, bucket_count);
  const uint32_t second = shm::OtherBucket(first, tag, bucket_count);
  __builtin_prefetch(&buckets[second]);
  for (int restart = 0; restart < kMaxRestarts; ++restart) {
    bool changed = false;
    // The first one again: an entry may have been displaced from the second to it while we looked.
    for (uint32_t bucket : {first, second, first}) {
      shm::Entry seen = 0;
      const Slot* slots = buckets[bucket].entries;
      const Slot* slot = ScanBucket(bucket, tag, 0, &seen);
      for (; slot != nullptr && !changed;
           slot = ScanBucket(bucket, tag, static_cast<uint32_t>(slot - slots) + 1, &seen)) {
        Prefetch(reinterpret_cast<const std::byte*>(RecordAt(seen)), kPrefetchBytes);
        if (!pinner->Pin(*slot, seen)) {
          changed = true;
        } else if (Matches(seen, oid, version)) {
          *found = seen;
          return RecordAt(seen);
        }
      }
      if (changed) break;
    }
    if (!changed) return nullptr;
  }
  return nullptr;
}

LocalOutcome LocalReader::State::CopyOut(const LocalRequest& request,
                                         const shm::RecordHeader* record) const {
  LocalOutcome outcome{Code::kOk, record->version, record->size};
  if (request.into.size() < record->size) {
    outcome.code = Code::kNoSpace;
  } else if (record->size != 0) {
    std::memcpy(request.into.data(), PayloadOf(record), record->size);
  }
  return outcome;
}

void LocalReader::State::CopyGroup(std::span<const LocalRequest> requests,
                                   std::span<LocalOutcome> outcomes) const {
  struct Candidate {
    const Slot* slot;
    shm::Entry seen;
  };
  std::array<Candidate, kGroup> candidates;
  std::array<shm::Entry, kGroup> read;
  size_t reads = 0;
  const size_t n = requests.size();
  for (size_t i = 0; i < n; ++i) {
    const uint32_t first = shm::FirstBucket(requests[i].oid, bucket_count);
    __builtin_prefetch(&buckets[first]);
    __builtin_prefetch(
        &buckets[shm::OtherBucket(first, shm::TagFor(requests[i].oid), bucket_count)]);
  }
  for (size_t i = 0; i < n; ++i) {
    const uint32_t tag = shm::TagFor(requests[i].oid);
    const uint32_t first = shm::FirstBucket(requests[i].oid, bucket_count);
    Candidate& c = candidates[i];
    c.slot = ScanBucket(first, tag, 0, &c.seen);
    if (c.slot == nullptr) {
      c.slot = ScanBucket(shm::OtherBucket(first, tag, bucket_count), tag, 0, &c.seen);
    }
    if (c.slot != nullptr) __builtin_prefetch(RecordAt(c.seen));
  }
  auto prefetch_payload = [&](size_t i) {
    if (i >= n || candidates[i].slot == nullptr) return;
    Prefetch(PayloadOf(RecordAt(candidates[i].seen)),
             std::min(requests[i].into.size(), kPrefetchBytes));
  };
  for (size_t i = 0; i < kAhead; ++i) prefetch_payload(i);
  Pinner pinner(*this, LaneOfThisThread());
  for (size_t i = 0; i < n; ++i) {
    prefetch_payload(i + kAhead);
    const LocalRequest& request = requests[i];
    const Candidate& c = candidates[i];
    shm::Entry entry = c.seen;
    const shm::RecordHeader* record = nullptr;
    if (c.slot != nullptr && pinner.Pin(*c.slot, c.seen) &&
        Matches(c.seen, request.oid, request.version)) {
      record = RecordAt(c.seen);
    } else {
      record = Find(request.oid, request.version, &pinner, &entry);
    }
    if (record == nullptr) {
      outcomes[i] = {};
      continue;
    }
    outcomes[i] = CopyOut(request, record);
    read[reads++] = entry;
  }
  pinner.Release();
  WriteMarks({read.data(), reads});
}

// Without a lock: two threads may write the same slots, and one of their marks is lost.
void LocalReader::State::WriteMarks(std::span<const shm::Entry> entries) const {
  constexpr shm::Mark kMask = (shm::Mark{1} << (shm::kSegmentBits + shm::kOffsetBits)) - 1;
  uint64_t head = session->mark_head.load(std::memory_order_relaxed);
  for (shm::Entry e : entries) {
    marks[head++ % shm::kMarkSlots].store(e & kMask, std::memory_order_relaxed);
  }
  session->mark_head.store(head, std::memory_order_release);
}

uint32_t LocalReader::State::Grant() {
  const uint32_t mine = session->session;
  uint32_t slot = grant_slot.load(std::memory_order_relaxed);
  if (grants[slot].session.load(std::memory_order_acquire) != mine) {
    for (slot = 0; slot < shm::kMaxSessions; ++slot) {
      if (grants[slot].session.load(std::memory_order_acquire) == mine) break;
    }
    if (slot == shm::kMaxSessions) return 0;
    grant_slot.store(slot, std::memory_order_relaxed);
  }
  return grants[slot].view_segments.load(std::memory_order_relaxed);
}

bool LocalReader::State::TakeGrant(uint32_t segment) {
  if (views_of[segment].fetch_add(1, std::memory_order_relaxed) != 0) return true;
  if (viewed.fetch_add(1, std::memory_order_relaxed) < Grant()) return true;
  GiveBack(segment);
  return false;
}

Status LocalReader::State::SetRegion(ByteView memory) {
  if (memory.size() < sizeof(shm::RegionHeader)) {
    return Status(Code::kCorrupt, "the region is smaller than its header");
  }
  region = memory.data();
  header = reinterpret_cast<const shm::RegionHeader*>(region);
  if (header->magic != shm::kRegionMagic) return Status::Corrupt("this is no region of a node");
  if (header->layout_version != shm::kLayoutVersion) {
    return Status::Invalid("the node's region has layout version " +
                           std::to_string(header->layout_version) + ", this program knows " +
                           std::to_string(shm::kLayoutVersion) +
                           "; use the client of the node's version");
  }
  segments = header->segments;
  segment_bytes = header->segment_bytes;
  bucket_count = header->buckets;
  const uint64_t grant_offset = shm::GrantOffset(segments);
  const uint64_t grant_end = grant_offset + shm::kMaxSessions * sizeof(shm::SessionGrant);
  const bool fits =
      header->region_bytes == memory.size() && segments > 0 && segments <= UINT16_MAX &&
      bucket_count > 0 && segment_bytes <= 4 * kGiB && segment_bytes % shm::kRecordAlign == 0 &&
      header->bucket_offset % 64 == 0 && header->segment_offset % 64 == 0 &&
      header->bucket_offset >= grant_end && header->segment_offset <= memory.size() &&
      header->bucket_offset <= header->segment_offset &&
      bucket_count <= (header->segment_offset - header->bucket_offset) / sizeof(shm::Bucket) &&
      segments * segment_bytes <= memory.size() - header->segment_offset;
  if (!fits) return Status::Corrupt("the region's header disagrees with its size");
  grants = reinterpret_cast<const shm::SessionGrant*>(region + grant_offset);
  buckets = reinterpret_cast<const shm::Bucket*>(region + header->bucket_offset);
  segments_begin = region + header->segment_offset;
  return {};
}

Status LocalReader::State::SetSession(ByteSpan memory) {
  if (memory.size() < sizeof(shm::SessionHeader)) {
    return Status::Corrupt("the session is smaller than its header");
  }
  session = reinterpret_cast<shm::SessionHeader*>(memory.data());
  if (session->magic != shm::kSessionMagic) return Status::Corrupt("this is no session of a node");
  if (session->layout_version != shm::kLayoutVersion) {
    return Status::Invalid("the session has layout version " +
                           std::to_string(session->layout_version) + ", this program knows " +
                           std::to_string(shm::kLayoutVersion));
  }
  if (session->segments != segments || memory.size() != shm::SessionBytes(segments)) {
    return Status::Corrupt("the session belongs to another region");
  }
  pins = reinterpret_cast<std::atomic<uint32_t>*>(memory.data() + shm::PinsOffset());
  marks = reinterpret_cast<std::atomic<shm::Mark>*>(memory.data() + shm::MarksOffset(segments));
  views_of = std::make_unique<std::atomic<uint32_t>[]>(segments);
  return {};
}

void FormatSession(ByteSpan session, uint32_t number, uint32_t segments, Incarnation incarnation,
                   uint32_t pid) {
  HF_CHECK(session.size() == shm::SessionBytes(segments) && number != 0);
  // Memory from the heap has been something else before, and what is not zero here pins segments for ever.
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
                                                       const std::atomic<uint32_t>* forks) {
  std::unique_ptr<LocalReader> reader(new LocalReader());
  reader->state_ = std::make_unique<State>();
  HF_RETURN_IF_ERROR(reader->state_->SetRegion(region));
  HF_RETURN_IF_ERROR(reader->state_->SetSession(session));
  reader->state_->forks = forks;
  reader->state_->forks_at_open = forks != nullptr ? forks->load(std::memory_order_relaxed) : 0;
  return reader;
}

LocalReader::~LocalReader() = default;

Incarnation LocalReader::incarnation() const {
  return __atomic_load_n(&state_->header->incarnation, __ATOMIC_ACQUIRE);
}

LocalOutcome LocalReader::Copy(const LocalRequest& request) {
  if (state_->InChild()) return {};
  State::Pinner pinner(*state_, LaneOfThisThread());
  shm::Entry entry = 0;
  const shm::RecordHeader* record = state_->Find(request.oid, request.version, &pinner, &entry);
  if (record == nullptr) return {};
  const LocalOutcome outcome = state_->CopyOut(request, record);
  pinner.Release();
  state_->WriteMarks({&entry, 1});
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

LocalView LocalReader::Pin(const Oid& oid, VersionHash version) {
  LocalView view;
  if (state_->InChild()) return view;
  const uint32_t lane = LaneOfThisThread();
  State::Pinner pinner(*state_, lane);
  shm::Entry entry = 0;
  const shm::RecordHeader* record = state_->Find(oid, version, &pinner, &entry);
  if (record == nullptr) return view;
  view.header_ = record;
  view.reader_ = this;
  view.segment_ = pinner.segment();
  view.lane_ = lane;
  pinner.Leave();
  state_->WriteMarks({&entry, 1});
  return view;
}

LocalView LocalReader::View(const Oid& oid, VersionHash version, bool* over_grant) {
  *over_grant = false;
  LocalView view = Pin(oid, version);
  if (!view) return view;
  if (state_->TakeGrant(view.segment_)) {
    view.granted_ = true;
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
  state.PinOf(lane_, segment_).fetch_sub(1, std::memory_order_release);
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
  return static_cast<uint64_t>(PayloadOf(header_) - reader_->state_->region);
}

}  // namespace holdfast
