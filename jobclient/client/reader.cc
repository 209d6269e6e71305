// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <cstring>
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
      job->loop_job->env.env(), core, &job->loop_job->chunks->pieces(),
      job->loop_job->chunks->OrderOf(options.order),
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

uint64_t Reader::done() const { return parts_->given; }
uint64_t Reader::total() const { return parts_->options.order.size(); }
Result<std::optional<Object>> Reader::Next() { return parts_->Next(); }

Result<std::optional<Object>> Reader::Parts::Next() {
  if (given >= options.order.size()) return std::optional<Object>();
  const uint32_t position = options.order[given++];
  const jobclient::ChunkedList& chunks = *job->loop_job->chunks;
  const ObjectList::Item item = job->loop_job->list.item(position);
  const uint32_t first = chunks.FirstOf(position), last = chunks.FirstOf(position + size_t{1});
  Result<Object> object =
      last - first == 1 ? NextPiece(first) : PutTogether(first, last, item.size);
  if (!object.ok()) {
    ++report.failed;
    const Status status = object.status();
    return Names(status, item.uri) ? status : status.Annotate(std::string(item.uri));
  }
  object->name_ = item.uri;
  object->position_ = position;
  ++report.objects[static_cast<size_t>(object->source())];
  return std::optional<Object>(*std::move(object));
}

// In its own memory, so that what there is at a time is the object and the look-ahead.
Result<Object> Reader::Parts::PutTogether(uint32_t first, uint32_t last, uint64_t size) {
  Buffer whole;
  Status status;
  if (!whole.TryResize(size)) {
    status = Status::NoSpace("its " + FormatBytes(size) + " do not fit into this process's memory");
  }
  uint64_t at = 0;
  ObjectSource source = ObjectSource::kLocal;
  for (uint32_t piece = first; piece < last; ++piece) {
    if (!status.ok()) {  // what is left of it is nobody's any more
      Passed(last - piece, 0);
      return status;
    }
    Result<Object> part = NextPiece(piece);
    if (part.ok() && part->size() > size - at)
      part = Status::Corrupt("its chunks have more bytes than it has");
    status = part.status();
    if (!status.ok()) continue;
    std::memcpy(whole.data() + at, part->bytes().data(), part->size());
    at += part->size();
    source = client::FartherOf(source, part->source());
  }
  if (status.ok() && at != size)
    status = Status::Corrupt("its chunks have fewer bytes than it has");
  if (!status.ok()) return status;
  return Object({}, 0, std::move(whole), source);
}

// The one at `next`. Its bytes are counted, and where they came from.
Result<Object> Reader::Parts::NextPiece(uint32_t piece) {
  jobclient::Job& core = *job->loop_job->job;
  const uint32_t index = core.IndexOf(piece);
  const bool own = client->own != nullptr && core.NodeOf(index) == client->own_node();
  if (own) {
    if (std::optional<Object> object = TryLocal(index)) return *std::move(object);
    if (std::optional<Object> object = Watch(index)) return *std::move(object);
  }
  while (true) {
    jobclient::ReadResult result = Await();
    if (own) loads_come = result.local;
    if (result.local) {
      if (std::optional<Object> object = TryLocal(index)) return *std::move(object);
      continue;  // it went again, or came in another version: its bytes are asked for now
    }
    Passed(1, result.bytes.size());
    if (!result.status.ok()) return result.status;
    report.bytes[static_cast<size_t>(result.source)] += result.bytes.size();
    return Object({}, 0, std::move(result.bytes), static_cast<ObjectSource>(result.source));
  }
}

std::optional<Object> Reader::Parts::TryLocal(uint32_t index) {
  const planner::Manifest& manifest = job->loop_job->job->manifest();
  std::optional<Object> object =
      client->ReadLocal({}, 0, manifest.oid(index), manifest.version(index));
  if (!object) return std::nullopt;
  report.bytes[static_cast<size_t>(ObjectSource::kLocal)] += object->size();
  Passed(1, 0);
  return object;
}

// The own node is loading it: to look again now and then costs a few wake-ups, and to ask the
// node five at least, through its threads and ours and back. Not for long, and not when the last one that
// was waited for did not come: it may be lost.
std::optional<Object> Reader::Parts::Watch(uint32_t index) {
  if (!loads_come || IsReady(next)) return std::nullopt;
  const auto since = std::chrono::steady_clock::now();
  auto watched = [since] { return std::chrono::steady_clock::now() - since; };
  std::optional<Object> object;
  for (Duration nap = kShortestNap; !object && watched() < kWatch;
       nap = std::min(2 * nap, kLongestNap)) {
    std::this_thread::sleep_for(nap);
    object = TryLocal(index);
  }
  report.waited += std::chrono::duration_cast<Duration>(watched());
  return object;
}

bool Reader::Parts::IsReady(uint64_t ordinal) {
  std::lock_guard lock(mutex);
  return ready.contains(ordinal);
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

void Reader::Parts::Passed(uint64_t pieces, uint64_t bytes) {
  next += pieces;
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
