// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/uri.h"
#include "jobclient/client/parts.h"

namespace holdfast {
namespace {

static_assert(static_cast<int>(ObjectSource::kLocal) ==
                  static_cast<int>(jobclient::Source::kLocal) &&
              static_cast<int>(ObjectSource::kFar) == static_cast<int>(jobclient::Source::kFar) &&
              static_cast<int>(ObjectSource::kOwnDisk) ==
                  static_cast<int>(jobclient::Source::kOwnDisk));

constexpr Duration kShortestNap = 50us;
constexpr Duration kLongestNap = 400us;
constexpr Duration kWatch = 5ms;

// Far stores name the object themselves, a directory by its path.
bool Names(const Status& status, std::string_view uri) {
  constexpr std::string_view kFile = "file://";
  if (status.message().find(uri) != std::string::npos) return true;
  if (!uri.starts_with(kFile)) return false;
  Result<std::string> path = PercentDecode(uri.substr(kFile.size()));
  return path.ok() && status.message().find(*path) != std::string::npos;
}

}  // namespace

// --- On the loop's thread ------------------------------------------------------------------------

void Reader::Parts::Open() {
  jobclient::Job* core = job->loop_job->job.get();
  const NodeId own = client->own_node();
  ordered = std::make_unique<jobclient::OrderedReader>(
      job->loop_job->env.env(), core, &job->loop_job->list, options.order,
      jobclient::OrderedReaderOptions{.look_ahead_bytes = options.look_ahead_bytes,
                                      .look_ahead_objects = options.look_ahead_objects,
                                      .batch_objects = 64,
                                      .wait = options.wait,
                                      .far_deadline = options.far_deadline,
                                      .own_disk = client->own_disk != nullptr,
                                      .last_pass = options.last_pass},
      [core, own](uint32_t index) { return own != kNoNode && core->NodeOf(index) == own; },
      [this](uint64_t ordinal, jobclient::ReadResult result) {
        OnReady(ordinal, std::move(result));
      });
  ordered->Start();
}

void Reader::Parts::OnReady(uint64_t ordinal, jobclient::ReadResult result) {
  std::lock_guard lock(mutex);
  ready.insert_or_assign(ordinal, std::move(result));
  if (ordinal == waiting_for) arrived.notify_one();
}

// --- On the user's thread ------------------------------------------------------------------------

Reader::Reader(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Reader::~Reader() {
  parts_->client->thread->Call([this] { parts_->ordered.reset(); });
}

uint64_t Reader::done() const { return parts_->next; }
uint64_t Reader::total() const { return parts_->options.order.size(); }
Result<std::optional<Object>> Reader::Next() { return parts_->Next(); }

Result<std::optional<Object>> Reader::Parts::Next() {
  if (next >= options.order.size()) return std::optional<Object>();
  const uint32_t position = options.order[next];
  jobclient::Job& core = *job->loop_job->job;
  const uint32_t index = core.IndexOf(position);
  const bool own = client->own != nullptr && core.NodeOf(index) == client->own_node();
  if (own) {
    if (std::optional<Object> object = TryLocal(index, position)) return object;
    if (std::optional<Object> object = Watch(index, position)) return object;
  }
  while (true) {
    jobclient::ReadResult result = Await();
    if (own) loads_come = result.local;
    if (result.local) {
      if (std::optional<Object> object = TryLocal(index, position)) return object;
      continue;  // it went again, or came in another version: its bytes are asked for now
    }
    Passed(result.bytes.size());
    if (!result.status.ok()) {
      ++report.failed;
      const std::string_view name = job->loop_job->list.item(position).uri;
      if (Names(result.status, name)) return result.status;
      return result.status.Annotate(std::string(name));
    }
    Count(static_cast<ObjectSource>(result.source), result.bytes.size());
    return std::optional<Object>(Object(job->loop_job->list.item(position).uri, position,
                                        std::move(result.bytes),
                                        static_cast<ObjectSource>(result.source)));
  }
}

std::optional<Object> Reader::Parts::TryLocal(uint32_t index, uint32_t position) {
  const planner::Manifest& manifest = job->loop_job->job->manifest();
  std::optional<Object> object = client->ReadLocal(job->loop_job->list.item(position).uri, position,
                                                   manifest.oid(index), manifest.version(index));
  if (!object) return std::nullopt;
  Count(ObjectSource::kLocal, object->size());
  Passed(0);
  return object;
}

// The own node is loading it: to look again now and then costs a few wake-ups, and to ask the
// node five at least, through its threads and ours and back. Not for long, and not when the last one that
// was waited for did not come: it may be lost.
std::optional<Object> Reader::Parts::Watch(uint32_t index, uint32_t position) {
  if (!loads_come || IsReady(next)) return std::nullopt;
  const auto since = std::chrono::steady_clock::now();
  auto watched = [since] { return std::chrono::steady_clock::now() - since; };
  std::optional<Object> object;
  for (Duration nap = kShortestNap; !object && watched() < kWatch;
       nap = std::min(2 * nap, kLongestNap)) {
    std::this_thread::sleep_for(nap);
    object = TryLocal(index, position);
  }
  report.waited += std::chrono::duration_cast<Duration>(watched());
  return object;
}

bool Reader::Parts::IsReady(uint64_t ordinal) {
  std::lock_guard lock(mutex);
  return ready.contains(ordinal);
}

// What the user was given. Not what was fetched: that may have come twice, ahead of the user and by
// his own node.
void Reader::Parts::Count(ObjectSource source, uint64_t bytes) {
  ++report.objects[static_cast<size_t>(source)];
  report.bytes[static_cast<size_t>(source)] += bytes;
}

// Takes the result for `next`, waiting for it. Whoever has to wait tells the loop what is wanted:
// the object may have been left to the own node's memory, which does not have it.
jobclient::ReadResult Reader::Parts::Await() {
  std::unique_lock lock(mutex);
  auto it = ready.find(next);
  if (it == ready.end()) {
    lock.unlock();
    Tell(true);
    const auto since = std::chrono::steady_clock::now();
    lock.lock();
    waiting_for = next;
    arrived.wait(lock, [this] { return ready.contains(next); });
    waiting_for = UINT64_MAX;
    report.waited += std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - since);
    it = ready.find(next);
  }
  return std::move(ready.extract(it).mapped());
}

void Reader::Parts::Passed(uint64_t bytes) {
  ++next;
  untold_bytes += bytes;
  // The window moves in steps: each costs a lock and, if the loop sleeps, a wake-up.
  if (next - told >= std::max(options.look_ahead_objects / 8, 1u) ||
      untold_bytes >= options.look_ahead_bytes / 8) {
    Tell(false);
  }
}

void Reader::Parts::Tell(bool missed) {
  told = next;
  untold_bytes = 0;
  client->thread->Post([this, ordinal = next, missed] {
    ordered->Consumed(ordinal);
    {
      std::lock_guard lock(mutex);  // what landed for objects that came another way
      ready.erase(ready.begin(), ready.lower_bound(ordinal));
    }
    if (missed) ordered->Missed(ordinal);
  });
}

ReaderReport Reader::Report() const {
  jobclient::ReadCounters counters =
      parts_->client->thread->Call([this] { return parts_->ordered->Counters(); });
  ReaderReport report = parts_->report;
  report.detours = counters.detours;
  return report;
}

}  // namespace holdfast
