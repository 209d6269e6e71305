// SPDX-License-Identifier: Apache-2.0
#include "cached/promise_log.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace holdfast::cached {
namespace {

static_assert(entry::kRun == wire::kChunkObjects &&
              entry::kMaxObjects == wire::kMaxManifestObjects);

// Of the journal, more than a record takes: its own head, and those of a group that it is alone in.
uint64_t SpaceOf(size_t record_bytes) { return (record_bytes + 128 + 4095) / 4096 * 4096; }

}  // namespace

uint64_t PromiseLog::Limit() const { return context_->options.journal_bytes / 100 * 40; }

// Space is given back by groups, and one may have all that was in flight together.
uint64_t PromiseLog::MaxInFlight() const {
  return std::min(kMaxInFlight, context_->options.journal_bytes / 16);
}

uint64_t PromiseLog::memory_bytes() const {
  uint64_t bytes = queued_bytes_ + in_flight_;
  for (const auto& [list, described] : described_) bytes += described.words() * 8;
  return bytes;
}

void PromiseLog::Begin(uint32_t life, std::function<void()> ready) {
  life_ = life;
  ready_ = std::move(ready);
  BeginCheckpoint();
}

void PromiseLog::Fail(const Status& why) {
  if (!failure_.ok()) return;
  failure_ = why.Annotate("the journal of promises");
  context_->env.log->Error("node " + std::to_string(context_->options.node) +
                           " promises nothing until it is started again: " + failure_.message());
  checkpoint_.clear();
  for (Item& item : std::exchange(queue_, {})) {
    if (item.done) item.done(failure_);
  }
  queued_bytes_ = 0;
  described_.clear();
}

// --- 1. Promise ----------------------------------------------------------------------------------

void PromiseLog::Add(std::deque<Item>* queue, const Entry& entry) {
  const bool room = !queue->empty() && queue->back().record.size() < kMaxRecordBytes &&
                    !queue->back().done && !queue->back().closes;
  if (!room) queue->emplace_back();
  const size_t before = queue->back().record.size();
  AppendEntry(entry, &queue->back().record);
  queued_bytes_ += queue->back().record.size() - before;
}

// Everything that a restarted node needs of some objects of one run of a list, and of their promise.
void PromiseLog::Describe(std::deque<Item>* queue, const Commitment& commitment,
                          const std::vector<uint32_t>& indices, std::vector<entry::Name> names) {
  const planner::Manifest& manifest = *commitment.manifest;
  Bitmap& described =
      described_.try_emplace(commitment.list(), commitment.list_size()).first->second;
  entry::Objects objects{commitment.list(), commitment.list_size()};
  entry::Promise promise;
  for (uint32_t index : indices) {
    const uint32_t in_list = commitment.IndexInList(index);
    promise.indices.push_back(in_list);
    if (described.Get(in_list)) continue;
    described.Set(in_list);
    objects.indices.push_back(in_list);
    objects.described.push_back(
        {manifest.oid(index), manifest.object_bytes(index), manifest.version(index)});
    if (objects.indices.size() < kMaxDescribed) continue;
    Add(queue, std::exchange(objects, {commitment.list(), commitment.list_size()}));
  }
  if (!objects.indices.empty()) Add(queue, std::move(objects));
  entry::Names some{commitment.list()};
  size_t bytes = 0;
  for (entry::Name& name : names) {
    name.index = commitment.IndexInList(name.index);
    bytes += name.name.size() + name.etag.size();
    some.names.push_back(name);
    if (bytes < kMaxRecordBytes / 2) continue;
    Add(queue, std::exchange(some, {commitment.list()}));
    bytes = 0;
  }
  if (!some.names.empty()) Add(queue, std::move(some));
  const Commitments::Job* job = commitments_->Find(commitment.job);
  HF_CHECK(job != nullptr);
  const Time now = context_->Now();
  promise.job = commitment.job;
  promise.tenancy = job->tenancy;
  promise.lease = job->lease;
  promise.call = commitment.call;
  promise.digest = commitment.list();
  promise.count = commitment.list_size();
  promise.priority = commitment.priority;
  promise.name_allowance = static_cast<uint16_t>(commitment.name_allowance);
  // Its time may be over, and its end not noticed yet.
  promise.left = std::max(commitment.until - now, Duration(0));
  promise.boot = context_->options.boot;
  promise.since_boot = (now - Time{}) + context_->options.boot_ahead;
  Add(queue, std::move(promise));
}

