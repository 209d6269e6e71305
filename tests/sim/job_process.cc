// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/job_process.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "base/uri.h"

namespace holdfast::sim {
namespace {

// Times that an object may leave the own node's memory between being announced there and being
// looked for.
constexpr uint32_t kMaxTries = 200;
constexpr uint64_t kLocalCopy = 10;
constexpr uint64_t kLocalView = 11;
constexpr uint64_t kFailed = 12;

}  // namespace

JobProcess::JobProcess(Fabric* fabric, FarWorld* far, ProcessId process, const JobSetup* setup,
                       ReadCounts* counts, Time listed_at)
    : world_(fabric->world()),
      far_(far),
      process_(process),
      setup_(setup),
      counts_(counts),
      random_(world_->Stream("job " + world_->NameOf(process))),
      env_(fabric, far, process, setup->host, RandomClock(world_, &random_), "") {
  for (uint32_t index : setup->objects) {
    const FarObject& object = far->object(index);
    FarInfo info = far->InfoAt(object, listed_at);
    HF_CHECK(list_.Add(object.uri, info.size, info.etag).ok());
  }
  Result<jobclient::ChunkedList> chunks = jobclient::ChunkedList::Make(&list_, setup->chunk);
  HF_CHECK(chunks.ok());
  chunks_.emplace(*std::move(chunks));
  for (size_t i = 0; i < chunks_->pieces().size(); ++i) {
    const ObjectList::Item item = chunks_->pieces().item(i);
    const FarObject* object = far->Find(OidOf(item.uri));
    HF_CHECK(object != nullptr);
    listed_.push_back({object, item.size, HashVersion(item.etag, item.size)});
  }
}

JobProcess::~JobProcess() {
  reader_.reset();
  job_.reset();
  views_.clear();
  if (session_ != nullptr) setup_->own_node->LeaveSession(session_);
}

void JobProcess::Start() {
  UseSession();
  job_ = std::make_unique<jobclient::Job>(env_.env(), setup_->job);
  job_->Plan(&chunks_->pieces(),
             [this](Result<jobclient::PlanReport> report) { Planned(std::move(report)); });
}

void JobProcess::Kill() {
  world_->Kill(process_);
  if (session_ == nullptr) return;
  session_->EndAsKilled([this] {
    reader_.reset();
    job_.reset();
    views_.clear();
  });
}

void JobProcess::UseSession() {
  if (setup_->own_node == nullptr) return;
  if (session_ != nullptr && session_->region() == setup_->own_node->region()) return;
  // The node has a new region: views on the old one are still good, so it goes when they have gone.
  if (!views_.empty()) return;
  if (session_ != nullptr) setup_->own_node->LeaveSession(session_);
  session_ = setup_->own_node->OpenSession();
}

void JobProcess::Planned(Result<jobclient::PlanReport> report) {
  if (report_.has_value()) return world_->Violate("flows-end", setup_->name + " was planned twice");
  if (!report.ok())
    return world_->Violate("reads-do-not-fail", "plan: " + report.status().ToString());
  report_ = *report;
  world_->Note("planned",
               {process_, report_->kept_objects, report_->load_objects, report_->far_objects});
  StartEpoch();
}

void JobProcess::StartEpoch() {
  if (epoch_ == setup_->epochs) {
    reader_.reset();
    job_->End();
    done_ = true;
    world_->Note("done", {process_});
    return;
  }
  ++epoch_;
  job_->Rewind();
  std::vector<uint32_t> order(setup_->objects.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint32_t>(i);
  if (epoch_ > 1) random_.Shuffle(order);
  order_ = chunks_->OrderOf(order);
  next_ = 0;
  ready_.clear();
  expected_local_.clear();
  reader_ = std::make_unique<jobclient::OrderedReader>(
      env_.env(), job_.get(), &chunks_->pieces(), order_, setup_->reader,
      [this](uint32_t index) { return ExpectLocal(index); },
      [this](uint64_t ordinal, jobclient::ReadResult result) {
        Ready(ordinal, std::move(result));
      });
  reader_->Start();
  ReadNext();
}

bool JobProcess::ExpectLocal(uint32_t index) {
  // The first answer stands, so that both sides agree on who fetches.
  bool local = session_ != nullptr && job_->NodeOf(index) == setup_->own_node->node();
  return expected_local_.emplace(index, local).first->second;
}

void JobProcess::ReadNext() {
  if (next_ == order_.size()) {
    // Not from inside a callback of the reader that goes.
    world_->After({}, process_, [this] { StartEpoch(); });
    return;
  }
  UseSession();
  tries_ = 0;
  asked_ = false;
  WaitFor(next_);
}

void JobProcess::WaitFor(uint64_t ordinal) {
  if (auto it = ready_.find(ordinal); it != ready_.end()) {
    jobclient::ReadResult result = std::move(it->second);
    ready_.erase(it);
    return Take(std::move(result));
  }
  uint32_t index = job_->IndexOf(order_[ordinal]);
  if (ReadLocally(ObjectAt(ordinal), index)) return;
  waiting_ = true;
  auto expected = expected_local_.find(index);
  if (expected != expected_local_.end() && expected->second && !asked_) {
    asked_ = true;
    reader_->Missed(ordinal);
  }
}

void JobProcess::Ready(uint64_t ordinal, jobclient::ReadResult result) {
  if (ordinal >= order_.size())
    return world_->Violate("flows-end", "an ordinal beyond the order is ready");
  if (ordinal < next_) return;  // was in the own memory in the meantime
  if (ordinal == next_ && waiting_) {
    waiting_ = false;
    return Take(std::move(result));
  }
  if (!ready_.emplace(ordinal, std::move(result)).second) {
    world_->Violate("flows-end", "an ordinal is ready twice");
  }
}

bool JobProcess::ReadLocally(const ListedObject& object, uint32_t index) {
  if (session_ == nullptr) return false;
  if (random_.Chance(setup_->view_share)) return ViewLocally(object, index);
  Buffer bytes(object.size);
  LocalOutcome outcome =
      session_->reader().Copy({object.object->oid, object.version, bytes.span()});
  if (outcome.code != Code::kOk) return false;
  if (outcome.size != object.size || outcome.version != object.version) {
    world_->Violate("right-bytes", "a local copy of another version of " + object.object->uri);
  }
  CheckNotEnded(object);
  Check(object, bytes.view(), "a local copy");
  ++counts_->local;
  Advance(kLocalCopy, Hash64(bytes.view()));
  return true;
}

bool JobProcess::ViewLocally(const ListedObject& object, uint32_t) {
  bool over_grant = false;
  LocalView view = session_->reader().View(object.object->oid, object.version, &over_grant);
  if (!view) {
    if (!over_grant) return false;
    view = session_->reader().Pin(object.object->oid, object.version);  // as a copy would
    if (!view) return false;
    session_->reader().MarkRead(view);
  }
  CheckNotEnded(object);
  Check(object, view.payload(), "a new view");
  uint64_t hash = Hash64(view.payload());
  uint64_t id = ++last_view_;
  if (over_grant) {
    view.Release();
  } else {
    views_.emplace(id, HeldView{std::move(view), object});
    world_->After(Duration(random_.Below(static_cast<uint64_t>(setup_->hold_views.count()) + 1)),
                  process_, [this, id] { ReleaseView(id); });
  }
  ++counts_->views;
  Advance(kLocalView, hash);
  return true;
}

void JobProcess::ReleaseView(uint64_t id) {
  auto it = views_.find(id);
  if (it == views_.end()) return;
  Check(it->second.object, it->second.view.payload(), "a view at its end");
  views_.erase(it);
}

void JobProcess::Take(jobclient::ReadResult result) {
  const ListedObject& object = ObjectAt(next_);
  if (!result.status.ok()) return Failed(object, result.status);
  if (result.local) {
    if (ReadLocally(object, job_->IndexOf(order_[next_]))) return;
    // It has left again, or the daemon has been replaced; ask once more.
    if (++tries_ > kMaxTries)
      return world_->Violate("flows-end", "announced in the own memory, but never there");
    waiting_ = true;
    reader_->Missed(next_);
    return;
  }
  Check(object, result.bytes.view(), "a read");
  switch (result.source) {
    case jobclient::Source::kLocal:
      ++counts_->local;
      break;
    case jobclient::Source::kPeer:
      ++counts_->peer;
      break;
    case jobclient::Source::kThroughHome:
      ++counts_->through_home;
      break;
    case jobclient::Source::kFar:
      ++counts_->far;
      break;
    case jobclient::Source::kOwnDisk:
      ++counts_->own_disk;
      break;
  }
  Advance(static_cast<uint64_t>(result.source), Hash64(result.bytes.view()));
}

bool JobProcess::Changed(const ListedObject& object) const {
  FarInfo now = far_->InfoAt(*object.object, world_->now());
  return HashVersion(now.etag, now.size) != object.version;
}

void JobProcess::Failed(const ListedObject& object, const Status& status) {
  const bool ended = world_->now() >= object.object->ends_at;
  bool refused = ((object.object->missing || ended) && status.code() == Code::kNotFound) ||
                 (object.object->denied && status.code() == Code::kDenied) ||
                 (status.code() == Code::kChanged && Changed(object));
  // Or the far store failed this very reader, after its retries.
  const Code code = status.code();
  bool failed_here =
      env_.far.FailedWith(object.object->far_uri(), code) &&
      (code == Code::kUnavailable || code == Code::kTimeout || code == Code::kCorrupt);
  if (!refused && !failed_here) {
    world_->Violate("reads-do-not-fail",
                    setup_->name + " " + object.object->uri + ": " + status.ToString());
  }
  ++counts_->failed;
  Advance(kFailed, static_cast<uint64_t>(status.code()));
}

void JobProcess::CheckNotEnded(const ListedObject& object) {
  if (world_->now() < object.object->ends_at) return;
  world_->Violate("what-expired-is-not-read",
                  setup_->name + " finds " + object.object->uri + " in its node's memory");
}

void JobProcess::Check(const ListedObject& object, ByteView bytes, std::string_view what) {
  if (bytes.size() == object.size && FarWorld::Right(*object.object, object.version, bytes)) return;
  world_->Violate("right-bytes",
                  std::string(what) + " of " + object.object->uri + " has wrong bytes");
}

void JobProcess::Advance(uint64_t how, uint64_t hash) {
  world_->Note("read", {process_, epoch_, next_, how, hash});
  ++counts_->reads;
  if (ObjectAt(next_).object->whole != nullptr) ++counts_->chunks;
  job_->MarkRead(job_->IndexOf(order_[next_]));
  uint64_t ordinal = next_++;
  waiting_ = false;
  reader_->Consumed(ordinal + 1);
  Duration think(
      static_cast<int64_t>(random_.Exponential(static_cast<double>(setup_->think.count()) + 1)));
  world_->After(think, process_, [this] { ReadNext(); });
}

std::string JobProcess::Where() const {
  if (!report_.has_value()) return setup_->name + " is planning";
  return setup_->name + " waits for ordinal " + std::to_string(next_) + " of " +
         std::to_string(order_.size()) + " in epoch " + std::to_string(epoch_);
}

}  // namespace holdfast::sim
