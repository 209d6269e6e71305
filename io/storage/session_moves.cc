// SPDX-License-Identifier: Apache-2.0
// What a session does for reclaim: permits and their end, on the connection of the node that uses the
// segments; moves, on one that it opened for them; and for whoever moves elsewhere, a place beside the node.
#include <algorithm>
#include <utility>

#include "io/storage/permitted_disk.h"
#include "io/storage/storage_server.h"
#include "io/storage/storage_session.h"
#include "wire/record_mover.h"

namespace holdfast::storage {
namespace {

constexpr Duration kWorkerPatience = 10s;  // of a worker, for the segments' server
// The node's connection to a worker ends before: its `opened` waits for this one.
constexpr Duration kWorkerOpening = std::chrono::hours(24);
constexpr uint32_t kMostSegments = 65'535;

Status Unexpected() { return Status::Corrupt("a frame that is not due"); }

}  // namespace

// --- Opening -------------------------------------------------------------------------------------

Status StorageSession::OnOpenMover(const FrameHead& head, ByteView body) {
  Result<MoverName> name = DecodeMoverName(AsText(body.subspan(kOpenerBytes)));
  if (!name.ok()) return End(name.status()), Status();
  if (head.count == 0 || head.count > kMostSegments || head.b == 0 || head.b % Disk::kBlock != 0 ||
      head.b > disk::kMaxSegmentBytes) {
    return End(Status::Invalid("segments cannot have these sizes")), Status();
  }
  wanted_ = {.kind = head.kind,
             .node = static_cast<NodeId>(head.tag),
             .cluster = server_->options_.cluster,
             .name = name->store,
             .bytes = head.b,
             .segments = head.count};
  if (name->endpoint.empty()) {
    Result<Store*> here = server_->FindUsed(wanted_->name, wanted_->node);
    if (!here.ok()) return End(here.status()), Status();
    return OpenedBeside(), Status();
  }
  elsewhere_ = std::make_unique<RemoteDisk>(
      server_->loop_,
      RemoteOptions{.endpoint = name->endpoint,
                    .cluster = wanted_->cluster,
                    .token = server_->options_.token.value_or(bulk::Token{}),
                    .node = wanted_->node,
                    .store = wanted_->name,
                    .patience = kWorkerPatience,
                    .opening = kWorkerOpening,
                    .permitted = true,
                    .log = server_->options_.log},
      wanted_->segments, wanted_->bytes,
      [loop = server_->loop_](std::function<void()> run) { loop->Post(std::move(run)); });
  elsewhere_->Open([server = server_, alive = server_->alive_, id = id_](const Status& opened) {
    if (!*alive) return;
    StorageSession* session = server->Find(id);
    if (session == nullptr || session->ending_) return;
    if (!opened.ok()) return session->End(opened);
    session->OpenedBeside();
    session->FlushSoon();
  });
  return {};
}

Status StorageSession::OnOpenPermitted(const FrameHead& head, ByteView body) {
  wanted_ = {.kind = head.kind,
             .node = static_cast<NodeId>(head.tag),
             .cluster = server_->options_.cluster,
             .name = std::string(AsText(body.subspan(kOpenerBytes))),
             .bytes = head.b,
             .segments = head.count};
  Result<Store*> store = server_->FindUsed(wanted_->name, wanted_->node);
  if (!store.ok()) return End(store.status()), Status();
  store_ = *store;
  wanted_->bytes = store_->segments->segment_bytes();
  wanted_->segments = store_->segments->segments();
  return OpenedBeside(), Status();
}

// There is no epoch: nobody is pushed aside, and a key says what may be written.
void StorageSession::OpenedBeside() {
  open_ = true;
  stream_->Add({.kind = Kind::kOpened,
                .tag = server_->start_,
                .a = 1,
                .b = wanted_->bytes,
                .count = wanted_->segments});
}

// --- Permits -------------------------------------------------------------------------------------

void StorageSession::OnPermit(const FrameHead& head, ByteView body) {
  const Status added =
      store_->permits.Add(LoadAs<uint64_t>(body.data()),
                          {.segment = head.count, .offset = head.a, .end = head.a + head.b});
  if (!added.ok()) return SayFailed(head.tag, added);
  stream_->Add({.kind = Kind::kDone, .tag = head.tag});
}

void StorageSession::OnRevoke(const FrameHead& head) {
  store_->permits.Revoke(head.a,
                         [server = server_, alive = server_->alive_, id = id_, tag = head.tag] {
                           if (!*alive) return;
                           StorageSession* session = server->Find(id);
                           if (session == nullptr || session->ending_) return;
                           session->stream_->Add({.kind = Kind::kDone, .tag = tag});
                           session->FlushSoon();
                         });
}

// --- Moves ---------------------------------------------------------------------------------------

Status StorageSession::OnMove(const FrameHead& head, ByteView body) {
  if (head.kind != Kind::kMove) return Unexpected();
  Result<SegmentMove> move = DecodeMove(body, head.count, head.a, wanted_->bytes);
  if (!move.ok()) return move.status();
  if (move->from >= wanted_->segments || move->to >= wanted_->segments) return Unexpected();
  Result<std::shared_ptr<Disk>> disk = DiskOfMove(head.b);
  if (!disk.ok()) return SayFailed(head.tag, disk.status()), Status();
  const uint64_t bytes = std::max(move->bytes(), kLeastBusyBytes);
  busy_bytes_ += bytes;
  RecordMover mover(disk->get(), nullptr);
  mover.Move(*std::move(move), [server = server_, alive = server_->alive_, id = id_, tag = head.tag,
                                bytes, disk = *disk](const Moved& moved) {
    if (!*alive) return;
    StorageSession* session = server->Find(id);
    if (session != nullptr && !session->ending_) session->SayMoved(tag, bytes, moved);
  });
  return {};
}

Result<std::shared_ptr<Disk>> StorageSession::DiskOfMove(uint64_t key) {
  if (elsewhere_ != nullptr)
    return std::shared_ptr<Disk>(std::make_shared<PermittedRemote>(elsewhere_.get(), key));
  Result<Store*> store = server_->FindUsed(wanted_->name, wanted_->node);
  if (!store.ok()) return store.status();
  const disk::SegmentFiles& files = *(*store)->segments;
  if (files.segments() != wanted_->segments || files.segment_bytes() != wanted_->bytes)
    return Status::Unavailable("the segments have other sizes now");
  return std::shared_ptr<Disk>(std::make_shared<PermittedFiles>(
      server_->loop_, *store, key, server_->alive_,
      [server = server_, store = *store] { server->Ended(store); }));
}

void StorageSession::SayMoved(uint64_t tag, uint64_t bytes, const Moved& moved) {
  busy_bytes_ -= bytes;
  if (moved.status.ok()) {
    stream_->Add({.kind = Kind::kMoved, .tag = tag}, moved.right.bytes());
  } else {
    SayFailed(tag, moved.status);
  }
  FlushSoon();
}

}  // namespace holdfast::storage
