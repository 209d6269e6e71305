// SPDX-License-Identifier: Apache-2.0
#include "io/storage/remote_journal.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace holdfast::storage {
namespace {

constexpr size_t kFrameBytes = 64 * kKiB;
constexpr size_t kLengthBytes = 4;
constexpr size_t kSpare = 64;

}  // namespace

RemoteJournal::RemoteJournal(net::EventLoop* io, RemoteOptions options, uint64_t bytes, Post post)
    : io_(io),
      options_(std::move(options)),
      deliveries_(std::move(post)),
      link_(io, options_, {.kind = Kind::kOpenJournal, .bytes = bytes},
            {.up = [this](const Opened& opened) { return OnUp(opened); },
             .down = [] {},
             .refused = [this](const Status& why) { Fail(why); },
             .tick = [this](Time now) { OnTick(now); },
             .place = [](const FrameHead&) { return ByteSpan(); },
             .frame = [this](const FrameHead& head, ByteView body) { return OnFrame(head, body); },
             .busy =
                 [this] {
                   std::lock_guard lock(mutex_);
                   return sent_ > 0 || replaying_ != nullptr;
                 }}) {}

RemoteJournal::~RemoteJournal() { *alive_ = false; }

void RemoteJournal::Open(std::function<void(Result<uint64_t>)> opened) {
  io_->Post([this, alive = alive_, opened = std::move(opened)]() mutable {
    if (!*alive) return;
    opened_ = std::move(opened);
    thread_ = std::this_thread::get_id();
    open_until_ = io_->Now() + options_.opening;
    link_.Start();
  });
}

// --- Append --------------------------------------------------------------------------------------

void RemoteJournal::Append(ByteView record, Done done) {
  Status refused;
  bool full = false;  // a frame is
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok()) {
      refused = failure_;
    } else if (record.size() > kMaxRecordBytes) {
      refused = Status::Invalid("a record of " + std::to_string(record.size()) +
                                " bytes is too long for the journal at " + options_.endpoint +
                                "; it takes at most " + std::to_string(kMaxRecordBytes));
    } else if (in_flight_ + record.size() > kMaxInFlight) {
      refused = Status::Unavailable("the journal at " + options_.endpoint + " has " +
                                    FormatBytes(kMaxInFlight) + " in flight, its limit");
    } else {
      Frame* frame = FrameFor(record.size());
      std::byte* at = frame->memory.data() + frame->bytes;
      StoreAs(at, static_cast<uint32_t>(record.size()));
      if (!record.empty()) std::memcpy(at + kLengthBytes, record.data(), record.size());
      frame->bytes += kLengthBytes + record.size();
      frame->done.push_back(std::move(done));
      in_flight_ += record.size();
      ++next_;
      full = frames_.size() > 1 && frame->done.size() == 1 && std::this_thread::get_id() == thread_;
      if (!flushing_) FlushLater();
      if (!full) return;
    }
  }
  // What is appended in a long pass of the same thread need not wait for its end.
  if (full) return SendClosed();
  deliveries_.Add([done = std::move(done), refused] { done(refused, 0); });
}

RemoteJournal::Frame* RemoteJournal::FrameFor(size_t bytes) {
  if (!frames_.empty()) {
    Frame* last = frames_.back().get();
    if (!last->closed && last->bytes + kLengthBytes + bytes <= last->memory.size()) return last;
    last->closed = true;
  }
  auto frame = std::make_unique<Frame>();
  frame->first = next_;
  frame->since = io_->Now();
  const size_t needed = kHeadBytes + kLengthBytes + bytes;
  if (needed <= kFrameBytes && !spare_.empty()) {
    frame->memory = std::move(spare_.back());
    spare_.pop_back();
  } else {
    frame->memory = Buffer(std::max(needed, kFrameBytes));
  }
  frames_.push_back(std::move(frame));
  return frames_.back().get();
}

void RemoteJournal::FlushLater() {
  flushing_ = true;
  io_->Post([this, alive = alive_] {
    if (*alive) Flush();
  });
}

void RemoteJournal::Flush() {
  uint64_t truncate = 0;
  {
    std::lock_guard lock(mutex_);
    flushing_ = false;
    if (link_.stream() == nullptr) return;  // OnUp calls again
    if (!frames_.empty()) frames_.back()->closed = true;
    truncate = truncate_;
  }
  SendClosed();
  if (truncate <= truncate_sent_) return;
  truncate_sent_ = truncate;
  link_.stream()->Add({.kind = Kind::kTruncate, .a = truncate});
  link_.Flush();
}