void PromiseLog::Promise(const Commitment& commitment, uint32_t first, const Bitmap& chunk,
                         std::vector<entry::Name> names, Done done) {
  if (!failure_.ok()) {
    context_->env.clock->At(context_->Now(), [this, done = std::move(done)] { done(failure_); });
    return;
  }
  std::vector<uint32_t> indices;
  chunk.ForEach([&](size_t i) { indices.push_back(first + static_cast<uint32_t>(i)); });
  Describe(&queue_, commitment, indices, std::move(names));
  queue_.back().objects = indices.size();
  queue_.back().done = std::move(done);
  Pump();
}

void PromiseLog::OnJob(JobId job, uint64_t tenancy, std::optional<Duration> lease,
                       std::function<void()> known) {
  if (!on()) return known();
  if (!failure_.ok()) return;
  Add(&queue_, lease ? Entry(entry::Lease{job, tenancy, *lease}) : entry::End{job, tenancy});
  queue_.back().done = [known = std::move(known)](const Status& written) {
    if (written.ok()) known();
  };
  Pump();
}

// --- 2. Pump -------------------------------------------------------------------------------------

void PromiseLog::Pump() {
  while (failure_.ok() && in_flight_ < MaxInFlight()) {
    // The last record of a checkpoint waits until it is full.
    const bool ready =
        !checkpoint_.empty() && (checkpoint_.size() > 1 || checkpoint_.back().closes ||
                                 checkpoint_.back().record.size() >= kMaxRecordBytes);
    std::deque<Item>& from = ready ? checkpoint_ : queue_;
    if (from.empty()) break;
    if (&from == &queue_ && !HasRoomFor(from.front())) break;
    Item item = std::move(from.front());
    from.pop_front();
    queued_bytes_ -= item.record.size();
    Append(std::move(item));
  }
  const uint64_t grown = used_ - std::min(used_, last_size_);
  const bool due = grown > std::max(last_size_, context_->options.journal_bytes / 4);
  if (due && !checkpointing_ && failure_.ok()) BeginCheckpoint();
}

// A checkpoint may find room; when there was one just now, there is none.
bool PromiseLog::HasRoomFor(const Item& item) {
  // Leases and ends find room where promises do not.
  const uint64_t limit = item.objects > 0 ? Limit() : Limit() + Limit() / 8;
  if (used_ + SpaceOf(item.record.size()) <= limit) return true;
  if (checkpointing_) return false;
  const uint64_t grown = used_ - std::min(used_, last_size_);
  if (grown > Limit() / 8 || context_->Now() - checkpointed_ >= kBetweenCheckpoints) {
    BeginCheckpoint();
  } else {
    RefuseAll();
  }
  return false;
}

// What is queued may count on what is described before it in the queue.
void PromiseLog::RefuseAll() {
  const Status full = Status::NoSpace(
      "the journal has no room for more promises; raise journal.limit, or wait for promises to "
      "end");
  described_.clear();
  for (Item& item : std::exchange(queue_, {})) {
    queued_bytes_ -= item.record.size();
    counters_.refused_objects += item.objects;
    if (item.done) item.done(full);
  }
}

void PromiseLog::Append(Item item) {
  const std::vector<std::byte> record = std::move(item.record);
  const uint64_t bytes = record.size();
  in_flight_ += bytes;
  used_ += SpaceOf(bytes);
  counters_.bytes += bytes;
  counters_.promised_objects += item.objects;
  journal_->Append(record,
                   [this, bytes, item = std::move(item)](const Status& status, uint64_t sequence) {
                     in_flight_ -= bytes;
                     Appended(item, status, sequence);
                   });
}

