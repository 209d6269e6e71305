// SPDX-License-Identifier: Apache-2.0
#include "io/far/curl_multi.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <string>

namespace holdfast::far {
namespace {

constexpr int kMaxEvents = 256;

void InitCurlOnce() {
  static std::once_flag once;
  std::call_once(once, [] { HF_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
}

}  // namespace

Result<std::unique_ptr<CurlMulti>> CurlMulti::Open(uint32_t max_connections) {
  InitCurlOnce();
  std::unique_ptr<CurlMulti> self(new CurlMulti);
  self->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  self->wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  self->multi_ = curl_multi_init();
  self->share_ = curl_share_init();
  if (self->epoll_ < 0 || self->wake_ < 0 || self->multi_ == nullptr || self->share_ == nullptr) {
    return Status::Unavailable(std::string("the far store cannot start: ") + std::strerror(errno));
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = self->wake_;
  HF_CHECK(epoll_ctl(self->epoll_, EPOLL_CTL_ADD, self->wake_, &event) == 0);
  curl_share_setopt(self->share_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  curl_multi_setopt(self->multi_, CURLMOPT_SOCKETFUNCTION, OnSocket);
  curl_multi_setopt(self->multi_, CURLMOPT_SOCKETDATA, self.get());
  curl_multi_setopt(self->multi_, CURLMOPT_TIMERFUNCTION, OnTimer);
  curl_multi_setopt(self->multi_, CURLMOPT_TIMERDATA, self.get());
  curl_multi_setopt(self->multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(max_connections));
  return self;
}

CurlMulti::~CurlMulti() {
  if (multi_ != nullptr) curl_multi_cleanup(multi_);
  if (share_ != nullptr) curl_share_cleanup(share_);
  if (wake_ >= 0) close(wake_);
  if (epoll_ >= 0) close(epoll_);
}

void CurlMulti::Attach(CURL* easy) {
  curl_easy_setopt(easy, CURLOPT_SHARE, share_);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, OnOpen);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, this);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, OnClose);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
}

void CurlMulti::Add(CURL* easy) { HF_CHECK(curl_multi_add_handle(multi_, easy) == CURLM_OK); }
void CurlMulti::Remove(CURL* easy) { HF_CHECK(curl_multi_remove_handle(multi_, easy) == CURLM_OK); }

int64_t CurlMulti::NowUs() const {
  return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool CurlMulti::Wait(Duration at_most) {
  int64_t wait_us = std::max<int64_t>(at_most.count(), 0);
  if (timer_us_ >= 0) wait_us = std::clamp<int64_t>(timer_us_ - NowUs(), 0, wait_us);
  std::array<epoll_event, kMaxEvents> events;
  const int n = epoll_wait(epoll_, events.data(), kMaxEvents,
                           static_cast<int>(std::min<int64_t>((wait_us + 999) / 1000, 60'000)));
  for (int i = 0; i < n; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    OnEvent(event.data.fd, event.events);
  }
  if (timer_us_ >= 0 && NowUs() >= timer_us_) {
    timer_us_ = -1;
    int running = 0;
    curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
    return true;
  }
  return n > 0;
}

void CurlMulti::OnEvent(int fd, uint32_t events) {
  if (fd == wake_) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t ignored = read(wake_, &count, sizeof(count));
    return;
  }
  Watch& watch = WatchOf(fd);
  if (watch.wanted == 0) {  // an idle connection that was closed: stop hearing of it
    Register(fd, 0);
    return;
  }
  int mask = 0;
  if ((events & EPOLLIN) != 0) mask |= CURL_CSELECT_IN;
  if ((events & EPOLLOUT) != 0) mask |= CURL_CSELECT_OUT;
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) mask |= CURL_CSELECT_ERR;
  int running = 0;
  curl_multi_socket_action(multi_, fd, mask, &running);
}

CURL* CurlMulti::NextDone(CURLcode* code) {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    *code = message->data.result;
    return message->easy_handle;
  }
  return nullptr;
}

void CurlMulti::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = write(wake_, &one, sizeof(one));
}

CurlMulti::Watch& CurlMulti::WatchOf(int fd) {
  const auto index = static_cast<size_t>(fd);
  if (index >= watches_.size()) watches_.resize(index + 64);
  return watches_[index];
}

bool CurlMulti::Register(int fd, uint32_t events) {
  Watch& watch = WatchOf(fd);
  if (watch.owned && watch.registered == events) return true;
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  bool done = events == 0 && epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &event) == 0;
  if (events != 0) {
    // What is known of a descriptor that is not ours may be stale: the kernel forgets what is
    // closed.
    done = (watch.registered != 0 && epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0) ||
           epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
  }
  watch.registered = events;
  return done || events == 0;
}

int CurlMulti::OnSocket(CURL*, curl_socket_t fd, int what, void* self_pointer, void*) {
  auto* self = static_cast<CurlMulti*>(self_pointer);
  Watch& watch = self->WatchOf(fd);
  watch.wanted = 0;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) watch.wanted |= EPOLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) watch.wanted |= EPOLLOUT;
  // curl closes its resolver's pipes without telling, so only our own connections may stay
  // registered.
  if (watch.wanted == 0 && watch.owned) return 0;
  return self->Register(fd, watch.wanted) ? 0 : -1;
}

int CurlMulti::OnTimer(CURLM*, long timeout_ms, void* self_pointer) {
  auto* self = static_cast<CurlMulti*>(self_pointer);
  self->timer_us_ = timeout_ms < 0 ? -1 : self->NowUs() + timeout_ms * 1000;
  return 0;
}

curl_socket_t CurlMulti::OnOpen(void* self_pointer, curlsocktype, curl_sockaddr* address) {
  const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  static_cast<CurlMulti*>(self_pointer)->WatchOf(fd) = {
      .registered = 0, .wanted = 0, .owned = true};
  return fd;
}

int CurlMulti::OnClose(void* self_pointer, curl_socket_t fd) {
  static_cast<CurlMulti*>(self_pointer)->WatchOf(fd) = {};
  return close(fd);
}

}  // namespace holdfast::far