void RemoteJournal::SendClosed() {
  FrameStream* stream = link_.stream();
  if (stream == nullptr) return;
  std::vector<Frame*> frames;
  {
    std::lock_guard lock(mutex_);
    for (; sent_ < frames_.size() && frames_[sent_]->closed; ++sent_)
      frames.push_back(frames_[sent_].get());
  }
  for (Frame* frame : frames) {
    StoreHead({.kind = Kind::kAppend,
               .a = frame->first,
               .count = static_cast<uint32_t>(frame->done.size())},
              frame->records(), frame->memory.data());
    stream->AddWhole(frame->memory.view().first(frame->bytes));
  }
  link_.Flush();
}

Status RemoteJournal::Truncate(uint64_t before) {
  std::lock_guard lock(mutex_);
  if (!failure_.ok()) return failure_;
  if (before > durable_) {
    return Status::Invalid("record " + std::to_string(before) + " of the journal at " +
                           options_.endpoint +
                           " is not durable, so that what is before it cannot be given back");
  }
  if (before <= truncate_) return {};
  truncate_ = before;
  if (!flushing_) FlushLater();
  return {};
}

// --- Answers -------------------------------------------------------------------------------------

void RemoteJournal::Deliver(std::deque<std::unique_ptr<Frame>> frames, const Status& status) {
  if (frames.empty()) return;
  auto shared = std::make_shared<std::deque<std::unique_ptr<Frame>>>(std::move(frames));
  deliveries_.Add([this, shared, status] {
    for (auto& frame : *shared) {
      uint64_t number = frame->first;
      for (Done& done : frame->done) done(status, status.ok() ? number++ : 0);
    }
    std::lock_guard lock(mutex_);
    for (auto& frame : *shared) {
      if (frame->memory.size() == kFrameBytes && spare_.size() < kSpare)
        spare_.push_back(std::move(frame->memory));
    }
  });
}

Status RemoteJournal::OnUp(const Opened& opened) {
  truncate_sent_ = opened.wanted;
  wanted_ = std::max(wanted_, opened.wanted);
  if (!open_) {
    open_ = true;
    {
      std::lock_guard lock(mutex_);
      next_ = durable_ = opened.value;
      truncate_ = opened.wanted;
    }
    if (opened_) std::exchange(opened_, nullptr)(opened.journal_bytes);
  } else {
    // What was sent by earlier connections, as far as it arrived.
    if (Status lost = Acknowledge(opened.value); !lost.ok()) {
      lost = Status::Corrupt("the journal at " + options_.endpoint +
                             " has not what it had acknowledged: " + lost.message());
      io_->Post([this, alive = alive_, lost] {
        if (*alive) Fail(lost);
      });
      return lost;
    }
  }
  sent_ = 0;
  if (replaying_ != nullptr) AskReplay();
  Flush();
  return {};
}

Status RemoteJournal::OnFrame(const FrameHead& head, ByteView body) {
  switch (head.kind) {
    case Kind::kAppended:
      return Acknowledge(head.a);
    case Kind::kFailed:
      return Refuse(head.a, Status(head.code, std::string(AsText(body))));
    case Kind::kAppend:
    case Kind::kReplayed:
      return OnReplayed(head, body);
    default:
      return Status::Corrupt("the storage server answered what was not asked");
  }
}

Status RemoteJournal::Acknowledge(uint64_t next) {
  std::deque<std::unique_ptr<Frame>> ended;
  {
    std::lock_guard lock(mutex_);
    if (next < durable_) return Status::Corrupt("it says a number that is too low");
    while (sent_ > 0 && frames_.front()->end() <= next) {
      Frame& frame = *frames_.front();
      in_flight_ -= frame.bytes - kHeadBytes - kLengthBytes * frame.done.size();
      ended.push_back(std::move(frames_.front()));
      frames_.pop_front();
      --sent_;
    }
    const uint64_t reached = ended.empty() ? durable_ : ended.back()->end();
    durable_ = reached;
    if (reached != next) return Status::Corrupt("it says a number that was not sent so");
  }
  Deliver(std::move(ended), {});
  return {};
}