void PromiseLog::Appended(const Item& item, const Status& status, uint64_t sequence) {
  if (!status.ok()) Fail(status);
  if (item.done) item.done(failure_);
  if (ready_) std::exchange(ready_, nullptr)();
  if (!failure_.ok()) return;
  if (item.opens) first_sequence_ = sequence;
  if (item.closes) EndCheckpoint();
  Pump();
  if (std::exchange(stalled_, false)) StepCheckpoint();
}

// --- 3. Checkpoint -------------------------------------------------------------------------------

// Its first record goes before anything that is promised from now on.
void PromiseLog::BeginCheckpoint() {
  checkpointing_ = true;
  described_.clear();
  cursor_ = {};
  used_before_ = used_;
  Item opening;
  AppendEntry(Owner(), &opening.record);
  opening.opens = true;
  Append(std::move(opening));
  StepCheckpoint();
}

Entry PromiseLog::Owner() const {
  return entry::Owner{context_->options.node, life_, Hash64(AsBytes(context_->options.cluster))};
}

// No more of it is in memory than a record that waits and one that is being filled.
void PromiseLog::StepCheckpoint() {
  if (!failure_.ok()) return;
  stalled_ = checkpoint_.size() > 1;
  if (stalled_) return;  // until something that is on its way has arrived
  const bool more = WriteNext();
  if (!more) {
    Add(&checkpoint_, Owner());
    checkpoint_.back().closes = true;
  }
  Pump();
  if (more) context_->env.clock->At(context_->Now(), [this] { StepCheckpoint(); });
}

// The next run of a commitment in which anything is promised; false when there is none.
bool PromiseLog::WriteNext() {
  const Commitment* commitment =
      cursor_.run > 0 ? std::as_const(*commitments_).Find(cursor_.job, cursor_.call) : nullptr;
  if (commitment == nullptr) {
    commitment = commitments_->Next(cursor_.job, cursor_.call);
    if (commitment == nullptr) return false;
    cursor_ = {commitment->job, commitment->call, 0};
  }
  const uint32_t begin = commitment->FromIndexInList(cursor_.run * entry::kRun);
  const uint32_t end = commitment->FromIndexInList(++cursor_.run * entry::kRun);
  std::vector<uint32_t> indices;
  for (uint32_t i = begin; i < end; ++i) {
    if (commitment->kept.Get(i) || commitment->pending.Get(i)) indices.push_back(i);
  }
  AddUntold(*commitment, begin, end, &indices);
  if (!indices.empty())
    Describe(&checkpoint_, *commitment, indices, names_of_(*commitment, begin, end));
  if (cursor_.run * entry::kRun >= commitment->list_size()) cursor_.run = 0;
  return true;
}

// What is lost stays promised until the job has seen that it is: another life tells it then.
void PromiseLog::AddUntold(const Commitment& commitment, uint32_t begin, uint32_t end,
                           std::vector<uint32_t>* indices) const {
  const Commitments::Job* job = commitments_->Find(commitment.job);
  if (job == nullptr || job->lost.empty()) return;
  for (const wire::Loss& loss : job->lost) {
    const uint32_t index = commitment.FromIndexInList(loss.index);
    if (index >= begin && index < end && commitment.IndexInList(index) == loss.index)
      indices->push_back(index);
  }
  std::sort(indices->begin(), indices->end());
  indices->erase(std::unique(indices->begin(), indices->end()), indices->end());
}

void PromiseLog::EndCheckpoint() {
  checkpointing_ = false;
  checkpointed_ = context_->Now();
  used_ -= used_before_;
  last_size_ = used_;
  ++counters_.checkpoints;
  if (Status status = journal_->Truncate(first_sequence_); !status.ok()) Fail(status);
}

}  // namespace holdfast::cached
