// SPDX-License-Identifier: Apache-2.0
#include "io/storage/storage_link.h"

#include <sys/epoll.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "base/hash.h"

namespace holdfast::storage {
namespace {

constexpr Duration kBetweenPings = 1s;

uint64_t RandomNumber() {
  std::random_device entropy;
  return (uint64_t{entropy()} << 32 | entropy()) | 1;
}

// What will not become right by asking again.
bool IsFinal(Code code, bool was_open) {
  return code == Code::kDenied || code == Code::kInvalid ||
         (!was_open && (code == Code::kNoSpace || code == Code::kCorrupt));
}

}  // namespace

StorageLink::StorageLink(net::EventLoop* loop, RemoteOptions options, Request request,
                         Handlers handlers)
    : loop_(loop),
      options_(std::move(options)),
      request_(request),
      handlers_(std::move(handlers)),
      opener_(RandomNumber()) {}

StorageLink::~StorageLink() {
  *alive_ = false;
  Close();
}

void StorageLink::Start() {
  down_since_ = dial_at_ = loop_->Now();
  last_error_ = Status::Unavailable("not connected yet");
  Tick();
}

void StorageLink::Tick() {
  if (refused_) return;
  const Time now = loop_->Now();
  if (stream_ == nullptr && now >= dial_at_) Dial();
  if (stream_ != nullptr) {
    if (stream_->received() != std::exchange(received_, stream_->received())) heard_ = now;
    if (up_ && !handlers_.busy()) heard_ = now;
    if (now - heard_ >= kSilence) {
      Break(Status::Unavailable("it has not answered for " + FormatDuration(kSilence)));
    } else if (up_ && now - heard_ >= kBetweenPings && now - pinged_ >= kBetweenPings) {
      pinged_ = now;
      stream_->Add({.kind = Kind::kPing});
      Flush();
    }
  }
  handlers_.tick(now);
  if (refused_) return;
  const Duration wait =
      stream_ == nullptr ? std::clamp(dial_at_ - now, Duration(1ms), kTick) : kTick;
  loop_->At(now + wait, [this, alive = alive_] {
    if (*alive) Tick();
  });
}

std::string StorageLink::PeerName() const {
  return (request_.kind == Kind::kOpenMover ? "the reclaim worker of " : "the storage server of ") +
         options_.store;
}

// --- Connection ----------------------------------------------------------------------------------

void StorageLink::Dial() {
  heard_ = loop_->Now();
  received_ = 0;
  Result<bulk::Endpoint> endpoint = bulk::ParseEndpoint(options_.endpoint);
  if (!endpoint.ok()) return Break(endpoint.status());
  endpoint_ = *std::move(endpoint);
  Result<bulk::Fd> fd = bulk::Dial(endpoint_);
  if (!fd.ok()) return Break(fd.status());
  stream_ = std::make_unique<FrameStream>(
      *std::move(fd), FrameStream::Handlers{.place = handlers_.place,
                                            .frame = [this](const FrameHead& head, ByteView body) {
                                              return OnFrame(head, body);
                                            }});
  Watch();
}

void StorageLink::Watch() {
  watches_writes_ = !connected_ || !stream_->idle();
  const uint32_t events = EPOLLIN | (watches_writes_ ? uint32_t{EPOLLOUT} : 0u);
  loop_->Unwatch(stream_->fd());
  const Status watched =
      loop_->Watch(stream_->fd(), events, [this](uint32_t ready) { Ready(ready); });
  if (!watched.ok()) Break(watched);
}

void StorageLink::Ready(uint32_t events) {
  Status status;
  if (!connected_) {
    status = Connected();
  } else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    status = stream_->Receive();
  }
  if (!status.ok()) return Break(status);
  if (stream_ != nullptr) Flush();
}

