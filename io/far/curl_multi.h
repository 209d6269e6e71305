// SPDX-License-Identifier: Apache-2.0
// libcurl's multi interface driven by epoll through curl_multi_socket_action, which costs less per
// transfer than curl_multi_poll. One thread uses it; only Wake may be called from others.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/units.h"

namespace holdfast::far {

class CurlMulti {
 public:
  static Result<std::unique_ptr<CurlMulti>> Open(uint32_t max_connections);
  ~CurlMulti();
  CurlMulti(const CurlMulti&) = delete;
  CurlMulti& operator=(const CurlMulti&) = delete;

  // Sets the options that tie a handle to this object; once per handle, which must be cleaned up
  // before this object.
  void Attach(CURL* easy);
  void Add(CURL* easy);
  // Ends a transfer at any point; its connection is kept only if the transfer had ended by itself.
  void Remove(CURL* easy);
  // Waits for sockets, a Wake or `at_most`, and moves the transfers on. Whether there was anything
  // before the time was over.
  bool Wait(Duration at_most);
  // A transfer that ended, or null; the caller removes it.
  CURL* NextDone(CURLcode* code);
  // Ends a Wait that is going on, or the next one.
  void Wake();

 private:
  // What epoll watches for a descriptor and what curl wants. They differ while a connection is
  // idle: unregistering it after each transfer and registering it again for the next would be two
  // system calls per object.
  struct Watch {
    uint32_t registered = 0;
    uint32_t wanted = 0;
    bool owned = false;  // a connection of ours: we hear when it is closed
  };

  CurlMulti() = default;
  static int OnSocket(CURL* easy, curl_socket_t fd, int what, void* self, void* socket_data);
  static int OnTimer(CURLM* multi, long timeout_ms, void* self);
  static curl_socket_t OnOpen(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int OnClose(void* self, curl_socket_t fd);

  Watch& WatchOf(int fd);
  bool Register(int fd, uint32_t events);
  void OnEvent(int fd, uint32_t events);
  int64_t NowUs() const;

  int epoll_ = -1;
  int wake_ = -1;
  CURLM* multi_ = nullptr;
  CURLSH* share_ = nullptr;  // TLS sessions, so that a new connection resumes
  int64_t timer_us_ = -1;    // when curl wants to be called; -1: not
  std::vector<Watch> watches_;
};

}  // namespace holdfast::far
