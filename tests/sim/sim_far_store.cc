// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_far_store.h"

#include <algorithm>
#include <memory>

#include "base/hash.h"
#include "base/range_name.h"

namespace holdfast::sim {
namespace {

constexpr Duration kFirstByte = 30ms;
constexpr uint64_t kBytesPerUs = 50;
// A far store that says nothing is given up then, whatever the deadline is.
constexpr Duration kStall = 60s;

void FillWithGarbage(ByteSpan into, Random* random) {
  uint64_t word = random->Next();
  for (std::byte& b : into) b = static_cast<std::byte>(word = word * 5 + 1);
}

// How many bytes in `into` are there before those that are asked for.
uint64_t BytesBefore(const FarGet& get) { return get.whole ? get.offset : 0; }

}  // namespace

SimFarStore::SimFarStore(World* world, FarWorld* far, ProcessId process, const SimClock* clock)
    : world_(world),
      far_(far),
      process_(process),
      clock_(clock),
      random_(world->Stream("far " + world->NameOf(process))) {}

bool SimFarStore::FailedWith(const std::string& uri, Code code) const {
  auto it = errors_.find(uri);
  return it != errors_.end() && it->second.contains(code);
}

SimFarStore::Plan SimFarStore::PlanGet(const FarGet& get) {
  Faults& faults = world_->faults();
  Plan plan;
  plan.delay = kFirstByte / 2 + Duration(static_cast<int64_t>(random_.Exponential(15'000))) +
               Duration((get.length - BytesBefore(get)) / kBytesPerUs);
  if (faults.Fires(Fault::kFarSlow)) plan.delay += Duration(1'000'000 + random_.Below(5'000'000));
  Duration retries = Duration(500'000 + random_.Below(3'000'000));
  if (world_->now() < far_->outage_until) {
    plan = {retries, Code::kUnavailable, "503 SlowDown after 4 tries"};
  } else if (faults.Fires(Fault::kFarUnavailable)) {
    plan = {plan.delay + retries, Code::kUnavailable, "503 SlowDown after 4 tries"};
    counters_.retries += 3;
  } else if (faults.Fires(Fault::kFarTruncated)) {
    plan = {plan.delay + retries, Code::kUnavailable, "the answer was cut short after 4 tries"};
    counters_.retries += 3;
  } else if (faults.Fires(Fault::kFarWrongRange)) {
    plan = {plan.delay, Code::kCorrupt, "Content-Range is not what was asked for"};
  } else if (faults.Fires(Fault::kFarHang)) {
    plan = {kStall, Code::kUnavailable, "no byte came for " + FormatDuration(kStall)};
  }
  return plan;
}

Status SimFarStore::Answer(const FarGet& get, const Plan& plan, FarInfo* info) {
  Faults& faults = world_->faults();
  if (plan.code != Code::kOk) return {plan.code, plan.text};
  const FarObject* object = far_->Find(get.uri);
  if (object == nullptr) return Status::NotFound(get.uri);
  if (object->missing) {
    faults.Count(Fault::kFarMissing);
    return Status::NotFound(get.uri + " does not exist");
  }
  if (world_->now() >= object->ends_at) {
    faults.Count(Fault::kFarExpires);
    return Status::NotFound(get.uri + " has expired");
  }
  if (object->denied) {
    faults.Count(Fault::kFarDenied);
    return Status::Denied(get.uri + " is not for us");
  }
  *info = far_->InfoAt(*object, world_->now());
  bool other_version = !get.etag.empty() && get.etag != info->etag;
  if (other_version || (get.whole && info->size != get.length)) {
    if (info->etag != object->etag) faults.Count(Fault::kFarChanged);
    return Status::Changed(get.uri + " is another version now");
  }
  if (get.offset > 0 && get.offset >= info->size)
    return Status::Invalid(get.uri + ": range beyond its end");
  VersionHash version = HashVersion(info->etag, info->size);
  const uint64_t fetched = std::min(get.length, info->size - get.offset);
  FarWorld::Fill(get.uri, version, get.offset, get.into.subspan(BytesBefore(get), fetched));
  Count(get, *object, *info);
  counters_.bytes += fetched;
  return {};
}

// Who has begun with an object also reads the rest of it. A first part that begins where a range does
// may be of either.
void SimFarStore::Count(const FarGet& get, const FarObject& object, const FarInfo& info) {
  const bool first_part = !get.whole && get.etag.empty();
  bool of_range = false;
  for (const FarObject* range : far_->RangesAt(object, get.offset)) {
    if (get.whole || !(first_part || get.length == range->size)) continue;
    of_range = true;
    const VersionHash version = HashVersion(EtagOfRange(info.etag, info.size), range->size);
    far_->CountGet({range->oid, version}, process_, world_->now());
  }
  if (get.offset > 0 || (of_range && !first_part)) return;
  far_->CountGet({object.oid, HashVersion(info.etag, info.size)}, process_, world_->now());
}

void SimFarStore::Get(FarGet get, std::function<void(Status, FarInfo, uint64_t)> done) {
  HF_CHECK(get.into.size() >= get.length);
  ++counters_.gets;
  ++far_->requests;
  ++in_flight_;
  FillWithGarbage(get.into.first(get.length).subspan(BytesBefore(get)), &random_);
  if (get.deadline >= Time::Max())
    world_->Violate("flows-end", "a far GET without a deadline: " + get.uri);
  Plan plan = PlanGet(get);
  Time ends = world_->now() + plan.delay;
  if (Time last = clock_->WorldAt(get.deadline); last < ends) {
    ends = last;
    plan = {{}, Code::kTimeout, "deadline passed"};
  }
  auto finish = [this, get = std::move(get), plan = std::move(plan), done = std::move(done)] {
    FarInfo info;
    Status status = Answer(get, plan, &info);
    --in_flight_;
    uint64_t bytes = get.whole ? get.length : std::min(get.length, info.size - get.offset);
    Hasher64 hasher;
    if (status.ok()) hasher.Update(get.before);
    if (status.ok()) hasher.Update(get.into.first(bytes));
    uint64_t hash = status.ok() ? hasher.Digest() : 0;
    if (!status.ok()) {
      ++counters_.errors;
      errors_[get.uri].insert(status.code());
    }
    world_->Note("far get",
                 {process_, Hash64(AsBytes(get.uri)), static_cast<uint64_t>(status.code()), hash});
    done(std::move(status), std::move(info), hash);
  };
  world_->At(ends, process_, std::move(finish));
}

Result<FarInfo> SimFarStore::InfoOf(const std::string& uri) const {
  if (world_->now() < far_->outage_until) return Status::Unavailable("503 SlowDown after 4 tries");
  const FarObject* object = far_->Find(uri);
  if (object == nullptr || object->missing || world_->now() >= object->ends_at)
    return Status::NotFound(uri + " does not exist");
  if (object->denied) return Status::Denied(uri + " is not for us");
  return far_->InfoAt(*object, world_->now());
}

void SimFarStore::Head(const std::string& uri, Time deadline,
                       std::function<void(Result<FarInfo>)> done) {
  ++counters_.heads;
  ++far_->requests;
  Time ends = std::min(world_->now() + kFirstByte, clock_->WorldAt(deadline));
  world_->At(ends, process_, [this, uri, done = std::move(done)] {
    Result<FarInfo> info = InfoOf(uri);
    if (!info.ok()) errors_[uri].insert(info.status().code());
    done(std::move(info));
  });
}

void SimFarStore::List(const std::string& prefix, const std::string&, bool, Time,
                       std::function<void(Result<FarPage>)> done) {
  ++counters_.lists;
  ++far_->requests;
  world_->After(kFirstByte, process_, [this, prefix, done = std::move(done)] {
    FarPage page;
    for (size_t i = 0; i < far_->size() && page.entries.size() < 1000; ++i) {
      const FarObject& object = far_->object(static_cast<uint32_t>(i));
      if (object.uri.starts_with(prefix))
        page.entries.push_back({object.uri, far_->InfoAt(object, world_->now())});
    }
    done(std::move(page));
  });
}

}  // namespace holdfast::sim