// The server passes over all that follows until this number comes again.
Status RemoteJournal::Refuse(uint64_t first, const Status& why) {
  std::deque<std::unique_ptr<Frame>> refused;
  {
    std::lock_guard lock(mutex_);
    while (!frames_.empty() && frames_.back()->first >= first) {
      Frame& frame = *frames_.back();
      in_flight_ -= frame.bytes - kHeadBytes - kLengthBytes * frame.done.size();
      refused.push_front(std::move(frames_.back()));
      frames_.pop_back();
    }
    if (refused.empty() || refused.front()->first != first)
      return Status::Corrupt("the storage server refused what was not sent");
    sent_ = std::min(sent_, frames_.size());
    next_ = first;
  }
  const Status told = why.Annotate("the journal at " + options_.endpoint);
  const bool in_stream = link_.stream() != nullptr && link_.stream()->unsent() > 0;
  if (!in_stream) {
    Deliver(std::move(refused), told);
    return {};
  }
  // The stream may have views of them. It is given up, and then nobody has.
  auto shared = std::make_shared<std::deque<std::unique_ptr<Frame>>>(std::move(refused));
  io_->Post([this, alive = alive_, shared, told] {
    if (*alive) Deliver(std::move(*shared), told);
  });
  return Status::Unavailable("it refused what is still being sent");
}

void RemoteJournal::OnTick(Time now) {
  if (opened_ && now > open_until_) {
    return Fail(Status::Timeout(link_.last_error().message() + "; it did not open within " +
                                FormatDuration(options_.opening)));
  }
  if (replaying_ != nullptr && now > replaying_->until)
    EndReplay(Status::Timeout("the journal at " + options_.endpoint + " was not read within " +
                              FormatDuration(options_.patience)));
  bool late = false;
  {
    std::lock_guard lock(mutex_);
    late = !frames_.empty() && now - frames_.front()->since > options_.patience;
  }
  if (late) {
    Fail(Status::Timeout("the journal at " + options_.endpoint + " has acknowledged nothing for " +
                         FormatDuration(options_.patience) +
                         "; it takes nothing more, and what was acknowledged is in it: start again "
                         "when its storage server is there"));
  }
}

void RemoteJournal::Fail(const Status& why) {
  std::deque<std::unique_ptr<Frame>> ended;
  {
    std::lock_guard lock(mutex_);
    if (!failure_.ok()) return;
    failure_ = why;
    ended.swap(frames_);
    sent_ = 0;
    in_flight_ = 0;
  }
  // The stream has views of what is given away.
  link_.Stop();
  Deliver(std::move(ended), why);
  if (opened_) std::exchange(opened_, nullptr)(why);
  if (replaying_ != nullptr) EndReplay(why);
}

// --- Replay --------------------------------------------------------------------------------------

void RemoteJournal::Replay(std::function<void(uint64_t, ByteView)> each,
                           std::function<void(Status)> done) {
  io_->Post([this, alive = alive_, each = std::move(each), done = std::move(done)]() mutable {
    if (!*alive) return;
    replaying_ = std::make_unique<Replaying>(
        Replaying{std::move(each), std::move(done), 0, io_->Now() + options_.patience});
    if (!failure_.ok()) return EndReplay(failure_);
    if (link_.stream() != nullptr) AskReplay();
  });
}

void RemoteJournal::AskReplay() {
  link_.stream()->Add({.kind = Kind::kReplay, .a = std::max(replaying_->next, wanted_)});
  link_.Flush();
}

Status RemoteJournal::OnReplayed(const FrameHead& head, ByteView body) {
  if (replaying_ == nullptr) return {};  // it was given up
  Replaying& replaying = *replaying_;
  if (head.kind == Kind::kReplayed) {
    if (head.a != std::max(replaying.next, wanted_))
      return Status::Corrupt("the storage server left out records of a journal");
    if (head.a >= durable_) {
      EndReplay({});
    } else {
      AskReplay();
    }
    return {};
  }
  const bool follows =
      replaying.next == 0 ? head.a <= std::max<uint64_t>(wanted_, 1) : head.a == replaying.next;
  if (!follows || !HasRecords(body, head.count))
    return Status::Corrupt("the storage server sent other records of a journal than are due");
  replaying.next = head.a + head.count;
  auto records = std::make_shared<Buffer>(Buffer::CopyOf(body));
  deliveries_.Add([each = replaying.each, records, head, wanted = wanted_] {
    uint64_t number = head.a;
    const Status visited = VisitRecords(records->view(), head.count, [&](ByteView record) {
      if (number >= wanted) each(number, record);
      ++number;
    });
    HF_CHECK(visited.ok());  // HasRecords
  });
  return {};
}

void RemoteJournal::EndReplay(const Status& status) {
  deliveries_.Add([replaying = std::shared_ptr<Replaying>(std::move(replaying_)), status] {
    replaying->done(status);
  });
}

}  // namespace holdfast::storage
