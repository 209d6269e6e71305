// SPDX-License-Identifier: Apache-2.0
#include "base/ranged_store.h"

#include <algorithm>
#include <utility>

#include "base/uri.h"

namespace holdfast {
namespace {

Status PastTheEnd(std::string_view name, uint64_t size) {
  return Status::Invalid(std::string(name) + ": the object has " + std::to_string(size) +
                         " bytes, and a range lies within them");
}

// Of the range's bytes [offset, offset + length) what is asked of the whole. Its `etag` is the range's
// still.
Result<FarGet> PartOf(const RangeName& name, const FarGet& get) {
  const ByteRange& range = name.range;
  if (get.pieces != nullptr) return Status::Invalid(get.uri + ": a range has no pieces");
  if (get.whole && get.length != range.length) {
    return Status::Changed(get.uri + ": has " + std::to_string(range.length) + " bytes, " +
                           std::to_string(get.length) + " were planned; list it again");
  }
  if (get.offset >= range.length || get.length == 0) {
    return Status::Invalid(get.uri + ": a range of it must have at least one byte");
  }
  FarGet part;
  part.uri = name.whole;
  part.etag = get.etag;
  part.offset = range.offset + get.offset;
  part.whole = false;
  part.deadline = get.deadline;
  const uint64_t left = range.length - get.offset;
  part.length = get.whole ? left : std::min(get.length, left);
  part.into = get.into.subspan(get.whole ? get.offset : 0, part.length);
  part.before = get.whole ? ByteView(get.into).first(get.offset) : get.before;
  return part;
}

}  // namespace

Result<FarInfo> InfoOfRange(std::string_view name, const FarInfo& whole) {
  const std::optional<RangeName> range = ParseRangeName(name);
  HF_CHECK(range.has_value());
  if (range->range.end() > whole.size) return PastTheEnd(name, whole.size);
  return FarInfo{range->range.length, EtagOfRange(whole.etag, whole.size), whole.requests,
                 whole.expires_s};
}

void RangedStore::Get(FarGet get, GetDone done) {
  const std::optional<RangeName> name = ParseRangeName(get.uri);
  if (!name) return real_->Get(std::move(get), std::move(done));
  Result<FarGet> part = PartOf(*name, get);
  const std::optional<WholeVersion> version = ParseRangeEtag(get.etag);
  if (part.ok() && !get.etag.empty() && !version) {
    part = Status::Invalid(get.uri +
                           ": the ETag of a range is that of the whole, '#' and its size; \"" +
                           get.etag + "\" is not");
  }
  if (part.ok() && version && name->range.end() > version->size) {
    part = PastTheEnd(get.uri, version->size);
  }
  if (!part.ok()) {
    return clock_->At(clock_->Now(),
                      [done = std::move(done), why = part.status()] { done(why, {}, 0); });
  }
  // Packs tell the version without a request, and serve no part of whichever there is.
  const bool packed = get.etag.empty() && real_->HasPlaces() && real_->PlaceOf(OidOf(name->whole));
  if (packed) return GetPacked(*std::move(part), get.uri, name->range, std::move(done));
  GetPart(*std::move(part), get.uri, name->range, std::move(done));
}

void RangedStore::GetPacked(FarGet part, std::string name, ByteRange range, GetDone done) {
  const std::string whole = part.uri;
  const Time deadline = part.deadline;
  real_->Head(whole, deadline,
              [this, part = std::move(part), name = std::move(name), range,
               done = std::move(done)](const Result<FarInfo>& info) mutable {
                if (!info.ok()) return done(info.status(), {}, 0);
                if (range.end() > info->size) return done(PastTheEnd(name, info->size), {}, 0);
                part.etag = EtagOfRange(info->etag, info->size);
                GetPart(std::move(part), std::move(name), range, std::move(done));
              });
}

void RangedStore::GetPart(FarGet part, std::string name, ByteRange range, GetDone done) {
  const std::optional<WholeVersion> version = ParseRangeEtag(part.etag);
  const uint64_t planned = version ? version->size : 0;
  if (version) part.etag = std::string(version->etag);
  const std::string whole = part.uri;
  const Time deadline = part.deadline;
  real_->Get(std::move(part), [this, whole, deadline, name = std::move(name), range, planned,
                               done = std::move(done)](Status status, FarInfo info, uint64_t hash) {
    if (status.code() == Code::kChanged && planned == 0) {
      return AskSize(whole, deadline, name, range, std::move(status), done);
    }
    if (!status.ok()) return done(std::move(status), {}, 0);
    if (planned != 0 && info.size != planned) {
      return done(Status::Changed(whole + ": has " + std::to_string(info.size) + " bytes now, " +
                                  std::to_string(planned) + " were planned; list it again"),
                  {}, 0);
    }
    Result<FarInfo> of_range = InfoOfRange(name, info);
    if (!of_range.ok()) return done(of_range.status(), {}, 0);
    done({}, *std::move(of_range), hash);
  });
}

// A store says the same of what has changed under its hands and of what never was so long: what has no
// version yet cannot have changed.
void RangedStore::AskSize(std::string whole, Time deadline, std::string name, ByteRange range,
                          Status why, GetDone done) {
  real_->Head(whole, deadline,
              [name = std::move(name), range, why = std::move(why),
               done = std::move(done)](const Result<FarInfo>& info) {
                const bool past = info.ok() && range.end() > info->size;
                done(past ? PastTheEnd(name, info->size) : why, {}, 0);
              });
}

void RangedStore::Head(const std::string& uri, Time deadline,
                       std::function<void(Result<FarInfo>)> done) {
  const std::optional<RangeName> name = ParseRangeName(uri);
  if (!name) return real_->Head(uri, deadline, std::move(done));
  real_->Head(std::string(name->whole), deadline,
              [uri, done = std::move(done)](Result<FarInfo> info) {
                done(info.ok() ? InfoOfRange(uri, *info) : info.status());
              });
}

}  // namespace holdfast
