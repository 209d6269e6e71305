// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/visitors.h"

#include "base/hash.h"

namespace holdfast::sim {
namespace {

constexpr size_t kMostViews = 16;
constexpr uint64_t kMeanPauseUs = 60'000;

}  // namespace

Visitor::Visitor(World* world, FarWorld* far, NodeHost* host, uint32_t background,
                 VisitCounts* counts)
    : world_(world),
      far_(far),
      host_(host),
      background_(background),
      counts_(counts),
      random_(world->Stream("visitor " + std::to_string(host->node()))),
      longest_(1'000 + random_.Below(10'000'000)) {}

void Visitor::Start() {
  process_ =
      world_->Spawn("visitor-" + std::to_string(host_->node()) + "." + std::to_string(++starts_));
  world_->After(Duration(random_.Below(2'000'000)), process_, [this] { Visit(); });
}

void Visitor::Visit() {
  if (session_ == nullptr || (session_->region() != host_->region() && views_.empty())) {
    if (session_ != nullptr) host_->LeaveSession(session_);
    session_ = host_->OpenSession();
  }
  if (session_ != nullptr) {
    for (int i = 0; i < 4; ++i) {
      const FarObject& object = far_->object(static_cast<uint32_t>(random_.Below(far_->size())));
      bool later = object.changes_at != Time::Max() && random_.Chance(0.5);
      Look(object, later ? HashVersion(object.later.etag, object.later.size) : object.version);
    }
  }
  const bool wants = background_ > 0 && world_->now() >= host_->quiet_until();
  if (wants && host_->up() && !world_->faults().stopped()) Fetch();
  bool dies = world_->faults().enabled(Fault::kJobKill) && !world_->faults().stopped() &&
              random_.Chance(0.002);
  if (dies) {
    world_->After({}, kWorld, [this] {
      Die();
      Start();
    });
    return;
  }
  world_->After(Duration(static_cast<int64_t>(random_.Exponential(kMeanPauseUs))), process_,
                [this] { Visit(); });
}

void Visitor::Look(const FarObject& object, VersionHash version) {
  ++counts_->looks;
  bool over_grant = false;
  if (random_.Chance(0.5) && views_.size() < kMostViews) {
    LocalView view = session_->reader().View(object.oid, version, &over_grant);
    if (!view) return;
    ++counts_->views;
    if (view.version() != version)
      world_->Violate("right-bytes", "a view of another version of " + object.uri);
    CheckNotEnded(object);
    Check(object, version, view.payload());
    return Keep(object, std::move(view));
  }
  Buffer room(object.size + 64);
  LocalOutcome outcome = session_->reader().Copy({object.oid, version, room.span()});
  if (outcome.code != Code::kOk) return;
  ++counts_->found;
  CheckNotEnded(object);
  if (outcome.version != version)
    world_->Violate("right-bytes", "a copy of another version of " + object.uri);
  Check(object, version, room.view().first(outcome.size));
}

void Visitor::Fetch() {
  const bool by_name = random_.Chance(0.5);
  const uint64_t from_last = random_.Below(by_name ? far_->size() : background_);
  const FarObject& object = far_->object(static_cast<uint32_t>(far_->size() - 1 - from_last));
  // As the bulk server would, on the node's process.
  world_->After({}, host_->process(), [this, &object, by_name] {
    bulk::ReadMiss miss{.oid = object.oid,
                        .version = object.version,
                        .size = object.size,
                        .name = object.uri,
                        .etag = object.etag,
                        .mode = BulkMode::kFetch,
                        .patience = 10s};
    if (by_name) {
      miss.version = miss.size = 0;
      miss.etag.clear();
    }
    host_->core().OnMiss(std::move(miss),
                         [this](const Status& status) { counts_->fetched += status.ok() ? 1 : 0; });
  });
}

void Visitor::Keep(const FarObject& object, LocalView view) {
  uint64_t id = ++last_view_;
  views_.emplace(id, Held{std::move(view), &object});
  Duration hold(random_.Below(static_cast<uint64_t>(longest_.count())));
  world_->After(hold, process_, [this, id] {
    auto it = views_.find(id);
    Check(*it->second.object, it->second.view.version(), it->second.view.payload());
    views_.erase(it);
  });
}

void Visitor::CheckNotEnded(const FarObject& object) {
  if (world_->now() < object.ends_at) return;
  world_->Violate("what-expired-is-not-read",
                  "a visitor of node " + std::to_string(host_->node()) + " finds " + object.uri);
}

void Visitor::Check(const FarObject& object, VersionHash version, ByteView bytes) {
  world_->Note("visit", {process_, Hash64(bytes)});
  if (FarWorld::Right(object, version, bytes)) return;
  world_->Violate("right-bytes", "a visitor of node " + std::to_string(host_->node()) +
                                     " sees wrong bytes of " + object.uri);
}

void Visitor::Die() {
  world_->Kill(process_);
  if (session_ == nullptr) return;
  session_->EndAsKilled([this] { views_.clear(); });
  host_->LeaveSession(session_);
  session_.reset();
}

void Visitor::End() {
  world_->Kill(process_);
  views_.clear();
  if (session_ != nullptr) host_->LeaveSession(session_);
  session_.reset();
}

}  // namespace holdfast::sim
