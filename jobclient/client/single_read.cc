// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/single_read.h"

#include <utility>

#include "base/hash.h"
#include "base/uri.h"

namespace holdfast::client {

void SingleRead::Start(const Env& env, ClusterView* cluster, std::string uri,
                       std::optional<FarInfo> wanted, Time deadline, Done done) {
  const Oid oid = OidOf(uri);
  std::shared_ptr<SingleRead> read(
      new SingleRead(env, cluster, std::move(uri), std::move(wanted), deadline, std::move(done)));
  cluster->WhomToAsk(oid, [read](std::vector<NodeId> nodes) {
    read->nodes_ = std::move(nodes);
    read->AskNext();
  });
}

// --- 1. Ask --------------------------------------------------------------------------------------

void SingleRead::AskNext() {
  while (next_ < nodes_.size() && cluster_->BulkEndpoint(nodes_[next_]) == nullptr) ++next_;
  if (next_ >= nodes_.size()) return wanted_ ? Get(*wanted_) : Head();
  // If its size is not known: most objects fit into the first guess, and the answer for others says
  // what they take.
  if (buffer_.empty() && !MakeRoom(wanted_ ? wanted_->size : kFirstGuess)) return;
  BulkItem item;
  item.oid = OidOf(uri_);
  item.name = uri_;
  item.into = buffer_.span();
  if (wanted_) {
    item.version = HashVersion(wanted_->etag, wanted_->size);
    item.size = wanted_->size;
    item.etag = wanted_->etag;
  }
  std::vector<BulkItem> items;
  items.push_back(std::move(item));
  const NodeId node = nodes_[next_];
  env_.network->BulkRead(*cluster_->BulkEndpoint(node), BulkMode::kFetch, std::move(items),
                         deadline_, [read = shared_from_this(), node](size_t, BulkOutcome outcome) {
                           read->Landed(node, std::move(outcome));
                         });
}

// False when that was the end of it: sizes come from others, and may be anything.
bool SingleRead::MakeRoom(uint64_t size) {
  if (buffer_.TryResize(size)) return true;
  done_(Status::NoSpace(uri_ + ": its " + FormatBytes(size) +
                        " do not fit into this process's memory"));
  return false;
}

void SingleRead::Landed(NodeId node, BulkOutcome outcome) {
  if (outcome.status.ok()) {
    if (outcome.size < buffer_.size()) {
      buffer_ = Buffer::CopyOf(buffer_.view().first(static_cast<size_t>(outcome.size)));
    }
    return done_(Found{std::move(buffer_), ObjectSource::kThroughHome});
  }
  const Code code = outcome.status.code();
  if (code == Code::kNoSpace && outcome.size > buffer_.size()) {
    if (MakeRoom(outcome.size)) AskNext();
    return;
  }
  if (code == Code::kUnavailable && !outcome.answered) cluster_->Failed(node);
  ++next_;
  AskNext();
}

// --- 2. and 3. The far store ---------------------------------------------------------------------

void SingleRead::Head() {
  env_.far->Head(uri_, deadline_, [read = shared_from_this()](Result<FarInfo> info) {
    if (!info.ok()) return read->done_(info.status());
    read->Get(*info);
  });
}

void SingleRead::Get(const FarInfo& info) {
  if (!MakeRoom(info.size)) return;
  env_.far->Get({.uri = uri_,
                 .etag = info.etag,
                 .offset = 0,
                 .length = info.size,
                 .whole = true,
                 .into = buffer_.span(),
                 .deadline = deadline_},
                [read = shared_from_this()](Status status, const FarInfo&, uint64_t) {
                  if (!status.ok()) return read->done_(std::move(status));
                  read->done_(Found{std::move(read->buffer_), ObjectSource::kFar});
                });
}

}  // namespace holdfast::client
