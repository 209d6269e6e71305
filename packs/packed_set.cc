// SPDX-License-Identifier: Apache-2.0
#include "packs/packed_set.h"

#include <utility>

#include "base/uri.h"
#include "packs/pack_format.h"

namespace holdfast::packs {

Result<std::string> SetPrefix(std::string_view written, std::string_view s3_endpoint) {
  std::string text(written);
  if (!text.ends_with('/')) text += '/';
  return CanonicalPrefix(text, s3_endpoint);
}

Result<std::string> WritablePrefix(std::string_view written, std::string_view s3_endpoint) {
  Result<std::string> prefix = SetPrefix(written, s3_endpoint);
  if (prefix.ok() && prefix->starts_with("http")) {
    return Status::Invalid(std::string(written) +
                           ": a web server cannot be written to; use S3 or a directory");
  }
  return prefix;
}

PackedSet::PackedSet(Clock* clock, FarStore* far, Log* log, std::string prefix, uint64_t max_bytes)
    : clock_(clock),
      far_(far),
      log_(log),
      prefix_(std::move(prefix)),
      index_uri_(prefix_ + std::string(kIndexFileName)),
      max_bytes_(max_bytes) {}

std::string PackedSet::PackUri(const Oid& name) const { return prefix_ + PackFileName(name); }

bool PackedSet::Due() const { return wanted_ && !loading_ && clock_->Now() >= rest_until_; }

void PackedSet::Load(std::function<void()> done) {
  loading_ = true;
  far_->Head(index_uri_, clock_->Now() + kDeadline,
             [this, done = std::move(done)](const Result<FarInfo>& info) mutable {
               OnHead(info, std::move(done));
             });
}

void PackedSet::OnHead(const Result<FarInfo>& info, std::function<void()> done) {
  auto bytes = std::make_shared<Buffer>();
  Status status = info.status();
  // A frame that unpacks to more than it is long may be refused later; one that is longer than what
  // it may take need not be read.
  if (status.ok() && (info->size > max_bytes_ || !bytes->TryResize(info->size))) {
    status = Status::NoSpace("it has " + FormatBytes(info->size) + ", " + FormatBytes(max_bytes_) +
                             " may be used");
  }
  if (!status.ok()) {
    Failed(status);
    return done();
  }
  FarGet get;
  get.uri = index_uri_;
  get.etag = info->etag;
  get.length = info->size;
  get.into = bytes->span();
  get.deadline = clock_->Now() + kDeadline;
  far_->Get(std::move(get),
            [this, bytes, done = std::move(done)](const Status& got, const FarInfo&, uint64_t) {
              OnIndex(got, *bytes);
              done();
            });
}

void PackedSet::OnIndex(const Status& status, const Buffer& bytes) {
  if (!status.ok()) return Failed(status);
  Result<PackIndex> index = PackIndex::Decode(bytes.view(), max_bytes_);
  if (!index.ok()) return Failed(index.status());
  loading_ = wanted_ = false;
  rest_until_ = clock_->Now() + kRest;
  index_ = std::make_shared<const PackIndex>(*std::move(index));
  troubled_.clear();
  log_->Info("packs: " + FormatCount(index_->objects()) + " objects in " +
             FormatCount(index_->packs().size()) + " packs below " + prefix_);
}

void PackedSet::Failed(const Status& status) {
  loading_ = false;
  wanted_ = true;
  rest_until_ = clock_->Now() + kRest;
  const std::string instead = index_ == nullptr
                                  ? "objects are read from where they were packed from"
                                  : "the one that was loaded before is used";
  log_->Error("the index of packs " + index_uri_ + " is not used: " + status.message() + "; " +
              instead + "; pack again, or take it out of far.packed");
}

void PackedSet::Trouble(const Oid& pack, const Status& status, bool readable) {
  const Time until = clock_->Now() + kRest;
  if (!readable) {
    troubled_[pack] = until;
    wanted_ = true;  // the set may have been packed again
  }
  Time& logged = logged_[pack];
  if (clock_->Now() < logged) return;
  logged = until;
  log_->Warn("the pack " + PackUri(pack) + ": " + status.message() +
             "; objects are read from where they were packed from; pack again");
}

bool PackedSet::LeftAlone(const Oid& pack) const {
  const auto it = troubled_.find(pack);
  return it != troubled_.end() && clock_->Now() < it->second;
}

}  // namespace holdfast::packs
