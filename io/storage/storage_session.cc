// SPDX-License-Identifier: Apache-2.0
#include "io/storage/storage_session.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "io/storage/storage_server.h"

namespace holdfast::storage {
namespace {

constexpr uint64_t kReplayBytes = kMiB;

Status Unexpected() { return Status::Corrupt("a frame that is not due"); }

}  // namespace

StorageSession::StorageSession(uint64_t id, StorageServer* server, bulk::Fd fd)
    : id_(id), server_(server), since_(server->loop_->Now()), fd_(std::move(fd)) {
  Watch();
}

StorageSession::~StorageSession() {
  server_->loop_->Unwatch(stream_ != nullptr ? stream_->fd() : fd_.get());
  if (store_ != nullptr && store_->session == id_) store_->session = 0;
  if (store_ != nullptr && store_->waiting == id_) store_->waiting = 0;
}

// --- Connection ----------------------------------------------------------------------------------

void StorageSession::Watch() {
  uint32_t events = stream_ == nullptr || !stream_->held() ? uint32_t{EPOLLIN} : 0u;
  if (stream_ != nullptr && !stream_->idle()) events |= EPOLLOUT;
  if (events == watched_ && events != 0) return;
  const int fd = stream_ != nullptr ? stream_->fd() : fd_.get();
  server_->loop_->Unwatch(fd);
  watched_ = events;
  const Status status = server_->loop_->Watch(fd, events, [this](uint32_t ready) { Ready(ready); });
  if (!status.ok()) End(status);
}

void StorageSession::Ready(uint32_t events) {
  Status status;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    if (stream_ == nullptr) status = TakeHello();
    if (status.ok() && stream_ != nullptr) status = stream_->Receive();
    const bool over =
        (events & (EPOLLHUP | EPOLLERR)) != 0 && stream_ != nullptr && stream_->held();
    if (status.ok() && over) status = Status::Unavailable("the connection broke");
  }
  if (!status.ok()) {
    // Whoever speaks something else is told, as far as that goes.
    if (stream_ != nullptr && status.code() == Code::kCorrupt) {
      SayFailed(0, status);
      static_cast<void>(stream_->Flush());
    }
    return server_->End(id_, status);
  }
  Flush();
}

