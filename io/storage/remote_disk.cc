// SPDX-License-Identifier: Apache-2.0
#include "io/storage/remote_disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/hash.h"

namespace holdfast::storage {
namespace {

// The views of `from` that make up its bytes [at, at + bytes).
std::vector<ByteView> Slice(const std::vector<ByteView>& from, uint64_t at, uint64_t bytes) {
  std::vector<ByteView> slice;
  for (ByteView view : from) {
    if (at >= view.size()) {
      at -= view.size();
      continue;
    }
    if (bytes == 0) break;
    view = view.subspan(at);
    view = view.first(std::min<uint64_t>(view.size(), bytes));
    at = 0;
    bytes -= view.size();
    slice.push_back(view);
  }
  return slice;
}

uint64_t HashOf(const std::vector<ByteView>& views) {
  if (views.size() == 1) return Hash64(views.front());
  Hasher64 hasher;
  for (ByteView view : views) hasher.Update(view);
  return hasher.Digest();
}

}  // namespace

RemoteDisk::RemoteDisk(net::EventLoop* io, RemoteOptions options, uint32_t segments,
                       uint64_t segment_bytes, Post post)
    : io_(io),
      options_(std::move(options)),
      segments_(segments),
      segment_bytes_(segment_bytes),
      deliveries_(std::move(post)),
      link_(io, options_,
            {.kind = options_.permitted ? Kind::kOpenPermitted : Kind::kOpenSegments,
             .bytes = segment_bytes,
             .segments = segments},
            {.up = [this](const Opened& opened) { return OnUp(opened); },
             .down = [] {},
             .refused = [this](const Status& why) { FailAll(why); },
             .tick = [this](Time now) { OnTick(now); },
             .place = [this](const FrameHead& head) { return PlaceOf(head); },
             .frame = [this](const FrameHead& head, ByteView body) { return OnFrame(head, body); },
             .busy = [this] { return !parts_.empty(); }}) {}

RemoteDisk::~RemoteDisk() { *alive_ = false; }

void RemoteDisk::Open(std::function<void(Status)> opened) {
  io_->Post([this, alive = alive_, opened = std::move(opened)]() mutable {
    if (!*alive) return;
    opened_ = std::move(opened);
    open_until_ = io_->Now() + options_.opening;
    link_.Start();
  });
}

// --- Operations ----------------------------------------------------------------------------------

void RemoteDisk::Read(uint32_t segment, uint64_t offset, ByteSpan into,
                      std::function<void(Status, uint64_t)> done) {
  HF_CHECK(segment < segments_ && offset + into.size() <= segment_bytes_);
  Operation read{.kind = Kind::kRead, .segment = segment, .offset = offset, .into = into};
  read.done = std::move(done);
  Add(std::make_unique<Operation>(std::move(read)));
}

void RemoteDisk::Write(uint32_t segment, uint64_t offset, std::vector<ByteView> parts,
                       std::function<void(Status)> done) {
  WritePermitted(0, segment, offset, std::move(parts), std::move(done));
}

void RemoteDisk::WritePermitted(uint64_t key, uint32_t segment, uint64_t offset,
                                std::vector<ByteView> parts, std::function<void(Status)> done) {
  uint64_t bytes = 0;
  for (const ByteView& part : parts) bytes += part.size();
  HF_CHECK(segment < segments_ && offset % kBlock == 0 && offset + bytes <= segment_bytes_);
  Operation write{.kind = Kind::kWrite, .segment = segment, .offset = offset};
  write.key = key;
  write.from = std::move(parts);
  write.done = [done = std::move(done)](const Status& status, uint64_t) { done(status); };
  Add(std::make_unique<Operation>(std::move(write)));
}

void RemoteDisk::Sync(uint32_t segment, std::function<void(Status)> done) {
  HF_CHECK(segment < segments_);
  Operation sync{.kind = Kind::kSync, .segment = segment};
  sync.done = [done = std::move(done)](const Status& status, uint64_t) { done(status); };
  Add(std::make_unique<Operation>(std::move(sync)));
}

void RemoteDisk::Permit(uint64_t key, uint32_t segment, uint64_t offset, uint64_t bytes,
                        std::function<void(Status)> done) {
  HF_CHECK(key != 0 && segment < segments_ && offset % kBlock == 0 &&
           offset + bytes <= segment_bytes_);
  Operation permit{.kind = Kind::kPermit, .segment = segment, .offset = offset};
  permit.key = key;
  permit.length = bytes;
  permit.done = [done = std::move(done)](const Status& status, uint64_t) { done(status); };
  Add(std::make_unique<Operation>(std::move(permit)));
}

void RemoteDisk::Revoke(uint64_t key, std::function<void(Status)> done) {
  Operation revoke{.kind = Kind::kRevoke};
  revoke.key = key;
  revoke.done = [done = std::move(done)](const Status& status, uint64_t) { done(status); };
  Add(std::make_unique<Operation>(std::move(revoke)));
}

void RemoteDisk::Add(std::unique_ptr<Operation> operation) {
  operation->until = io_->Now() + options_.patience;
  std::lock_guard lock(mutex_);
  if (count_ >= kMaxOperations) {
    deliveries_.Add([done = std::move(operation->done), at = options_.endpoint] {
      done(Status::Timeout(std::to_string(kMaxOperations) +
                           " operations wait for the segments at " + at + ", the limit"),
           0);
    });
    return;
  }
  ++count_;
  added_.push_back(std::move(operation));
  if (std::exchange(taking_, true)) return;
  io_->Post([this, alive = alive_] {
    if (*alive) Take();
  });
}

void RemoteDisk::Take() {
  std::vector<std::unique_ptr<Operation>> added;
  {
    std::lock_guard lock(mutex_);
    taking_ = false;
    added.swap(added_);
  }
  for (auto& operation : added) Begin(std::move(operation));
  if (link_.stream() != nullptr) link_.Flush();
}

bool RemoteDisk::Gone(Time now) const {
  return server_ != 0 && link_.down_since() < now && now - link_.down_since() > kGone;
}

void RemoteDisk::Begin(std::unique_ptr<Operation> owned) {
  Operation* operation = owned.get();
  operation->id = next_id_++;
  operations_.emplace(operation->id, std::move(owned));
  operation->status = failure_;
  if (operation->status.ok() && Gone(io_->Now()))
    operation->status = Status::Timeout("the segments are away: " + link_.last_error().message());
  // The first block is written where a segment's life begins, and where it ends or has been synced: what
  // came before need not be any more. Packs never are.
  if (operation->kind == Kind::kWrite && operation->offset == 0)
    unsynced_.erase(operation->segment);
  if (operation->kind == Kind::kSync) {
    auto unsynced = unsynced_.extract(operation->segment);
    operation->unsynced_since = unsynced.empty() ? 0 : unsynced.mapped();
  }
  uint64_t bytes = operation->into.size();
  for (ByteView view : operation->from) bytes += view.size();
  const bool moves = operation->kind == Kind::kRead || operation->kind == Kind::kWrite;
  if (!operation->status.ok() || (bytes == 0 && moves)) return Finish(operation);
  uint64_t at = 0;
  do {
    const Part part{operation, at, std::min(bytes - at, kMaxPartBytes)};
    ++operation->parts;
    at += part.bytes;
    const uint64_t tag = next_tag_++;
    parts_.emplace_hint(parts_.end(), tag, part);
    if (link_.stream() != nullptr) Send(tag, part);
  } while (at < bytes);
}

void RemoteDisk::Send(uint64_t tag, const Part& part) {
  Operation& operation = *part.operation;
  FrameHead head{.kind = operation.kind, .tag = tag, .count = operation.segment};
  if (operation.kind == Kind::kRead) {
    head.a = operation.offset + part.at;
    head.b = part.bytes;
  } else if (operation.kind == Kind::kWrite) {
    head.a = operation.offset + part.at;
    head.b = operation.key;
    const std::vector<ByteView> body = Slice(operation.from, part.at, part.bytes);
    head.body_bytes = static_cast<uint32_t>(part.bytes);
    head.body_hash = HashOf(body);
    return link_.stream()->AddParts(head, body);
  } else if (operation.kind == Kind::kPermit) {
    head.a = operation.offset;
    head.b = operation.length;
    std::byte key[sizeof(uint64_t)];
    StoreAs(key, operation.key);
    return link_.stream()->Add(head, key);
  } else if (operation.kind == Kind::kRevoke) {
    head.a = operation.key;
  }
  link_.stream()->Add(head);
}

// --- Answers -------------------------------------------------------------------------------------

Status RemoteDisk::OnUp(const Opened& opened) {
  if (opened.segments != segments_ || opened.value != segment_bytes_)
    return Status::Corrupt("the storage server has opened other segments");
  server_ = opened.server;
  if (opened_) std::exchange(opened_, nullptr)(Status());
  for (auto part = parts_.begin(); part != parts_.end();) {
    const auto next = std::next(part);
    const Operation& operation = *part->second.operation;
    const bool lost = operation.unsynced_since != 0 && operation.unsynced_since != server_;
    if (!lost) Send(part->first, part->second);
    if (lost) Answered(part, Status());  // Finish sees it
    part = next;
  }
  link_.Flush();
  return {};
}

ByteSpan RemoteDisk::PlaceOf(const FrameHead& head) {
  auto part = parts_.find(head.tag);
  const bool right = part != parts_.end() && head.kind == Kind::kBytes &&
                     part->second.operation->kind == Kind::kRead &&
                     part->second.bytes == head.body_bytes;
  if (!right) return {};
  return part->second.operation->into.subspan(part->second.at, part->second.bytes);
}

Status RemoteDisk::OnFrame(const FrameHead& head, ByteView body) {
  auto part = parts_.find(head.tag);
  if (part == parts_.end()) return {};  // it was given up
  Operation& operation = *part->second.operation;
  if (head.kind == Kind::kFailed) {
    Answered(part, Status(head.code, std::string(AsText(body)) + " (" + options_.endpoint + ")"));
    return {};
  }
  const bool read = operation.kind == Kind::kRead;
  if (head.kind != (read ? Kind::kBytes : Kind::kDone) ||
      (read && body.size() != part->second.bytes)) {
    return Status::Corrupt("the storage server answered something else than was asked");
  }
  if (read) {
    std::byte* into = operation.into.data() + part->second.at;
    if (body.data() != into) std::memcpy(into, body.data(), body.size());
    operation.hash = head.body_hash;  // of the whole, if this is the only part
  }
  if (operation.kind == Kind::kWrite || operation.kind == Kind::kPermit) {
    unsynced_.try_emplace(operation.segment, server_);
  }
  Answered(part, Status());
  return {};
}

void RemoteDisk::Answered(std::map<uint64_t, Part>::iterator part, const Status& status) {
  Operation* operation = part->second.operation;
  parts_.erase(part);
  if (operation->status.ok()) operation->status = status;
  if (--operation->parts == 0) Finish(operation);
}

void RemoteDisk::Finish(Operation* operation) {
  auto owned = operations_.extract(operation->id);
  const uint64_t since = operation->unsynced_since;
  if (since != 0 && !operation->status.ok()) {
    unsynced_[operation->segment] = since;  // still
  } else if (since != 0 && since != server_) {
    operation->status = Status::Unavailable(
        "the storage server at " + options_.endpoint +
        " was started anew before the segment was synced, which may have lost a part of it");
  }
  if (operation->status.ok() && operation->into.size() > kMaxPartBytes)
    operation->hash = Hash64(operation->into);
  if (operation->status.ok() && operation->into.empty()) operation->hash = Hash64({});
  {
    std::lock_guard lock(mutex_);
    --count_;
  }
  deliveries_.Add([done = std::move(operation->done), status = std::move(operation->status),
                   hash = operation->hash] { done(status, hash); });
}

void RemoteDisk::OnTick(Time now) {
  if (opened_ && now > open_until_) {
    return FailAll(Status::Timeout(link_.last_error().message() + "; it did not open within " +
                                   FormatDuration(options_.opening)));
  }
  std::vector<Operation*> late;
  for (const auto& [id, operation] : operations_) {
    if (now > operation->until) late.push_back(operation.get());
  }
  if (late.empty()) return;
  // First: the stream has views of what is given back.
  if (link_.stream() != nullptr) {
    link_.Break(Status::Timeout("it did not do within " + FormatDuration(options_.patience) +
                                " what it was asked"));
  }
  std::erase_if(parts_, [&](const auto& part) {
    return std::find(late.begin(), late.end(), part.second.operation) != late.end();
  });
  for (Operation* operation : late) {
    operation->status =
        Status::Timeout("the segments at " + options_.endpoint + " did not answer within " +
                        FormatDuration(options_.patience));
    Finish(operation);
  }
}

void RemoteDisk::FailAll(const Status& why) {
  failure_ = why;
  link_.Stop();
  parts_.clear();
  while (!operations_.empty()) {
    operations_.begin()->second->status = why;
    Finish(operations_.begin()->second.get());
  }
  if (opened_) std::exchange(opened_, nullptr)(why);
}

}  // namespace holdfast::storage