Status StorageLink::Connected() {
  HF_RETURN_IF_ERROR(bulk::ConnectError(stream_->fd(), endpoint_));
  connected_ = true;
  stream_->AddRaw(
      Encode(Hello{.cluster_hash = Hash64(AsBytes(options_.cluster)), .token = options_.token}));
  std::vector<std::byte> body(kOpenerBytes);
  StoreAs(body.data(), opener_);
  const std::string whose = Encode(MoverName{options_.store, request_.endpoint});
  const ByteView name = AsBytes(whose);
  body.insert(body.end(), name.begin(), name.end());
  stream_->Add({.kind = request_.kind,
                .tag = options_.node,
                .a = epoch_,
                .b = request_.bytes,
                .count = request_.segments},
               body);
  return {};
}

void StorageLink::Flush() {
  if (Status sent = stream_->Flush(); !sent.ok()) {
    // From inside of whatever is being done to the stream: it is broken off later.
    loop_->Post([this, alive = alive_, sent, stream = stream_.get()] {
      if (*alive && stream_.get() == stream) Break(sent);
    });
    return;
  }
  if (watches_writes_ != !stream_->idle()) Watch();
}

void StorageLink::Close() {
  if (stream_ == nullptr) return;
  loop_->Unwatch(stream_->fd());
  bulk::SetAbortOnClose(stream_->fd());
  stream_.reset();
  connected_ = up_ = false;
}

void StorageLink::Stop() {
  refused_ = true;
  Close();
}

void StorageLink::Break(const Status& why) {
  if (refused_) return;
  const bool was_up = up_;
  Close();
  const Time now = loop_->Now();
  if (was_up) {
    down_since_ = now;
    pause_ = kShortestPause;
  }
  last_error_ = why.Annotate(options_.endpoint);
  if (was_up && options_.log != nullptr) {
    options_.log->Warn("lost " + PeerName() + ": " + last_error_.message());
  }
  dial_at_ = now + pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
  if (was_up) handlers_.down();
}

// --- Frames --------------------------------------------------------------------------------------

Status StorageLink::OnFrame(const FrameHead& head, ByteView body) {
  if (head.kind == Kind::kPong) return {};
  if (head.kind == Kind::kFailed && head.tag == 0 && head.a == 0) return OnFailed(head, body);
  if (up_) return handlers_.frame(head, body);
  if (head.kind == Kind::kOpened) return OnOpened(head, body);
  return Status::Corrupt("the storage server said something before the store was open");
}

Status StorageLink::OnOpened(const FrameHead& head, ByteView body) {
  const bool journal = request_.kind == Kind::kOpenJournal;
  if (body.size() != (journal ? 16 : 0) || head.a == 0)
    return Status::Corrupt("the storage server's answer to the opening is none");
  Opened opened{.server = head.tag, .epoch = head.a, .value = head.b, .segments = head.count};
  if (journal) {
    opened.journal_bytes = LoadAs<uint64_t>(body.data());
    opened.wanted = LoadAs<uint64_t>(body.data() + 8);
  }
  if (epoch_ != 0 && options_.log != nullptr) {
    options_.log->Info(PeerName() + " is back after " + FormatDuration(loop_->Now() - down_since_));
  }
  epoch_ = opened.epoch;
  up_ = true;
  down_since_ = Time::Max();
  pause_ = kShortestPause;
  return handlers_.up(opened);
}

Status StorageLink::OnFailed(const FrameHead& head, ByteView body) {
  const Status said(head.code, std::string(AsText(body)));
  if (!IsFinal(head.code, epoch_ != 0)) return said;
  last_error_ = said.Annotate(options_.endpoint);
  if (options_.log != nullptr && (epoch_ != 0 || request_.kind == Kind::kOpenMover))
    options_.log->Error(PeerName() + " is not asked any more: " + last_error_.message());
  refused_ = true;
  up_ = false;
  // The stream is in the middle of this frame.
  loop_->Post([this, alive = alive_] {
    if (!*alive) return;
    Close();
    handlers_.refused(last_error_);
  });
  return {};
}

}  // namespace holdfast::storage
