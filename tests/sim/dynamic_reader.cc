// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/dynamic_reader.h"

#include <algorithm>

#include "base/hash.h"

namespace holdfast::sim {
namespace {

constexpr Duration kWatchEvery = 500ms;
// Times that a read is seen to be under way after its deadline: what follows the deadline is some
// steps, and a process that was stopped has all that it missed to do first.
constexpr uint32_t kMostOverdue = 10;

uint64_t Index(snapshot::Way way) { return static_cast<uint64_t>(way); }

VersionHash VersionOf(const FarInfo& info) { return HashVersion(info.etag, info.size); }

}  // namespace

void LookWatch::BulkRead(const std::string& bulk_endpoint, BulkMode mode,
                         std::vector<BulkItem> items, Time deadline,
                         std::function<void(size_t, BulkOutcome)> each) {
  if (mode != BulkMode::kLook) {
    return real_->BulkRead(bulk_endpoint, mode, std::move(items), deadline, std::move(each));
  }
  std::vector<Oid> oids;
  for (const BulkItem& item : items) oids.push_back(item.oid);
  real_->BulkRead(bulk_endpoint, mode, std::move(items), deadline,
                  [this, oids, node = static_cast<NodeId>(SimNetwork::HostOf(bulk_endpoint)),
                   each = std::move(each)](size_t item, const BulkOutcome& outcome) {
                    each(item, outcome);
                    looked_(node, oids[item], outcome);
                  });
}

DynamicReader::DynamicReader(Fabric* fabric, FarWorld* far, ProcessId process,
                             const DynamicSetup* setup, DynamicCounts* counts)
    : world_(fabric->world()),
      far_(far),
      process_(process),
      setup_(setup),
      counts_(counts),
      random_(world_->Stream("reader " + world_->NameOf(process))),
      env_(fabric, far, process, setup->host, RandomClock(world_, &random_), ""),
      network_(&env_.network, [this](NodeId node, const Oid& oid, const BulkOutcome& outcome) {
        Looked(node, oid, outcome);
      }) {}

DynamicReader::~DynamicReader() {
  if (session_ != nullptr) setup_->own_node->LeaveSession(session_);
}

Env DynamicReader::WatchedEnv() {
  Env env = env_.env();
  env.network = &network_;
  return env;
}

void DynamicReader::Start() {
  UseSession();
  cluster_ = std::make_unique<client::ClusterView>(WatchedEnv(), setup_->job);
  whereabouts_ =
      std::make_unique<client::Whereabouts>(WatchedEnv(), cluster_.get(), setup_->prices);
  whereabouts_->DecideBy([this](const Oid& oid) { return Decide(oid); });
  Next();
  Watch();
}

void DynamicReader::Kill() {
  world_->Kill(process_);
  if (session_ != nullptr) session_->EndAsKilled([] {});
}

void DynamicReader::UseSession() {
  if (setup_->own_node == nullptr) return;
  if (session_ != nullptr && session_->region() == setup_->own_node->region()) return;
  if (session_ != nullptr) setup_->own_node->LeaveSession(session_);
  session_ = setup_->own_node->OpenSession();
}

void DynamicReader::Next() {
  if (stopped_) return;
  world_->After(Duration(static_cast<int64_t>(
                    random_.Exponential(static_cast<double>(setup_->think.count())))),
                process_, [this] { Next(); });
  if (reads_.size() >= setup_->most) return;
  UseSession();
  const FarObject& object = Choose();
  std::optional<FarInfo> wanted;
  if (random_.Chance(setup_->version_share)) wanted = far_->InfoAt(object, world_->now());
  ++counts_->reads;
  if (ReadLocally(object, wanted)) return;
  const Duration least = setup_->timeout / 4;
  const Time deadline =
      env_.clock.Now() + least +
      Duration(random_.Below(static_cast<uint64_t>((setup_->timeout - least).count())));
  const uint64_t id = ++last_read_;
  reads_.emplace(id, Read{.object = &object,
                          .wanted = wanted,
                          .begun = world_->now(),
                          .deadline = env_.clock.WorldAt(deadline)});
  client::SingleRead::Start(
      {WatchedEnv(), cluster_.get(), whereabouts_.get(), setup_->chunk},
      {{.uri = object.uri,
        .version = wanted,
        .done = [this,
                 id](Result<client::SingleRead::Found> found) { Ended(id, std::move(found)); }}},
      deadline);
}

// Few are wanted often; of a large one also a chunk by its own name.
const FarObject& DynamicReader::Choose() {
  const double place = random_.Unit() * random_.Unit() * random_.Unit();
  const auto rank = static_cast<size_t>(place * static_cast<double>(setup_->objects.size()));
  const FarObject& object = far_->object(setup_->objects[rank]);
  if (setup_->chunk == 0 || object.size <= setup_->chunk || random_.Chance(0.3)) return object;
  const uint64_t chunks = (object.size - 1) / setup_->chunk + 1;
  const auto ranges = far_->RangesAt(object, random_.Below(chunks) * setup_->chunk);
  HF_CHECK(!ranges.empty());
  return *ranges.front();
}

void DynamicReader::Watch() {
  for (auto& [id, read] : reads_) {
    if (world_->now() <= read.deadline || ++read.overdue < kMostOverdue) continue;
    return world_->Fail(Verdict::kStuck, "reads-end", Where());
  }
  world_->After(kWatchEvery, process_, [this] { Watch(); });
}

bool DynamicReader::ReadLocally(const FarObject& object, const std::optional<FarInfo>& wanted) {
  if (session_ == nullptr) return false;
  const VersionHash version = wanted ? VersionOf(*wanted) : 0;
  Buffer bytes(std::max(object.size, object.later.size));
  const LocalOutcome outcome = session_->reader().Copy({object.oid, version, bytes.span()});
  if (outcome.code != Code::kOk) return false;
  Check(object, outcome.version, bytes.view().first(outcome.size), "a local copy");
  ++counts_->own_memory;
  world_->Note("own memory", {process_, object.oid.hi, outcome.version});
  return true;
}

snapshot::Decision DynamicReader::Decide(const Oid& oid) {
  snapshot::Decision decision = whereabouts_->DecideByLog(oid);
  if (!random_.Chance(setup_->die_share)) {
    ++counts_->ways[Index(decision.way)];
    return decision;
  }
  decision.way = static_cast<snapshot::Way>(random_.Below(kWays));
  decision.node = static_cast<NodeId>(random_.Below(setup_->job.members.size()));
  snapshot::Situation& thrown = decision.situation;
  thrown.age = Duration(static_cast<int64_t>(random_.Exponential(1e8)));
  thrown.seen = Duration(random_.Below(static_cast<uint64_t>(thrown.age.count()) + 1));
  thrown.ring = random_.Chance(0.5) ? snapshot::Ring::kKept : snapshot::Ring::kFresh;
  ++counts_->thrown[Index(decision.way)];
  return decision;
}

void DynamicReader::Looked(NodeId node, const Oid& oid, const BulkOutcome& outcome) {
  const Code code = outcome.status.code();
  world_->Note("look", {process_, node, oid.hi, static_cast<uint64_t>(code)});
  if (code == Code::kTimeout || code == Code::kUnavailable) ++counts_->silent;
  if (code != Code::kNotFound) return;
  ++counts_->gone;
  if (whereabouts_->log().known().At(snapshot::PrintOf(oid), node)) {
    world_->Violate("looks-teach", setup_->name + " looked at node " + std::to_string(node) +
                                       " in vain, and still believes that the object is there");
  }
}

void DynamicReader::Ended(uint64_t id, Result<client::SingleRead::Found> found) {
  auto it = reads_.find(id);
  if (it == reads_.end())
    return world_->Violate("flows-end", setup_->name + ": a read ended twice");
  const Read read = reads_.extract(it).mapped();
  if (!found.ok()) return Failed(read, found.status());
  if (found->larger) return Larger(read, *found->larger, found->chunk);
  if (read.begun >= read.object->ends_at) {
    world_->Violate("what-expired-is-not-read", setup_->name + " is given " + read.object->uri +
                                                    ", which had ended when it asked");
  }
  Check(*read.object, read.wanted ? VersionOf(*read.wanted) : 0, found->bytes.view(), "a read");
  if (found->source == ObjectSource::kPeer) ++counts_->found;
  if (found->source == ObjectSource::kThroughHome) ++counts_->through_home;
  if (found->source == ObjectSource::kFar) ++counts_->far;
  if (found->source == ObjectSource::kOwnDisk) ++counts_->own_disk;
  world_->Note("got",
               {process_, id, static_cast<uint64_t>(found->source), Hash64(found->bytes.view())});
}

// Its chunks are read by their own names, now and then. Of nodes that promise less the chunk is smaller,
// and what is a chunk here is cut there.
void DynamicReader::Larger(const Read& read, const FarInfo& info, uint64_t chunk) {
  const FarObject& object = *read.object;
  const VersionHash version = VersionOf(info);
  const bool right = read.wanted ? version == VersionOf(*read.wanted)
                                 : version == object.version || version == VersionOf(object.later);
  if (!right || info.size <= chunk || chunk > setup_->chunk)
    world_->Violate("right-bytes", setup_->name + ": " + object.uri + " is not that large");
  ++counts_->larger;
  world_->Note("larger", {process_, object.oid.hi, version});
}

void DynamicReader::Failed(const Read& read, const Status& status) {
  const FarObject& object = *read.object;
  const Time now = world_->now();
  const Code code = status.code();
  const bool changed = read.wanted ? VersionOf(far_->InfoAt(object, now)) != VersionOf(*read.wanted)
                                   : object.changes_at >= read.begun && object.changes_at <= now;
  const bool gone = object.missing || now >= object.ends_at;
  const bool refused = (gone && code == Code::kNotFound) ||
                       (object.denied && code == Code::kDenied) ||
                       (changed && code == Code::kChanged);
  // Or the far store failed this very reader, after its retries.
  const bool failed_here =
      env_.far.FailedWith(object.far_uri(), code) &&
      (code == Code::kUnavailable || code == Code::kTimeout || code == Code::kCorrupt);
  if (!refused && !failed_here) {
    world_->Violate("reads-do-not-fail",
                    setup_->name + " " + object.uri + ": " + status.ToString());
  }
  ++counts_->failed;
  world_->Note("not got", {process_, object.oid.hi, static_cast<uint64_t>(code)});
}

void DynamicReader::Check(const FarObject& object, VersionHash version, ByteView bytes,
                          std::string_view what) {
  const FarInfo first{object.size, object.etag};
  for (const FarInfo& info : {first, far_->InfoAt(object, world_->now())}) {
    const bool meant = version == 0 || version == VersionOf(info);
    if (meant && bytes.size() == info.size && FarWorld::Right(object, VersionOf(info), bytes)) {
      return;
    }
  }
  world_->Violate("right-bytes", setup_->name + ": " + std::string(what) + " of " + object.uri +
                                     " has wrong bytes");
}

std::string DynamicReader::Where() const {
  std::string text = setup_->name + " waits for " + std::to_string(reads_.size()) + " objects";
  for (const auto& [id, read] : reads_) {
    text += "; " + read.object->uri + " since " + std::to_string(read.begun.us / 1000) +
            " ms, to end within " + FormatDuration(read.deadline - world_->now());
  }
  return text;
}

}  // namespace holdfast::sim
