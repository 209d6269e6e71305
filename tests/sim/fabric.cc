// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/fabric.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "tests/sim/sim_network.h"
#include "wire/codec.h"

namespace holdfast::sim {
namespace {

constexpr uint64_t kBytesPerUs = 1000;

Frames CopyOf(const Frames& frames) {
  Frames copy;
  copy.head = Buffer::CopyOf(frames.head.view());
  for (const Buffer& column : frames.columns) copy.columns.push_back(Buffer::CopyOf(column.view()));
  return copy;
}

uint64_t HashOf(const Frames& frames) {
  uint64_t hash = Hash64(frames.head.view());
  for (const Buffer& column : frames.columns) hash = Mix64(hash) ^ Hash64(column.view());
  return hash;
}

void FlipSome(Buffer* buffer, Random* random) {
  if (buffer->empty()) return;
  for (uint64_t n = 1 + random->Below(4); n > 0; --n) {
    buffer->data()[random->Below(buffer->size())] ^= static_cast<std::byte>(1 + random->Below(255));
  }
}

}  // namespace

SimNetwork* Fabric::network(ProcessId process) const {
  auto it = networks_.find(process);
  return it == networks_.end() ? nullptr : it->second;
}

ProcessId Fabric::Listener(const std::string& endpoint) const {
  auto it = listeners_.find(endpoint);
  return it == listeners_.end() ? kWorld : it->second;
}

SimBulkServer* Fabric::BulkListener(const std::string& endpoint) const {
  auto it = bulk_.find(endpoint);
  return it == bulk_.end() ? nullptr : it->second;
}

Duration Fabric::Latency(size_t bytes) {
  Duration latency(50 + static_cast<int64_t>(random_.Exponential(50)) +
                   static_cast<int64_t>(bytes / kBytesPerUs));
  if (world_->faults().Fires(Fault::kNetDelay))
    latency += Duration(10'000 + random_.Below(2'000'000));
  return latency;
}

Frames Fabric::Garble(Frames frames) {
  switch (random_.Below(6)) {
    case 0:  // cut short
      frames.head = Buffer::CopyOf(frames.head.view().first(random_.Below(frames.head.size() + 1)));
      break;
    case 1: {  // not a message at all
      frames.head = Buffer(random_.Below(300));
      for (std::byte& b : frames.head.span()) b = static_cast<std::byte>(random_.Next());
      break;
    }
    case 2:  // a column too many
      frames.columns.push_back(Buffer::CopyOf(frames.head.view()));
      break;
    case 3:  // a column too few
      if (!frames.columns.empty()) frames.columns.pop_back();
      break;
    case 4:
      FlipSome(&frames.head, &random_);
      break;
    default:
      FlipSome(frames.columns.empty() ? &frames.head
                                      : &frames.columns[random_.Below(frames.columns.size())],
               &random_);
  }
  return frames;
}

void Fabric::ShowObserver(Delivery delivery, const Frames& frames) {
  if (!observer_) return;
  Result<wire::Message> message = wire::Decode(CopyOf(frames));
  if (message.ok()) delivery.message = &*message;
  if (message.ok() && !delivery.sent && world_->trace().printing()) {
    world_->trace().Say(world_->now(), wire::NameOf(*message));
  }
  observer_(delivery);
}

void Fabric::Carry(const Route& route, const std::shared_ptr<Link>& link, const Frames& frames) {
  ShowObserver({.sent = true, .from = route.sender, .to = route.client}, frames);
  if (link->queued >= queue_limit_) {
    world_->faults().Count(Fault::kNetQueueFull);
    return;
  }
  if (route.from == route.to) return Launch(route, link, CopyOf(frames), false);
  if (IsCut(route.from, route.to)) return;
  Faults& faults = world_->faults();
  if (faults.Fires(Fault::kNetDrop)) return;
  if (faults.Fires(Fault::kNetDuplicate)) Launch(route, link, CopyOf(frames), false);
  bool garbled = faults.Fires(Fault::kNetGarble);
  Launch(route, link, garbled ? Garble(CopyOf(frames)) : CopyOf(frames), garbled);
}

void Fabric::Launch(const Route& route, const std::shared_ptr<Link>& link, Frames frames,
                    bool garbled) {
  Time arrival = world_->now() + (route.from == route.to ? Duration(30) : Latency(frames.bytes()));
  if (route.from != route.to && world_->faults().Fires(Fault::kNetReorder)) {
    arrival = arrival + Duration(random_.Below(5'000));
  } else {
    arrival = std::max(arrival, link->last_arrival);
    link->last_arrival = arrival;
  }
  deepest_queue_ = std::max(deepest_queue_, ++link->queued);
  // Leaves the queue when the message is handled, or when whoever should have done so is dead.
  std::shared_ptr<void> slot(nullptr, [link](void*) { --link->queued; });
  ProcessId meant_for = route.to_listener ? Listener(route.endpoint) : route.client;
  // std::function wants what it holds to be copyable.
  auto parcel = std::make_shared<Frames>(std::move(frames));
  world_->At(arrival, kWorld, [this, route, meant_for, slot, parcel, garbled] {
    Arrive(route, meant_for, slot, std::move(*parcel), garbled);
  });
}

void Fabric::Arrive(const Route& route, ProcessId meant_for, std::shared_ptr<void> slot,
                    Frames frames, bool garbled) {
  ProcessId to = route.to_listener ? Listener(route.endpoint) : route.client;
  // A connection that was made again carries some of what was sent over the old one.
  if (to != meant_for && random_.Chance(0.5)) return;
  if (to == kWorld || network(to) == nullptr) return;
  auto parcel = std::make_shared<Frames>(std::move(frames));
  world_->After({}, to, [this, route, to, slot, parcel, garbled] {
    HandOver(route, to, std::move(*parcel), garbled);
  });
}

void Fabric::HandOver(const Route& route, ProcessId to, Frames frames, bool garbled) {
  SimNetwork* network = this->network(to);
  if (network == nullptr) return;
  world_->Note("deliver", {route.sender, to, frames.bytes(), HashOf(frames)});
  ++delivered_;
  ShowObserver({.sent = false, .from = route.sender, .to = to, .garbled = garbled}, frames);
  network->Receive(route, std::move(frames));
}

}  // namespace holdfast::sim
