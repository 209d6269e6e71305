// SPDX-License-Identifier: Apache-2.0
// The scripted nodes of fake_world.h, and what must hold for the script itself.
#include "fake_world.h"

#include <gtest/gtest.h>

#include "wire/shm_layout.h"

namespace holdfast::jobclient {
namespace {

// What a node reserves for an object of a call.
uint64_t Cost(const wire::Call& call, const planner::Manifest& manifest, uint32_t index) {
  return shm::RecordBytes(manifest.object_bytes(index), call.name_bytes, 0);
}

}  // namespace

void FakeWorld::Send(const std::vector<PeerId>& to, Frames frames) {
  for (PeerId peer : to) {
    auto it = peers_.find(peer);
    if (it == peers_.end()) continue;
    Frames copy;
    copy.head = Buffer::CopyOf(frames.head.view());
    for (const Buffer& column : frames.columns)
      copy.columns.push_back(Buffer::CopyOf(column.view()));
    auto shared = std::make_shared<Frames>(std::move(copy));
    clock.At(clock.Now() + kDelay, [this, id = it->second, shared] {
      FakeNode& target = node(id);
      if (target.dead) return;
      Result<wire::Message> message = wire::Decode(std::move(*shared));
      HF_CHECK(message.ok());
      Handle(target, std::move(*message));
    });
  }
}

void FakeWorld::Deliver(NodeId from, wire::Message message, Duration delay) {
  auto frames = std::make_shared<Frames>(wire::Encode(std::move(message)));
  clock.At(clock.Now() + delay, [this, from, frames] {
    for (const auto& [peer, id] : peers_) {
      if (id == from && handler_) return handler_(peer, std::move(*frames));
    }
  });
}

void FakeWorld::DeliverGarbage(NodeId from) {
  for (const auto& [peer, id] : peers_) {
    if (id != from) continue;
    Frames frames;
    frames.head = Buffer::CopyOf(AsBytes("\x93 garbage"));
    return handler_(peer, std::move(frames));
  }
}

void FakeWorld::Handle(FakeNode& node, wire::Message message) {
  if (std::get_if<wire::Hello>(&message) != nullptr) {
    if (!node.hello_error.ok()) {
      return Deliver(node.id,
                     wire::ErrorReply{.about = "Hello", .job = 0, .status = node.hello_error});
    }
    Deliver(node.id, wire::HelloReply{.node = node.id,
                                      .incarnation = node.incarnation,
                                      .capacity_bytes = node.capacity,
                                      .free_bytes = node.free + node.boast,
                                      .max_object_bytes = node.max_object,
                                      .far_bytes_per_s = 100'000'000,
                                      .far_objects_per_s = 1000,
                                      .bulk_endpoint = "bulk:" + std::to_string(node.id),
                                      .far_identity = ""});
  } else if (auto* call = std::get_if<wire::Call>(&message)) {
    ++node.calls_received;
    if (node.silent_calls) return;
    const uint32_t number = call->call;
    node.calls[number] = std::move(*call);
    Bid(node, node.calls[number]);
  } else if (auto* manifest = std::get_if<wire::Manifest>(&message)) {
    ++node.manifests_received;
    wire::ManifestColumns& c = manifest->columns;
    auto built =
        planner::Manifest::FromColumns(c.count, c.size_width, std::move(c.oids), std::move(c.sizes),
                                       std::move(c.versions), manifest->digest);
    HF_CHECK(built.ok());
    node.manifests[manifest->digest] = std::move(*built);
    for (const auto& [number, waiting] : node.calls) {
      if (waiting.digest == manifest->digest) Bid(node, waiting);
    }
  } else if (auto* confirm = std::get_if<wire::Confirm>(&message)) {
    ++node.confirms_received;
    if (!node.deaf_to_confirms) Acknowledge(node, std::move(*confirm));
  } else if (auto* beat = std::get_if<wire::Heartbeat>(&message)) {
    ++node.heartbeats;
    wire::Progress progress;
    progress.job = beat->job;
    progress.incarnation = node.incarnation;
    progress.tenancy = node.tenancy;
    progress.known = !node.forgets_job && !node.calls.empty();
    progress.kept_objects = node.promised.size();
    progress.far_requests = 7;
    progress.first_loss = node.first_loss;
    progress.lost = std::exchange(node.losses, {});
    node.first_loss += progress.lost.size();
    Deliver(node.id, std::move(progress));
  } else if (std::get_if<wire::EndJob>(&message) != nullptr) {
    node.ended = true;
  }
}

void FakeWorld::Bid(FakeNode& node, const wire::Call& call) {
  auto known = node.manifests.find(call.digest);
  if (known == node.manifests.end()) {
    return Deliver(node.id,
                   wire::NeedManifest{.job = call.job, .call = call.call, .digest = call.digest});
  }
  if (node.refuses_calls) {
    return Deliver(node.id, wire::Bids{.job = call.job,
                                       .call = call.call,
                                       .incarnation = node.incarnation,
                                       .status = Status::NoSpace("too many jobs")});
  }
  const planner::Manifest& manifest = known->second;
  Bitmap asked = call.asked.empty() ? Bitmap(call.count, true)
                                    : Bitmap::FromBytes(call.asked.view(), call.count);
  Bitmap offer = Bitmap::FromBytes(call.offer.view(), call.count);
  Bitmap home = Bitmap::FromBytes(call.home.view(), call.count);
  uint64_t room = node.free;
  for (uint32_t first = 0; first < call.count; first += wire::kChunkObjects) {
    uint32_t count = std::min(wire::kChunkObjects, call.count - first);
    Bitmap keep(count), load(count), spare(count);
    for (uint32_t i = 0; i < count; ++i) {
      uint32_t index = first + i;
      if (!asked.Get(index)) continue;
      const uint64_t size = manifest.object_bytes(index);
      const uint64_t bytes = Cost(call, manifest, index);
      if (node.holds.contains(manifest.oid(index))) {
        keep.Set(i);
      } else if (size <= node.max_object && home.Get(index) && bytes <= room) {
        load.Set(i);
        room -= bytes;
      } else if (size <= node.max_object && offer.Get(index)) {
        spare.Set(i);
      }
    }
    if (node.lose_bids > 0) {
      --node.lose_bids;
      continue;
    }
    Deliver(
        node.id,
        wire::Bids{.job = call.job,
                   .call = call.call,
                   .incarnation = node.incarnation,
                   .first = first,
                   .count = count,
                   .keep_t2 = call.hold,
                   .load_t2 = call.hold,
                   .rate = {.start = 10ms, .ns_per_object = 1'000'000, .ns_per_mib = 10'000'000},
                   .status = {},
                   .keep = Buffer::CopyOf(keep.bytes()),
                   .load = Buffer::CopyOf(load.bytes()),
                   .spare = Buffer::CopyOf(spare.bytes())});
  }
}

void FakeWorld::Acknowledge(FakeNode& node, wire::Confirm confirm) {
  const wire::Call& call = node.calls.at(confirm.call);
  const planner::Manifest& manifest = node.manifests.at(call.digest);
  Bitmap keep = Bitmap::FromBytes(confirm.keep.view(), confirm.count);
  Bitmap load = Bitmap::FromBytes(confirm.load.view(), confirm.count);
  Bitmap refused(confirm.count);
  wire::Refusal why = wire::Refusal::kNone;
  uint32_t begin = 0;
  size_t n = 0;
  load.ForEach([&](size_t i) {
    uint32_t end = LoadAs<uint32_t>(confirm.name_ends.data() + 4 * n);
    std::string_view name = AsText(confirm.names.view()).substr(begin, end - begin);
    uint32_t index = confirm.first + static_cast<uint32_t>(i);
    EXPECT_EQ(Hash128(AsBytes(name)), manifest.oid(index));
    node.need_by[index] = LoadAs<uint32_t>(confirm.need_by.data() + 4 * n);
    names_[manifest.oid(index)] = name;
    if (node.holds.contains(manifest.oid(index))) {
      // Loaded for an earlier call.
    } else if (Cost(call, manifest, index) > node.free) {
      refused.Set(i);
      why = wire::Refusal::kNoRoom;
    } else if (!node.refuses.contains(manifest.oid(index))) {
      node.free -= Cost(call, manifest, index);
      node.holds.insert(manifest.oid(index));
    }
    begin = end;
    ++n;
  });
  for (uint32_t i = 0; i < confirm.count; ++i) {
    if (!keep.Get(i) && !load.Get(i)) continue;
    const Oid oid = manifest.oid(confirm.first + i);
    if (node.refuses.contains(oid)) {
      refused.Set(i);
      why = wire::Refusal::kGone;
    }
    if (!refused.Get(i)) {
      node.promised.insert(confirm.first + i);
    }
  }
  wire::Ack ack{.job = confirm.job,
                .call = confirm.call,
                .incarnation = node.incarnation,
                .tenancy = node.tenancy,
                .first = confirm.first,
                .count = confirm.count,
                .t2 = call.hold,
                .rate = {.start = 10ms, .ns_per_object = 1'000'000, .ns_per_mib = 10'000'000},
                .refused = refused.None() ? Buffer() : Buffer::CopyOf(refused.bytes()),
                .why = why};
  node.confirms[{confirm.call, confirm.first}] = std::move(confirm);
  if (node.lose_acks > 0) {
    --node.lose_acks;
    return;
  }
  Deliver(node.id, std::move(ack));
}

BulkOutcome FakeWorld::Serve(FakeNode& node, BulkMode mode, const BulkItem& item) {
  ++node.bulk_items;
  ++node.bulk_by_mode[mode];
  if (node.dead) return {.status = Status::Unavailable("connection refused")};
  if (node.bulk_fails != Code::kOk)
    return {.status = Status(node.bulk_fails, "by script"), .answered = true};
  if (mode == BulkMode::kFetch) {
    HF_CHECK(Hash128(AsBytes(item.name)) == item.oid && item.etag == EtagOf(item.name));
    names_[item.oid] = item.name;
    auto fails = far_fails.find(item.name);
    if (fails != far_fails.end())
      return {.status = Status(fails->second, "by script"), .answered = true};
    if (node.holds.insert(item.oid).second) ++far_counters.gets;
  }
  if (node.below.erase(item.oid) > 0) node.holds.insert(item.oid);
  if (!node.holds.contains(item.oid))
    return {.status = Status::NotFound("not here"), .answered = true};
  if (item.into.size() < item.size) {
    return {.status = Status::NoSpace("small"),
            .version = item.version,
            .size = item.size,
            .answered = true};
  }
  std::string bytes = BytesOf(names_.at(item.oid), item.size);
  if (!bytes.empty()) std::memcpy(item.into.data(), bytes.data(), bytes.size());
  return {.status = {},
          .version = item.version + (node.wrong_version ? 1 : 0),
          .size = item.size,
          .hash = Hash64(AsBytes(bytes)),
          .answered = true};
}

void FakeWorld::BulkRead(const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                         Time deadline, std::function<void(size_t, BulkOutcome)> each) {
  EXPECT_GT(deadline, clock.Now());
  auto id = static_cast<NodeId>(std::stoi(endpoint.substr(5)));
  ++node(id).bulk_batches;
  auto shared = std::make_shared<std::vector<BulkItem>>(std::move(items));
  for (const BulkItem& item : *shared) InFlight(static_cast<int64_t>(item.into.size()));
  for (size_t reversed = 0; reversed < shared->size(); ++reversed) {
    const size_t n = shared->size() - 1 - reversed;
    clock.At(clock.Now() + kDelay, [this, id, mode, shared, n, each] {
      InFlight(-static_cast<int64_t>((*shared)[n].into.size()));
      each(n, Serve(node(id), mode, (*shared)[n]));
    });
  }
}

void FakeWorld::Get(FarGet get, std::function<void(Status, FarInfo, uint64_t)> done) {
  ++far_counters.gets;
  InFlight(static_cast<int64_t>(get.into.size()));
  clock.At(clock.Now() + 10 * kDelay, [this, get, done] {
    InFlight(-static_cast<int64_t>(get.into.size()));
    auto fails = far_fails.find(get.uri);
    if (fails != far_fails.end()) return done(Status(fails->second, "by script"), {}, 0);
    EXPECT_EQ(get.etag, EtagOf(get.uri));
    std::string bytes = BytesOf(get.uri, get.length);
    if (!bytes.empty()) std::memcpy(get.into.data(), bytes.data(), bytes.size());
    done({}, {.size = get.length, .etag = get.etag}, Hash64(AsBytes(bytes)));
  });
}

namespace {

TEST(FakeWorld, TheClockRunsEventsInTheOrderOfTheirTimes) {
  FakeClock clock;
  std::string order;
  clock.At(clock.Now() + 2ms, [&] { order += 'c'; });
  clock.At(clock.Now() + 1ms, [&] { order += 'a'; });
  clock.At(clock.Now() + 1ms, [&] { order += 'b'; });
  clock.RunFor(1ms);
  EXPECT_EQ(order, "ab");
  clock.RunFor(1ms);
  EXPECT_EQ(order, "abc");
}

}  // namespace
}  // namespace holdfast::jobclient
