// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/promises.h"

#include <algorithm>

namespace holdfast::sim {
namespace {

// A loss has to be told within this time of the node's clock and this many looks (a clock may jump,
// and a process that was stopped needs a moment).
constexpr Duration kReportWithin = 1s;
constexpr uint32_t kLooks = 5;

}  // namespace

void Promises::Observe(const Delivery& delivery) {
  if (delivery.message == nullptr) return;
  if (delivery.sent) {
    if (auto* progress = std::get_if<wire::Progress>(delivery.message))
      OnProgress(delivery, *progress);
    return;
  }
  if (NodeHost* host = host_of_(delivery.to)) return AtNode(*host, delivery);
  AtJob(delivery);
}

void Promises::AtNode(NodeHost& host, const Delivery& delivery) {
  const wire::Message& message = *delivery.message;
  if (auto* call = std::get_if<wire::Call>(&message)) {
    auto list = lists_.find(delivery.from);
    if (delivery.garbled || list == lists_.end() || call->dry_run) return;
    Carry(host, delivery.to, call->job);
    Tenancy& tenancy = tenancies_[{delivery.to, call->job}];
    // A job that was given up comes back with nothing.
    if (tenancy.ended || tenancy.lease_until < host.clock().Peek()) tenancy = {};
    tenancy.list = &list->second;
    // To the node a call that comes again is no sign of life.
    if (!tenancy.calls.insert(call->call).second) return;
    tenancy.least_lease = std::min(tenancy.least_lease, call->lease);
    tenancy.lease_until = std::max(tenancy.lease_until, host.clock().Peek() + call->lease);
    return;
  }
  if (auto* confirm = std::get_if<wire::Confirm>(&message))
    return OnConfirm(host, delivery, *confirm);
  if (auto* beat = std::get_if<wire::Heartbeat>(&message)) {
    Carry(host, delivery.to, beat->job);
    auto it = tenancies_.find({delivery.to, beat->job});
    // A lease that is over stays over: the node may have given everything up.
    if (it == tenancies_.end() || it->second.lease_until < host.clock().Peek()) return;
    it->second.lease_until = host.clock().Peek() + beat->lease;
    it->second.least_lease = std::min(it->second.least_lease, beat->lease);
    return;
  }
  if (auto* end = std::get_if<wire::EndJob>(&message)) {
    Carry(host, delivery.to, end->job);
    auto it = tenancies_.find({delivery.to, end->job});
    if (it != tenancies_.end()) it->second.ended = true;
  }
}

// What the daemon's predecessors had promised to the job, the first time that the job is heard of. Their
// clocks are not this one's: a hundredth is left out. It counts from the start: a clock that jumped
// since then has used up what it jumped over.
void Promises::Carry(NodeHost& host, ProcessId process, JobId job) {
  if (tenancies_.contains({process, job})) return;
  const Time start = host.local_start();
  for (const EarlierLife& life : host.earlier()) {
    auto before = tenancies_.find({life.process, job});
    if (before == tenancies_.end()) continue;
    const Tenancy& old = before->second;
    if (old.list == nullptr || old.ended || old.number == 0 || old.carried) return;
    if (old.lease_until <= life.local_killed_at) return;
    Tenancy carried = old;
    carried.carried = true;
    carried.must_know = &life == &host.earlier().front() && MustKnow(host, old);
    carried.lease_until = start + old.least_lease;
    carried.missing.clear();
    const Duration down = (host.last_start() - life.killed_at) * 101 / 100;
    for (auto& [id, chunk] : carried.chunks) {
      chunk.until = start + (chunk.until - life.local_killed_at) * 99 / 100 - down;
      // It may have to be loaded again.
      chunk.keeps = Bitmap(chunk.keeps.size());
      chunk.held.assign(chunk.held.size(), false);
    }
    tenancies_[{process, job}] = std::move(carried);
    return;
  }
}

// As long as its first lease after the start is not over.
bool Promises::MustKnow(const NodeHost& host, const Tenancy& tenancy) const {
  const Duration since_start = const_cast<NodeHost&>(host).clock().Peek() - host.local_start();
  return since_start < tenancy.least_lease * 9 / 10;
}

// When it says so: it may have read its journal for longer than it had promised anything.
void Promises::Known(NodeHost* host, Key key, const wire::Progress& progress, Tenancy& tenancy) {
  if (tenancy.carried && (!progress.known || progress.tenancy != tenancy.number)) {
    const bool promised =
        host != nullptr && std::any_of(tenancy.chunks.begin(), tenancy.chunks.end(),
                                       [now = host->clock().Peek()](auto& entry) {
                                         const Chunk& chunk = entry.second;
                                         return chunk.until > now && !chunk.promised.None();
                                       });
    // What the job itself has ended, a heartbeat that comes later than that may ask for.
    if (tenancy.must_know && !tenancy.ended && promised) {
      world_->Violate("promises-survive",
                      "node " + std::to_string(host->node()) +
                          " was restarted and does not know what it had promised to job " +
                          std::to_string(key.second));
    }
    tenancy = {};  // whatever it knows began with this daemon
    tenancy.ended = true;
    return;
  }
  if (!tenancy.carried) return;
  tenancy.carried = false;
  for (const auto& [id, chunk] : tenancy.chunks) {
    counts_.carried += chunk.promised.Count();
    chunk.promised.ForEach([&, first = chunk.first](size_t bit) {
      if (first + bit >= tenancy.list->size()) return;
      const PlannedObject& object = (*tenancy.list)[first + bit];
      promised_to_[{key.first, object.oid, object.version}].insert(key.second);
    });
  }
}

void Promises::OnConfirm(NodeHost& host, const Delivery& delivery, const wire::Confirm& confirm) {
  auto it = tenancies_.find({delivery.to, confirm.job});
  if (it == tenancies_.end() || it->second.list == nullptr) return;
  Bitmap keeps = Bitmap::FromBytes(confirm.keep.view(), confirm.count);
  Bitmap bits = keeps;
  bits.OrAt(0, Bitmap::FromBytes(confirm.load.view(), confirm.count));
  auto [chunk, fresh] = it->second.chunks.try_emplace({confirm.call, confirm.first});
  Chunk& c = chunk->second;
  if (fresh || c.confirmed.size() != bits.size()) {
    c.confirmed = bits;
    c.promised = Bitmap(confirm.count);
    c.keeps = keeps;
    c.held.assign(confirm.count, false);
    c.first = confirm.first;
    c.received = host.clock().Peek();
    c.confirmed_at = world_->now();
    // It may hold them from now on, and long before it is acknowledged.
    bits.ForEach([&, list = it->second.list](size_t bit) {
      if (c.first + bit >= list->size()) return;
      const PlannedObject& object = (*list)[c.first + bit];
      promised_to_[{delivery.to, object.oid, object.version}].insert(confirm.job);
    });
    return;
  }
  // It came again, perhaps with other bits: which of them counts is the node's business.
  for (size_t w = 0; w < bits.words(); ++w) {
    c.confirmed.set_word(w, c.confirmed.word(w) & bits.word(w));
    c.keeps.set_word(w, c.keeps.word(w) & keeps.word(w));
  }
}

void Promises::AtJob(const Delivery& delivery) {
  if (delivery.garbled) return;
  if (auto* ack = std::get_if<wire::Ack>(delivery.message)) OnAck(delivery, *ack);
}

void Promises::OnAck(const Delivery& delivery, const wire::Ack& ack) {
  auto tenancy = tenancies_.find({delivery.from, ack.job});
  if (tenancy == tenancies_.end()) return;
  auto it = tenancy->second.chunks.find({ack.call, ack.first});
  if (it == tenancy->second.chunks.end() || it->second.confirmed.size() != ack.count) return;
  Chunk& c = it->second;
  Bitmap refused = Bitmap::FromBytes(ack.refused.view(), ack.count);
  if (world_->trace().printing() && !refused.None()) {
    world_->trace().Say(world_->now(), world_->NameOf(delivery.from) + " refuses " +
                                           std::to_string(refused.Count()) + " of job " +
                                           std::to_string(ack.job) + ", reason " +
                                           std::to_string(static_cast<int>(ack.why)));
  }
  bool first = c.promised.None();
  for (size_t w = 0; w < c.promised.words(); ++w) {
    uint64_t accepted = c.confirmed.word(w) & ~refused.word(w);
    c.promised.set_word(w, first ? accepted : c.promised.word(w) & accepted);
  }
  c.until = std::min(c.until, c.received + ack.t2);
  if (!tenancy->second.carried) tenancy->second.number = ack.tenancy;
  if (!first || tenancy->second.list == nullptr) return;
  counts_.promised += c.promised.Count();
  const PlannedList& list = *tenancy->second.list;
  c.promised.ForEach([&](size_t bit) {
    if (c.first + bit >= list.size()) return;
    const PlannedObject& object = list[c.first + bit];
    promised_to_[{delivery.from, object.oid, object.version}].insert(ack.job);
  });
}

void Promises::OnProgress(const Delivery& delivery, const wire::Progress& progress) {
  auto it = tenancies_.find({delivery.from, progress.job});
  if (it == tenancies_.end()) return;
  Known(host_of_(delivery.from), it->first, progress, it->second);
  if (!progress.known) it->second.ended = true;
  it->second.loads_left = progress.loads_left;
  for (const wire::Loss& loss : progress.lost) {
    it->second.lost[loss.index] = world_->now();
    if (world_->trace().printing()) {
      world_->trace().Say(world_->now(), "lost " + std::to_string(loss.index) + ": " + loss.text);
    }
  }
  NodeHost* host = host_of_(delivery.from);
  // Every load has been done or has failed; what failed is in this message, unless there was no
  // room for all.
  if (host != nullptr && progress.known && progress.loads_left == 0 &&
      progress.lost.size() < 1'000) {
    CheckTenancy(*host, progress.job, it->second, true);
  }
}

void Promises::Check(NodeHost& host) {
  if (world_->paused(host.process())) return;
  for (auto& [key, tenancy] : tenancies_) {
    if (key.first == host.process()) CheckTenancy(host, key.second, tenancy, false);
  }
}

void Promises::CheckTenancy(NodeHost& host, JobId job, Tenancy& tenancy, bool all_loaded) {
  Time now = host.clock().Peek();
  if (tenancy.list == nullptr || tenancy.ended || tenancy.carried || now >= tenancy.lease_until)
    return;
  for (auto& [id, chunk] : tenancy.chunks) {
    if (now >= chunk.until || chunk.first + chunk.promised.size() > tenancy.list->size()) continue;
    std::vector<Oid> oids;
    std::vector<VersionHash> versions;
    std::vector<uint32_t> bits;
    chunk.promised.ForEach([&, first = chunk.first, list = tenancy.list](size_t bit) {
      oids.push_back((*list)[first + bit].oid);
      versions.push_back((*list)[first + bit].version);
      bits.push_back(static_cast<uint32_t>(bit));
    });
    Bitmap here(oids.size());
    Bitmap held(oids.size());
    host.tier().FindMany(oids, versions, &here, &held);
    FindBelow(host, oids, versions, &here, &held);
    for (size_t i = 0; i < bits.size(); ++i) {
      CheckObject(host, job, tenancy, chunk, bits[i], here.Get(i), held.Get(i), all_loaded);
    }
  }
}

// What memory has no room for is held on the disk.
void Promises::FindBelow(const NodeHost& host, const std::vector<Oid>& oids,
                         const std::vector<VersionHash>& versions, Bitmap* here, Bitmap* held) {
  if (host.disk() == nullptr) return;
  Bitmap on_disk(oids.size()), held_there(oids.size());
  host.disk()->FindMany(oids, versions, &on_disk, &held_there);
  held_there.ForEach([&](size_t i) { counts_.below += held->Get(i) ? 0 : 1; });
  here->OrAt(0, held_there);
  held->OrAt(0, held_there);
}

void Promises::CheckObject(NodeHost& host, JobId job, Tenancy& tenancy, Chunk& chunk, uint32_t bit,
                           bool here, bool held, bool all_loaded) {
  ++counts_.looks;
  uint32_t index = chunk.first + bit;
  const FarObject* far = far_->Find((*tenancy.list)[index].oid);
  if (far != nullptr && world_->now() >= far->ends_at) return;  // a promise ends with its object
  auto lost = tenancy.lost.find(index);
  if (lost != tenancy.lost.end() && lost->second >= chunk.confirmed_at) return;
  auto where = [&] {
    return "object " + std::to_string(index) + " of job " + std::to_string(job) + " (" +
           ToHex((*tenancy.list)[index].oid) + ") at node " + std::to_string(host.node()) +
           ", promised at " + std::to_string(chunk.confirmed_at.us) +
           (chunk.keeps.Get(bit) ? " us as a keep" : " us as a load") +
           " (its node last said that " + std::to_string(tenancy.loads_left) +
           " are left to load),";
  };
  if (here) ++counts_.here;
  // A load is held when its turn in the queue has come; until then another job's promise may hold
  // the object, and end.
  const PlannedObject& object = (*tenancy.list)[index];
  bool own = chunk.keeps.Get(bit) || all_loaded ||
             promised_to_[{host.process(), object.oid, object.version}].size() == 1;
  if ((held && own) || (here && chunk.keeps.Get(bit))) chunk.held[bit] = true;
  if (all_loaded && !held) {
    world_->Violate("promises-are-kept",
                    where() + " is not held, and the node says that nothing is left to load");
  }
  if (held || !chunk.held[bit]) {
    tenancy.missing.erase(index);
    return;
  }
  Absence& absence = tenancy.missing.emplace(index, Absence{host.clock().Peek(), 0}).first->second;
  if (++absence.looks < kLooks || host.clock().Peek() - absence.since < kReportWithin) return;
  world_->Violate(
      here ? "promises-are-held" : "promises-are-kept",
      where() + (here ? " is there, but not held" : " is gone, and the job was not told"));
}

}  // namespace holdfast::sim
