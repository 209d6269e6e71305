// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/sim_bulk.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/hash.h"
#include "tests/sim/sim_clock.h"

namespace holdfast::sim {
namespace {

constexpr uint64_t kBytesPerUs = 1000;
constexpr Duration kConnectTimeout = 5s;

}  // namespace

struct BulkTransfer {
  Fabric* fabric;
  BulkRequest request;
  std::vector<bool> ended;
  std::vector<bool> bytes_only;  // what the disk was read for in vain
  size_t left = 0;
  bool broken = false;

  World* world() const { return fabric->world(); }
  // On the client's process.
  void End(size_t item, BulkOutcome outcome) {
    if (ended[item]) return;
    ended[item] = true;
    --left;
    request.each(item, std::move(outcome));
  }
  void EndAll(const Status& status) {
    for (size_t i = 0; i < ended.size(); ++i) End(i, {.status = status});
  }
};

namespace {

using TransferPtr = std::shared_ptr<BulkTransfer>;

// The view ends before the session that it is on.
struct Pinned {
  Pinned(std::shared_ptr<SessionFile> s, LocalView v) : session(std::move(s)), view(std::move(v)) {}
  std::shared_ptr<SessionFile> session;
  LocalView view;
};

void BreakAfter(const TransferPtr& transfer, Duration delay) {
  transfer->world()->After(delay, transfer->request.client, [transfer] {
    transfer->broken = true;
    transfer->EndAll(Status::Unavailable("the bulk connection broke"));
  });
}

// An answer arrives; `payload` is what came through the wire.
void Receive(const TransferPtr& transfer, size_t item, BulkOutcome outcome, uint64_t sent_hash,
             const Buffer& payload) {
  if (transfer->ended[item] || transfer->broken) return;
  outcome.answered = true;
  if (outcome.status.ok()) {
    if (Hash64(payload.view()) != sent_hash) {
      outcome = {.status = Status::Corrupt("XXH3 of the payload is not what the node said")};
    } else {
      std::memcpy(transfer->request.items[item].into.data(), payload.data(), payload.size());
    }
  }
  transfer->End(item, std::move(outcome));
}

void Answer(const TransferPtr& transfer, size_t item, Duration delay, BulkOutcome outcome,
            uint64_t hash, std::shared_ptr<Buffer> payload) {
  World* world = transfer->world();
  const BulkRequest& request = transfer->request;
  if (transfer->fabric->IsCut(request.server_host, request.client_host)) return;
  world->After(delay, request.client, [transfer, item, outcome, hash, payload] {
    Receive(transfer, item, outcome, hash, *payload);
  });
}

// What lies on the disk at this instant; nullopt when it is not the object, or not whole.
std::optional<BulkOutcome> ReadOnDisk(const DiskImage& image, disk::Place place,
                                      const BulkItem& want, WallTime now) {
  const uint64_t limit = image.segment_bytes();
  if (place.segment >= image.segments() || place.offset >= limit) return std::nullopt;
  Buffer rest(limit - place.offset);
  image.Read(place.segment, place.offset, rest.span());
  Result<disk::Head> head = disk::DecodeHead(rest.view(), place.offset, limit);
  if (!head.ok() || !disk::CheckHead(*head, want.oid, want.version).ok()) return std::nullopt;
  if (HasExpired(head->expires_s, now)) return std::nullopt;
  const disk::Entry& entry = head->entry;
  const ByteView payload = rest.view().subspan(entry.payload_offset() - entry.offset, entry.size);
  if (Hash64(payload) != head->payload_hash) return std::nullopt;
  BulkOutcome outcome{.status = {}, .version = entry.version, .size = entry.size, .answered = true};
  if (entry.size > want.into.size()) {
    outcome.status = Status::NoSpace("the reader's buffer is too small");
    outcome.own_disk = want.into.empty();  // it only wanted to know
    return outcome;
  }
  if (entry.size > 0) std::memcpy(want.into.data(), payload.data(), payload.size());
  outcome.hash = head->payload_hash;
  outcome.own_disk = true;
  return outcome;
}

// On the client's process.
void ReadPlaced(const TransferPtr& transfer, size_t item, disk::Place place,
                const DiskImage& image) {
  if (transfer->ended[item] || transfer->broken) return;
  World* world = transfer->world();
  const BulkItem& want = transfer->request.items[item];
  std::optional<BulkOutcome> outcome =
      ReadOnDisk(image, place, want, SimClock::WallAt(world->now()));
  world->Note("own disk", {transfer->request.client, want.oid.hi, outcome.has_value()});
  if (outcome) return transfer->End(item, *std::move(outcome));
  transfer->bytes_only[item] = true;
  SimBulkServer* server = transfer->fabric->BulkListener(transfer->request.endpoint);
  if (server == nullptr) return BreakAfter(transfer, Duration(1'000));
  world->After(Duration(100), server->process(),
               [server, transfer, item] { server->Serve(transfer, item); });
}

void Connect(const TransferPtr& transfer) {
  World* world = transfer->world();
  Fabric* fabric = transfer->fabric;
  const BulkRequest& request = transfer->request;
  if (fabric->IsCut(request.client_host, request.server_host) ||
      fabric->IsCut(request.server_host, request.client_host)) {
    return BreakAfter(transfer, kConnectTimeout);
  }
  SimBulkServer* server = fabric->BulkListener(request.endpoint);
  if (server == nullptr) return BreakAfter(transfer, Duration(1'000));
  server->Track(transfer);
  size_t served = request.items.size();
  if (world->faults().Fires(Fault::kBulkBreak)) {
    served = fabric->random().Below(served + 1);
    BreakAfter(transfer, Duration(2'000 + 100 * static_cast<int64_t>(served)));
  }
  for (size_t i = 0; i < served; ++i) {
    // The server may be another process by the time its turn comes; then the connection is gone,
    // too.
    world->After(Duration(100 + static_cast<int64_t>(i)), server->process(),
                 [server, transfer, i] { server->Serve(transfer, i); });
  }
}

}  // namespace

void StartBulkRead(Fabric* fabric, BulkRequest request) {
  World* world = fabric->world();
  auto transfer = std::make_shared<BulkTransfer>();
  transfer->fabric = fabric;
  transfer->request = std::move(request);
  transfer->left = transfer->request.items.size();
  transfer->ended.resize(transfer->left);
  transfer->bytes_only.resize(transfer->left);
  if (transfer->left == 0) return;
  Time deadline = transfer->request.deadline;
  if (deadline == Time::Max()) {
    world->Violate("flows-end", "a bulk read without a deadline at " + transfer->request.endpoint);
  }
  world->At(deadline, transfer->request.client,
            [transfer] { transfer->EndAll(Status::Timeout("deadline of the bulk read")); });
  world->After(Duration(50), transfer->request.client, [transfer] { Connect(transfer); });
}

SimBulkServer::SimBulkServer(Fabric* fabric, ProcessId process, HostId host, std::string endpoint,
                             std::shared_ptr<SessionFile> session, cached::Node* node,
                             std::shared_ptr<const DiskImage> disk)
    : fabric_(fabric),
      world_(fabric->world()),
      process_(process),
      host_(host),
      endpoint_(std::move(endpoint)),
      session_(std::move(session)),
      node_(node),
      disk_(std::move(disk)),
      random_(world_->Stream("bulk " + world_->NameOf(process))) {
  fabric_->ListenBulk(endpoint_, this);
}

SimBulkServer::~SimBulkServer() {
  fabric_->UnlistenBulk(endpoint_);
  for (const auto& weak : open_) {
    TransferPtr transfer = weak.lock();
    if (transfer == nullptr || transfer->left == 0) continue;
    // The kernel of the dead process's host resets the connection; if the host is gone, too, only a
    // timeout tells.
    if (random_.Chance(0.8)) BreakAfter(transfer, Duration(100 + random_.Below(20'000)));
  }
}

void SimBulkServer::Serve(const TransferPtr& transfer, size_t item) {
  std::erase_if(open_, [](const auto& weak) {
    TransferPtr open = weak.lock();
    return open == nullptr || open->left == 0;
  });
  if (!transfer->ended[item]) Look(transfer, item, 0);
}

void SimBulkServer::Look(const TransferPtr& transfer, size_t item, int tries) {
  const BulkItem& want = transfer->request.items[item];
  LocalView view = session_->reader().Pin(want.oid, want.version);
  if (view) {
    session_->reader().MarkRead(view);
    return Send(transfer, item, std::move(view));
  }
  bool ask = transfer->request.mode != BulkMode::kLook && tries < 2 &&
             world_->now() < transfer->request.deadline;
  if (ask) return Miss(transfer, item, tries);
  Answer(transfer, item, Duration(100), {.status = Status::NotFound("not in this node's segments")},
         0, std::make_shared<Buffer>());
}

void SimBulkServer::Miss(const TransferPtr& transfer, size_t item, int tries) {
  const BulkRequest& request = transfer->request;
  const BulkItem& want = request.items[item];
  bool fetch = request.mode == BulkMode::kFetch;
  bulk::ReadMiss miss = {.oid = want.oid,
                         .version = want.version,
                         .size = want.size,
                         .name = fetch ? want.name : "",
                         .etag = fetch ? want.etag : "",
                         .mode = request.mode,
                         .patience = request.deadline - world_->now(),
                         .peek = want.into.empty() && want.size > 0};
  uint64_t number = ++last_miss_;
  open_misses_->emplace(number, ToHex(want.oid) + (fetch ? " to fetch" : " to wait for") +
                                    ", asked at " + std::to_string(world_->now().us) + " us by " +
                                    world_->NameOf(request.client) + ", patience " +
                                    FormatDuration(miss.patience));
  world_->Note("miss", {request.client, process_, want.oid.hi, fetch});
  auto answered = [world = world_, once = std::make_shared<bool>(false), number,
                   open = open_misses_] {
    if (std::exchange(*once, true)) world->Violate("flows-end", "a miss was answered twice");
    open->erase(number);
  };
  miss.on_disk = OnDisk(transfer, item, answered);
  node_->OnMiss(std::move(miss), [this, world = world_, process = process_, transfer, item, tries,
                                  answered](const Status& status) {
    answered();
    // The node may answer from its destructor, when this server is no more.
    if (!world->alive(process)) return;
    if (status.ok()) {
      world->After({}, process_,
                   [this, transfer, item, tries] { Look(transfer, item, tries + 1); });
    } else {
      Answer(transfer, item, Duration(100), {.status = status}, 0, std::make_shared<Buffer>());
    }
  });
}

// Empty for who cannot read the disk.
std::function<void(disk::Place)> SimBulkServer::OnDisk(const TransferPtr& transfer, size_t item,
                                                       std::function<void()> answered) {
  const BulkRequest& request = transfer->request;
  const bool may = disk_ != nullptr && request.client_host == host_ && !transfer->bytes_only[item];
  if (!may) return {};
  return [this, world = world_, process = process_, transfer, item,
          answered = std::move(answered)](disk::Place place) {
    answered();
    if (!world->alive(process)) return;
    Duration delay(100 + random_.Below(2'000));
    if (world->faults().Fires(Fault::kBulkStall)) delay += Duration(random_.Below(8'000'000));
    world->After(delay, transfer->request.client, [transfer, item, place, image = disk_] {
      ReadPlaced(transfer, item, place, *image);
    });
  };
}

void SimBulkServer::Send(const TransferPtr& transfer, size_t item, LocalView view) {
  const BulkItem& want = transfer->request.items[item];
  uint64_t size = view.payload().size();
  if (size > want.into.size()) {
    BulkOutcome outcome = {.status = Status::NoSpace("the reader's buffer is too small"),
                           .size = size};
    return Answer(transfer, item, Duration(100), std::move(outcome), 0, std::make_shared<Buffer>());
  }
  Faults& faults = world_->faults();
  Duration wire_time(static_cast<int64_t>(random_.Exponential(100)) +
                     static_cast<int64_t>(size / kBytesPerUs));
  if (faults.Fires(Fault::kBulkStall)) wire_time += Duration(random_.Below(8'000'000));
  auto pinned = std::make_shared<Pinned>(session_, std::move(view));
  // Sendfile: the bytes are those of the moment at which they leave, so a pin that does not hold
  // shows.
  world_->After(wire_time, process_, [this, transfer, item, pinned, &faults] {
    auto payload = std::make_shared<Buffer>(Buffer::CopyOf(pinned->view.payload()));
    uint64_t hash = pinned->view.payload_hash();
    if (Hash64(payload->view()) != hash) {
      world_->Violate("pins", "a pinned record's bytes changed while they were being sent");
    }
    if (faults.Fires(Fault::kBulkCorrupt) && !payload->empty()) {
      payload->data()[random_.Below(payload->size())] ^= std::byte{0x10};
    }
    BulkOutcome outcome = {
        .status = {}, .version = pinned->view.version(), .size = payload->size()};
    outcome.hash = hash;
    outcome.expires_s = pinned->view.expires_s();
    pinned->view.Release();
    Answer(transfer, item, Duration(50), std::move(outcome), hash, std::move(payload));
  });
}

}  // namespace holdfast::sim
