// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/single_read.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/range_name.h"
#include "base/uri.h"
#include "jobclient/chunks.h"

namespace holdfast::client {
namespace {

// Nothing is asked of such a node until it greets again.
bool Silent(const BulkOutcome& outcome) {
  const Code code = outcome.status.code();
  return !outcome.answered && (code == Code::kUnavailable || code == Code::kTimeout);
}

}  // namespace

void SingleRead::Start(const World& world, std::vector<Wanted> group, Time deadline) {
  world.cluster->WhenGreeted([world, group = std::move(group), deadline]() mutable {
    world.whereabouts->WhenReady(
        [world, group = std::move(group), deadline] { StartNow(world, group, deadline); });
  });
}

void SingleRead::StartNow(const World& world, const std::vector<Wanted>& group, Time deadline) {
  std::vector<Oid> oids;
  for (const Wanted& wanted : group) oids.push_back(OidOf(wanted.uri));
  // For nobody who keeps chunks nothing is cut: one request does.
  const uint64_t promised = world.cluster->MostThatAllPromise();
  const uint64_t chunk = promised == 0 ? 0 : jobclient::ChunkBytes(world.chunk, promised);
  const std::vector<snapshot::Decision> decisions = world.whereabouts->Decide(oids);
  for (size_t i = 0; i < group.size(); ++i) {
    std::shared_ptr<SingleRead> read(
        new SingleRead(world, group[i], decisions[i], chunk, deadline));
    world.cluster->WhomToAsk(oids[i], [read](std::vector<NodeId> nodes) {
      read->nodes_ = std::move(nodes);
      read->Begin();
    });
  }
}

void SingleRead::Begin() {
  begun_ = env_.clock->Now();
  if (IsLarger()) return;
  const bool looks = decision_.way == snapshot::Way::kLook ||
                     decision_.way == snapshot::Way::kRace ||
                     decision_.way == snapshot::Way::kExplore;
  // The home is asked on the way far, too.
  const bool elsewhere = nodes_.empty() || decision_.node != nodes_.front();
  if (!looks || !elsewhere || cluster_->BulkEndpoint(decision_.node) == nullptr) return AskNext();
  racing_ = decision_.way == snapshot::Way::kRace;
  if (racing_) {
    AskNext();  // first: should there be no room for a look, it is under way already
    if (finished_) return;
  }
  Look();
}

// True when that is known already, and so the end of it. Of a range only the version is missing.
bool SingleRead::IsLarger() {
  const std::optional<RangeName> range = ParseRangeName(uri_);
  const uint64_t size = wanted_ ? wanted_->size : range ? range->range.length : 0;
  if (size <= chunk_) return false;
  if (wanted_) {
    FinishLarger(*wanted_);
    return true;
  }
  env_.far->Head(uri_, deadline_, [read = shared_from_this()](Result<FarInfo> info) {
    if (!info.ok()) return read->FailFar(info.status());
    read->FinishLarger(*std::move(info));
  });
  return true;
}

void SingleRead::FinishLarger(FarInfo version) {
  if (std::exchange(finished_, true)) return;
  done_(Found{.larger = std::move(version), .chunk = chunk_});
}

// --- 1. Look -------------------------------------------------------------------------------------

void SingleRead::Look() {
  if (!look_buffer_.TryResize(FirstSize())) return LookFailed();
  LookBy(begun_ + kLookDeadline + std::chrono::microseconds(FirstSize() / kLeastBytesPerUs));
}

void SingleRead::LookBy(Time deadline) {
  Read(decision_.node, BulkMode::kLook, std::min(deadline_, deadline), look_buffer_.span(),
       [read = shared_from_this()](BulkOutcome outcome) { read->LookedAt(std::move(outcome)); });
}

void SingleRead::LookedAt(BulkOutcome outcome) {
  const Code code = outcome.status.code();
  const bool larger = code == Code::kNoSpace && outcome.size > look_buffer_.size();
  if (larger && !finished_ && cluster_->BulkEndpoint(decision_.node) != nullptr &&
      look_buffer_.TryResize(outcome.size)) {
    return LookBy(deadline_);  // it is there, and takes its time
  }
  // Only what the node says tells whether it is there; silence costs time. Also when the way far was
  // faster: the looks that take long are looks, too.
  whereabouts_->Looked(OidOf(uri_), decision_,
                       outcome.status.ok() || larger ? Whereabouts::Seen::kThere
                       : code == Code::kNotFound     ? Whereabouts::Seen::kGone
                                                     : Whereabouts::Seen::kNothing,
                       env_.clock->Now() - begun_);
  if (Silent(outcome)) cluster_->Failed(decision_.node);
  if (finished_) return;
  if (outcome.status.ok()) {
    return Finish(std::move(look_buffer_), outcome.size, ObjectSource::kPeer);
  }
  LookFailed();
}

void SingleRead::LookFailed() {
  look_buffer_ = Buffer();
  if (std::exchange(racing_, false)) {
    if (far_failed_) FailFar(*std::move(far_failed_));
    return;
  }
  begun_ = env_.clock->Now();
  AskNext();
}

// If its size is not known: most objects fit into the first guess, and the answer for others says
// what they take.
uint64_t SingleRead::FirstSize() const { return wanted_ ? wanted_->size : kFirstGuess; }

void SingleRead::Read(NodeId node, BulkMode mode, Time deadline, ByteSpan into,
                      std::function<void(BulkOutcome)> landed) {
  BulkItem item;
  item.oid = OidOf(uri_);
  item.name = uri_;
  item.into = into;
  item.size = said_size_;
  if (wanted_) {
    item.version = HashVersion(wanted_->etag, wanted_->size);
    item.size = wanted_->size;
    item.etag = wanted_->etag;
  }
  std::vector<BulkItem> items;
  items.push_back(std::move(item));
  env_.network->BulkRead(
      *cluster_->BulkEndpoint(node), mode, std::move(items), deadline,
      [landed = std::move(landed)](size_t, BulkOutcome outcome) { landed(std::move(outcome)); });
}

// --- 2. Ask --------------------------------------------------------------------------------------

void SingleRead::AskNext() {
  if (finished_) return;
  while (next_ < nodes_.size() && cluster_->BulkEndpoint(nodes_[next_]) == nullptr) ++next_;
  if (next_ >= nodes_.size()) return wanted_ ? Get(*wanted_, {}) : GetFirst();
  if (buffer_.empty() && !MakeRoom(FirstSize())) return;
  const NodeId node = nodes_[next_];
  // Half of the time that is left: a node that hangs leaves enough for the next one and the far store.
  const Time now = env_.clock->Now();
  Read(node, BulkMode::kFetch, now + (deadline_ - now) / 2, buffer_.span(),
       [read = shared_from_this(), node](BulkOutcome outcome) {
         read->Landed(node, std::move(outcome));
       });
}

// False when that was the end of it: sizes come from others, and may be anything.
bool SingleRead::MakeRoom(uint64_t size) {
  if (buffer_.TryResize(size)) return true;
  FailFar(Status::NoSpace(uri_ + ": its " + FormatBytes(size) +
                          " do not fit into this process's memory"));
  return false;
}

void SingleRead::Landed(NodeId node, BulkOutcome outcome) {
  if (outcome.status.ok()) {
    whereabouts_->WentFar(OidOf(uri_), node, env_.clock->Now() - begun_, outcome.size);
    return Finish(std::move(buffer_), outcome.size,
                  outcome.own_disk ? ObjectSource::kOwnDisk : ObjectSource::kThroughHome);
  }
  const Code code = outcome.status.code();
  if (code == Code::kNoSpace && outcome.size > buffer_.size()) {
    said_size_ = outcome.size;
    if (MakeRoom(outcome.size)) AskNext();
    return;
  }
  if (Silent(outcome)) cluster_->Failed(node);
  ++next_;
  AskNext();
}

void SingleRead::Finish(Buffer bytes, uint64_t size, ObjectSource source) {
  if (std::exchange(finished_, true)) return;  // the other one of a race was faster
  if (size < bytes.size()) bytes = Buffer::CopyOf(bytes.view().first(static_cast<size_t>(size)));
  done_(Found{.bytes = std::move(bytes), .source = source});
}

void SingleRead::FailFar(Status status) {
  if (racing_) {
    far_failed_ = std::move(status);
  } else if (!std::exchange(finished_, true)) {
    done_(std::move(status));
  }
}

// --- 3. and 4. The far store ---------------------------------------------------------------------

void SingleRead::GetFirst() {
  if (buffer_.size() < kFirstGuess && !MakeRoom(kFirstGuess)) return;
  env_.far->Get({.uri = uri_,
                 .etag = {},
                 .offset = 0,
                 .length = buffer_.size(),
                 .whole = false,
                 .into = buffer_.span(),
                 .deadline = deadline_},
                [read = shared_from_this()](Status status, const FarInfo& info, uint64_t) {
                  if (!status.ok()) return read->FailFar(std::move(status));
                  if (info.size <= read->buffer_.size()) return read->CameFromFar(info.size);
                  const bool kept = read->cluster_->MostThatAllPromise() > 0;
                  if (kept && info.size > read->chunk_) return read->FinishLarger(info);
                  read->Get(info, std::exchange(read->buffer_, {}));
                });
}

void SingleRead::Get(const FarInfo& info, const Buffer& first) {
  if (finished_ || !MakeRoom(info.size)) return;
  if (!first.empty()) std::memcpy(buffer_.data(), first.data(), first.size());
  env_.far->Get({.uri = uri_,
                 .etag = info.etag,
                 .offset = first.size(),
                 .length = info.size,
                 .whole = true,
                 .into = buffer_.span(),
                 .deadline = deadline_},
                [read = shared_from_this()](Status status, const FarInfo& got, uint64_t) {
                  if (!status.ok()) return read->FailFar(std::move(status));
                  read->CameFromFar(got.size);
                });
}

void SingleRead::CameFromFar(uint64_t size) {
  whereabouts_->WentFar(OidOf(uri_), kNoNode, env_.clock->Now() - begun_, size);
  Finish(std::move(buffer_), size, ObjectSource::kFar);
}

}  // namespace holdfast::client
