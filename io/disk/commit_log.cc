// SPDX-License-Identifier: Apache-2.0
#include "io/disk/commit_log.h"

#include <algorithm>
#include <random>

#include "base/hash.h"
#include "base/units.h"
#include "io/disk/log_reader.h"
#include "io/disk/short_slice.h"

namespace holdfast::disk {
namespace {

uint64_t NewLogId() {
  std::random_device entropy;
  return (uint64_t{entropy()} << 32 | entropy()) | 1;
}

}  // namespace

Result<std::unique_ptr<CommitLog>> CommitLog::Open(const CommitLogOptions& options) {
  const uint64_t ring = options.bytes / kBlockBytes * kBlockBytes;
  if (ring < kMinRingBytes) {
    return Status::Invalid("a journal of " + FormatBytes(options.bytes) + " is too small for " +
                           options.path + "; the smallest has " + FormatBytes(kMinRingBytes));
  }
  Buffer first = FirstBlocks(NewLogId(), ring);
  auto file = OpenBlockFile(
      {.path = options.path, .new_bytes = kHeadsBytes + ring, .new_blocks = first.view()});
  if (!file.ok()) return file.status();
  return Open(*std::move(file), options.sync);
}

Result<std::unique_ptr<CommitLog>> CommitLog::Open(std::unique_ptr<BlockFile> file, bool sync) {
  Result<LogHeads> heads = ReadHeads(file.get());
  if (!heads.ok()) return heads.status();
  const LogHead& head = heads->newest;
  LogReader reader(file.get(), head.log_id, head.ring_bytes);
  auto groups = reader.FindGroups(*heads);
  if (!groups.ok()) return groups.status();
  // What was read may be in the kernel's memory alone, and must not be lost when what is written
  // after it is kept.
  HF_RETURN_IF_ERROR(file->Sync());
  return std::unique_ptr<CommitLog>(new CommitLog(std::move(file), sync, head, *std::move(groups)));
}

CommitLog::CommitLog(std::unique_ptr<BlockFile> file, bool sync, const LogHead& head,
                     std::deque<uint64_t> groups)
    : file_(std::move(file)),
      sync_(sync),
      durable_(groups.back()),
      wanted_(head.first),
      head_(head),
      groups_(std::move(groups)),
      staging_(groups_.back(), RingEnd()) {
  groups_.pop_back();
  writer_ = std::thread([this] { Run(); });
}

CommitLog::~CommitLog() {
  stop_.store(true);
  Go();
  staging_.WakeWriter();
  writer_.join();
}

Status CommitLog::CheckSize(uint64_t bytes) const {
  const uint64_t most =
      std::min(kMaxRecordBytes, head_.ring_bytes - kGroupHeaderBytes - kRecordHeaderBytes);
  if (bytes <= most) return {};
  return Status::Invalid("a record of " + std::to_string(bytes) + " bytes is too long for " +
                         file_->path() + "; it takes at most " + std::to_string(most));
}

Status CommitLog::RingFull() const {
  return Status::NoSpace("the journal " + file_->path() + " is full (" +
                         FormatBytes(file_->bytes()) +
                         "): what is in it is safe; give space back or make it larger");
}

Status CommitLog::Failure() {
  std::lock_guard lock(mutex_);
  return failure_;
}

Result<uint64_t> CommitLog::Append(ByteView record, ByteView more) {
  HF_RETURN_IF_ERROR(CheckSize(record.size() + more.size()));
  while (true) {
    if (Failed()) return Failure();
    const uint32_t opened = staging_.Opened()->load(std::memory_order_seq_cst);
    uint64_t sequence = 0;
    switch (staging_.Take(record, more, &sequence)) {
      case Staging::Taken::kYes:
        return sequence;
      case Staging::Taken::kRingIsFull:
        return RingFull();
      case Staging::Taken::kGroupIsFull:
        if (!Failed()) FutexWait(staging_.Opened(), opened);
    }
  }
}

Status CommitLog::Wait(uint64_t sequence) {
  while (durable_.load(std::memory_order_seq_cst) <= sequence) {
    FutexWord* ended = staging_.EndOfGroupOf(sequence);
    const uint32_t seen = ended->load(std::memory_order_seq_cst);
    if (durable_.load(std::memory_order_seq_cst) > sequence) break;
    if (Failed()) return Failure();
    FutexWait(ended, seen);
  }
  return {};
}

Result<uint64_t> CommitLog::AppendAndWait(ByteView record, ByteView more) {
  Result<uint64_t> sequence = Append(record, more);
  if (!sequence.ok()) return sequence;
  HF_RETURN_IF_ERROR(Wait(*sequence));
  return sequence;
}

// The lock is held over both steps, so that the writer finds the callback of every durable record.
Status CommitLog::AppendThen(ByteView record, Done done) {
  HF_RETURN_IF_ERROR(CheckSize(record.size()));
  std::lock_guard lock(mutex_);
  if (Failed()) return failure_;
  uint64_t sequence = 0;
  switch (staging_.Take(record, {}, &sequence)) {
    case Staging::Taken::kYes:
      waiting_.emplace_back(sequence, std::move(done));
      return {};
    case Staging::Taken::kRingIsFull:
      return RingFull();
    case Staging::Taken::kGroupIsFull:
      break;
  }
  return Status::Unavailable("the journal " + file_->path() + " has " +
                             FormatBytes(kMaxGroupBytes) +
                             " in flight, its limit; try again when some of it is acknowledged");
}

Status CommitLog::Replay(const Visit& visit) {
  uint64_t at = 0, first = 0;
  {
    std::lock_guard lock(mutex_);
    at = head_.start;
    first = head_.first;
  }
  LogReader reader(file_.get(), head_.log_id, head_.ring_bytes);
  for (const uint64_t end_of_log = end(); at < end_of_log;) {
    auto wanted = [&](uint64_t sequence, ByteView record) {
      if (sequence >= first) visit(sequence, record);
    };
    HF_RETURN_IF_ERROR(reader.VisitGroup(at, wanted, &at));
  }
  return {};
}

Status CommitLog::Read(uint64_t sequence, ByteSpan into, ByteSpan more) {
  HF_RETURN_IF_ERROR(Wait(sequence));
  const uint64_t from = sequence + kRecordHeaderBytes;
  const uint64_t first_block = from / kBlockBytes * kBlockBytes;
  const uint64_t bytes = RoundUpToBlock(from + into.size() + more.size()) - first_block;
  thread_local Buffer blocks;
  if (blocks.size() < bytes) blocks = BlockBuffer(std::max<size_t>(bytes, 16 * kBlockBytes));
  HF_RETURN_IF_ERROR(ForRingParts(head_.ring_bytes, first_block, bytes,
                                  [&](uint64_t at, size_t part, size_t size) {
                                    return file_->Read(at, blocks.span().subspan(part, size));
                                  }));
  const std::byte* record = blocks.data() + (from - first_block);
  std::copy_n(record, into.size(), into.begin());
  std::copy_n(record + into.size(), more.size(), more.begin());
  if (sequence >= wanted_.load(std::memory_order_acquire)) return {};
  return Status::NotFound("record " + std::to_string(sequence) + " is no longer in " +
                          file_->path());
}

// Room that is given back here may be taken at once: the writer writes the head before any group
// that was sealed after this.
Status CommitLog::Truncate(uint64_t before) {
  std::lock_guard lock(mutex_);
  if (Failed()) return failure_;
  const uint64_t durable = end();
  if (before > durable) {
    return Status::Invalid("record " + std::to_string(before) + " of " + file_->path() +
                           " is not durable, so that what is before it cannot be given back");
  }
  if (before <= head_.first) return {};
  while (!groups_.empty() && (groups_.size() > 1 ? groups_[1] : durable) <= before) {
    groups_.pop_front();
  }
  head_.start = groups_.empty() ? durable : groups_.front();
  head_.first = before;
  wanted_.store(before, std::memory_order_release);
  head_is_new_.store(true);
  staging_.SetLimit(RingEnd());
  staging_.WakeWriter();
  return {};
}

void CommitLog::Go() {
  go_.store(1);
  FutexWake(&go_);
}

// It sleeps twice for each group, and everybody waits for it meanwhile.
void CommitLog::Run() {
  AskForShortSlice();
  while (true) {
    staging_.WaitForWork([this] { return stop_.load() || head_is_new_.load(); });
    while (paced_ && !stop_.load() && !staging_.IsEmpty() && go_.exchange(0) == 0)
      FutexWait(&go_, 0);
    const bool stopping = stop_.load();  // before the look at what is there
    if (stopping && staging_.IsEmpty() && !head_is_new_.load()) return;
    Status committed = CommitGroup();
    if (!committed.ok()) return Fail(committed);
  }
}

Status CommitLog::CommitGroup() {
  if (staging_.IsEmpty()) return WriteHead();
  Staging::Sealed group = staging_.Seal();
  HF_RETURN_IF_ERROR(WriteHead());
  HF_RETURN_IF_ERROR(WriteGroup(group));
  Acknowledge(group);
  return {};
}

// Durable before the group is written: it may go where the old head's groups are.
Status CommitLog::WriteHead() {
  if (!head_is_new_.exchange(false)) return {};
  uint64_t copy = 0;
  {
    std::lock_guard lock(mutex_);
    copy = head_.number++ % 2;  // the first two have the numbers 1 and 2
    EncodeHead(head_, head_block_.span());
  }
  HF_RETURN_IF_ERROR(file_->Write(copy * kBlockBytes, head_block_.view()));
  return file_->Sync();
}

Status CommitLog::WriteGroup(const Staging::Sealed& group) {
  ByteView body = group.memory.subspan(kGroupHeaderBytes, group.bytes - kGroupHeaderBytes);
  EncodeGroup({.log_id = head_.log_id,
               .position = group.position,
               .bytes = group.bytes,
               .body_hash = Hash64(body)},
              group.memory);
  HF_RETURN_IF_ERROR(ForRingParts(head_.ring_bytes, group.position, group.memory.size(),
                                  [&](uint64_t at, size_t part, size_t size) {
                                    return file_->Write(at, group.memory.subspan(part, size));
                                  }));
  return sync_ ? file_->Sync() : Status();
}

void CommitLog::Acknowledge(const Staging::Sealed& group) {
  std::vector<std::pair<uint64_t, Done>> ended;
  {
    std::lock_guard lock(mutex_);
    groups_.push_back(group.position);
    durable_.store(group.position + group.memory.size(), std::memory_order_seq_cst);
    auto later = std::find_if(waiting_.begin(), waiting_.end(),
                              [this](const auto& w) { return w.first >= durable_.load(); });
    ended.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(later));
    waiting_.erase(waiting_.begin(), later);
  }
  FutexAdvance(group.ended);
  for (auto& [sequence, done] : ended) done(Status(), sequence);
}

void CommitLog::Fail(const Status& why) {
  std::vector<std::pair<uint64_t, Done>> ended;
  {
    std::lock_guard lock(mutex_);
    failure_ = Status(why.code(), why.message() +
                                      "; the journal takes nothing more, and what was acknowledged "
                                      "is in it: look after the disk and start again");
    failed_.store(true, std::memory_order_seq_cst);
    ended.swap(waiting_);
  }
  staging_.WakeAll();
  for (auto& [sequence, done] : ended) done(failure_, sequence);
}

}  // namespace holdfast::disk