Status StorageSession::TakeHello() {
  const size_t had = hello_.size();
  hello_.resize(kHelloBytes);
  const ssize_t n = ::recv(fd_.get(), hello_.data() + had, kHelloBytes - had, 0);
  const int error = errno;
  hello_.resize(had + static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (n < 0 && (error == EAGAIN || error == EINTR)) return {};
  if (n <= 0) return Status::Unavailable("the connection broke");
  if (hello_.size() < kHelloBytes) return {};
  Result<Hello> hello = DecodeHello(hello_);
  if (hello.status().code() == Code::kCorrupt) return hello.status();  // nobody that understands
  stream_ = std::make_unique<FrameStream>(
      std::move(fd_),
      FrameStream::Handlers{
          .place = [this](const FrameHead& head) { return PlaceOf(head); },
          .frame = [this](const FrameHead& head, ByteView body) { return OnFrame(head, body); }});
  if (!hello.ok()) {
    End(hello.status());
  } else if (hello->cluster_hash != server_->cluster_hash_) {
    End(Status::Denied("this storage server is of another cluster"));
  } else if (server_->options_.token &&
             !bulk::TokensEqual(hello->token, *server_->options_.token)) {
    End(Status::Denied("the cluster key is another one"));
  }
  return {};
}

// Says why, and ends when that is sent.
void StorageSession::End(const Status& why) {
  if (ending_) return;
  ending_ = true;
  if (stream_ != nullptr) {
    SayFailed(0, why);
    stream_->Hold();
  }
  FlushSoon();
}

void StorageSession::SayFailed(uint64_t tag, const Status& why, uint64_t a) {
  stream_->Add({.kind = Kind::kFailed, .code = why.code(), .tag = tag, .a = a},
               AsBytes(std::string_view(why.message()).substr(0, kMaxTextBytes)));
}

// One system call for all that is answered in a pass of the loop.
void StorageSession::FlushSoon() {
  if (std::exchange(flushing_, true)) return;
  server_->loop_->Post([server = server_, alive = server_->alive_, id = id_] {
    if (!*alive) return;
    if (StorageSession* session = server->Find(id)) session->Flush();
  });
}

void StorageSession::Flush() {
  flushing_ = false;
  if (stream_ != nullptr) {
    Status status = stream_->Flush();
    if (status.ok() && stream_->held() && !ending_ &&
        busy_bytes_ + stream_->unsent() < kMaxBusyBytes / 2 &&
        (store_ == nullptr || store_->journal == nullptr ||
         store_->journal->in_flight() < JournalStore::kMaxInFlight / 2)) {
      status = stream_->Resume();
      if (status.ok()) status = stream_->Flush();
    }
    if (!status.ok() || (ending_ && stream_->idle())) return server_->End(id_, status);
  } else if (ending_) {
    return server_->End(id_, {});
  }
  Watch();
}

void StorageSession::HoldIfBusy() {
  const bool journal_full = store_ != nullptr && store_->journal != nullptr &&
                            store_->journal->in_flight() >= JournalStore::kMaxInFlight;
  if (journal_full || busy_bytes_ + stream_->unsent() >= kMaxBusyBytes) stream_->Hold();
}

// --- Opening -------------------------------------------------------------------------------------

Status StorageSession::OnFrame(const FrameHead& head, ByteView body) {
  if (ending_) return {};
  if (head.kind == Kind::kPing) {
    stream_->Add({.kind = Kind::kPong, .tag = head.tag});
    return {};
  }
  if (!wanted_) return OnOpen(head, body);
  if (!open_) return Unexpected();
  Status status = wanted_->kind == Kind::kOpenMover ? OnMove(head, body)
                  : store_->journal != nullptr      ? OnJournalFrame(head, body)
                                                    : OnSegmentFrame(head, body);
  HoldIfBusy();
  return status;
}

Status StorageSession::OnOpen(const FrameHead& head, ByteView body) {
  if (body.size() <= kOpenerBytes || head.tag >= kNoNode) return Unexpected();
  if (head.kind == Kind::kOpenMover) return OnOpenMover(head, body);
  if (head.kind == Kind::kOpenPermitted) return OnOpenPermitted(head, body);
  if (head.kind != Kind::kOpenJournal && head.kind != Kind::kOpenSegments) return Unexpected();
  wanted_ = {.kind = head.kind,
             .node = static_cast<NodeId>(head.tag),
             .cluster = server_->options_.cluster,
             .name = std::string(AsText(body.subspan(kOpenerBytes))),
             .bytes = head.b,
             .segments = head.count};
  if (server_->stores_ == nullptr)
    return End(Status::Invalid("it keeps no journals and segments: it only moves records")),
           Status();
  Result<Store*> store = server_->stores_->Find(*wanted_);
  if (!store.ok()) return End(store.status()), Status();
  Result<uint64_t> epoch =
      (*store)->owner.Claim(wanted_->node, wanted_->cluster, LoadAs<uint64_t>(body.data()), head.a);
  if (!epoch.ok()) return End(epoch.status()), Status();
  store_ = *store;
  epoch_ = *epoch;
  // Whoever used it is not answered any more.
  for (uint64_t earlier : {store_->session, store_->waiting}) {
    if (StorageSession* session = server_->Find(earlier))
      session->End(Status::Unavailable("another connection has opened its store"));
  }
  store_->session = 0;
  store_->permits.Clear();
  store_->waiting = id_;
  if (store_->busy == 0) {
    store_->waiting = 0;
    return Opened();
  }
  return {};
}

void StorageSession::StoreIsIdle() {
  if (ending_) return;
  if (Status status = Opened(); !status.ok()) End(status);
  FlushSoon();
}

Status StorageSession::Opened() {
  if (Status ready = server_->stores_->Prepare(store_, *wanted_); !ready.ok())
    return End(ready), Status();
  store_->session = id_;
  open_ = true;
  FrameHead head{.kind = Kind::kOpened, .tag = server_->start_, .a = epoch_};
  if (store_->segments != nullptr) {
    head.b = store_->segments->segment_bytes();
    head.count = store_->segments->segments();
    stream_->Add(head);
    return {};
  }
  const JournalStore& journal = *store_->journal;
  head.b = acknowledged_ = journal.next();
  std::byte body[16];
  StoreAs(body, journal.bytes());
  StoreAs(body + 8, journal.wanted());
  stream_->Add(head, body);
  return {};
}

// --- Journal -------------------------------------------------------------------------------------

Status StorageSession::OnJournalFrame(const FrameHead& head, ByteView body) {
  switch (head.kind) {
    case Kind::kAppend:
      return OnAppend(head, body);
    case Kind::kTruncate:
      return store_->journal->Truncate(head.a);
    case Kind::kReplay:
      return OnReplay(head);
    default:
      return Unexpected();
  }
}

Status StorageSession::OnAppend(const FrameHead& head, ByteView body) {
  JournalStore& journal = *store_->journal;
  const uint64_t next = journal.next();
  if (refusing_ && head.a != next) return {};
  if (head.a != next || head.a + head.count < head.a || !HasRecords(body, head.count))
    return Unexpected();
  Buffer together;
  ByteView frame = stream_->whole();
  if (frame.empty()) {  // a long one
    together = Buffer(kHeadBytes + body.size());
    StoreHead(head, together.data());
    std::memcpy(together.data() + kHeadBytes, body.data(), body.size());
    frame = together.view();
  }
  ++store_->busy;
  Status taken = journal.Append(
      head, frame,
      [server = server_, alive = server_->alive_, store = store_, id = id_](const Status& status) {
        if (!*alive) return;
        if (StorageSession* session = server->Find(id); session != nullptr && !session->ending_) {
          if (!status.ok()) session->End(status);
          session->FlushSoon();
          const uint64_t durable = store->journal->durable();
          if (status.ok() && durable > session->acknowledged_) {
            session->acknowledged_ = durable;
            session->stream_->Add({.kind = Kind::kAppended, .a = durable});
          }
        }
        server->Ended(store);
      });
  refusing_ = !taken.ok();
  if (taken.ok()) return {};
  --store_->busy;
  if (taken.code() != Code::kNoSpace) return End(taken), Status();
  SayFailed(0, taken, head.a);
  return {};
}

Status StorageSession::OnReplay(const FrameHead& head) {
  Result<uint64_t> next = store_->journal->Replay(
      head.a, kReplayBytes, [this](Buffer frame) { stream_->AddWhole(std::move(frame)); });
  if (!next.ok()) return End(next.status()), Status();
  stream_->Add({.kind = Kind::kReplayed, .tag = head.tag, .a = *next});
  return {};
}

// --- Segments ------------------------------------------------------------------------------------

ByteSpan StorageSession::PlaceOf(const FrameHead& head) {
  if (!open_ ||
      (head.kind != Kind::kWrite && head.kind != Kind::kAppend && head.kind != Kind::kMove)) {
    return {};
  }
  placed_ = Buffer(head.body_bytes);
  return placed_.span();
}

Status StorageSession::OnSegmentFrame(const FrameHead& head, ByteView body) {
  const bool beside = wanted_->kind == Kind::kOpenPermitted;
  if (beside && store_->session == 0) return Status::Unavailable("nobody uses the segments");
  if (!beside && head.kind == Kind::kRevoke) return OnRevoke(head), Status();
  const disk::SegmentFiles& segments = *store_->segments;
  const bool named = head.kind == Kind::kRead || head.kind == Kind::kPermit;
  const uint64_t bytes = named ? head.b : body.size();
  const bool fits = head.count < segments.segments() && head.a <= segments.segment_bytes() &&
                    bytes <= segments.segment_bytes() - head.a;
  if (!fits) return Unexpected();
  const bool permit = head.kind == Kind::kPermit && head.a % Disk::kBlock == 0;
  if (!beside && permit && body.size() == sizeof(uint64_t)) return OnPermit(head, body), Status();
  if (bytes > kMaxPartBytes) return Unexpected();
  if (head.kind == Kind::kRead) return OnRead(head), Status();
  if (!beside && head.kind == Kind::kSync) return OnSync(head), Status();
  if (head.kind != Kind::kWrite || head.a % Disk::kBlock != 0) return Unexpected();
  return OnWrite(head, body), Status();
}

// The callback of an operation of `bytes`: `answer(session, ...)` if there is still a session to answer.
template <typename Answer>
auto StorageSession::Ending(uint64_t bytes, Answer answer, std::shared_ptr<Permit> permit) {
  ++store_->busy;
  bytes = std::max(bytes, kLeastBusyBytes);
  busy_bytes_ += bytes;
  return
      [server = server_, alive = server_->alive_, store = store_, id = id_, bytes,
       answer = std::move(answer), permit = std::move(permit)](const Status& status, auto... more) {
        if (!*alive) return;
        if (permit != nullptr) Permits::End(permit.get());
        if (StorageSession* session = server->Find(id); session != nullptr && !session->ending_) {
          session->busy_bytes_ -= bytes;
          if (status.ok()) {
            answer(session, more...);
          } else {
            session->SayFailed(answer.tag, status);
          }
          session->FlushSoon();
        }
        server->Ended(store);
      };
}

void StorageSession::OnRead(const FrameHead& head) {
  struct Answer {
    uint64_t tag;
    std::shared_ptr<Buffer> bytes;
    void operator()(StorageSession* session, uint64_t) const {
      session->stream_->AddOwned({.kind = Kind::kBytes, .tag = tag}, std::move(*bytes));
    }
  };
  auto bytes = std::make_shared<Buffer>(head.b);
  store_->segments->Read(head.count, head.a, bytes->span(),
                         Ending(head.b, Answer{head.tag, bytes}));
}

void StorageSession::OnWrite(const FrameHead& head, ByteView body) {
  struct Answer {
    uint64_t tag;
    std::shared_ptr<Buffer> bytes;  // kept until here
    void operator()(StorageSession* session) const {
      session->stream_->Add({.kind = Kind::kDone, .tag = tag});
    }
  };
  std::shared_ptr<Permit> permit;
  if (wanted_->kind == Kind::kOpenPermitted) {
    permit = store_->permits.Begin(head.b, head.count, head.a, body.size());
    if (permit == nullptr) return SayFailed(head.tag, NotPermitted());
  }
  const bool in_place = !body.empty() && body.data() == placed_.data();
  auto bytes = std::make_shared<Buffer>(in_place ? std::move(placed_) : Buffer::CopyOf(body));
  store_->segments->Write(head.count, head.a, {bytes->view()},
                          Ending(body.size(), Answer{head.tag, bytes}, std::move(permit)));
}

void StorageSession::OnSync(const FrameHead& head) {
  struct Answer {
    uint64_t tag;
    void operator()(StorageSession* session) const {
      session->stream_->Add({.kind = Kind::kDone, .tag = tag});
    }
  };
  store_->segments->Sync(head.count, Ending(0, Answer{head.tag}));
}

}  // namespace holdfast::storage
