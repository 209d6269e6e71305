// SPDX-License-Identifier: Apache-2.0
#include "bench/cold_clients.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "holdfast/client.h"
#include "io/net/log_sink.h"
#include "tests/origin/content.h"

namespace holdfast::bench {
namespace {

[[noreturn]] void Die(const std::string& text) {
  std::fprintf(stderr, "bench_cold: reader: %s\n", text.c_str());
  std::_Exit(3);
}

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void CheckObject(const ColdSet& set, size_t n, ByteView bytes) {
  if (bytes.size() != set.size || LoadAs<uint64_t>(bytes.data()) != set.first_words[n]) {
    Die("wrong bytes of " + set.paths[n]);
  }
}

void CheckAllBytes(const ColdSet& set, size_t n, ByteView bytes) {
  Buffer right(set.size);
  origin::Content(set.paths[n], 0).Read(0, right.span());
  if (bytes.size() != set.size || std::memcmp(bytes.data(), right.data(), set.size) != 0) {
    Die("wrong bytes of " + set.paths[n]);
  }
}

// Tells the parent that the reader is ready, and waits until it has read the servers' clocks.
using Begin = std::function<void()>;

double CpuOf(const std::vector<const ServerProcess*>& servers) {
  double seconds = 0;
  for (const ServerProcess* server : servers) seconds += server->CpuSeconds();
  return seconds;
}

// Forks `body`, which calls its argument once and fills what only it knows of the Run.
Run RunForked(const std::vector<const ServerProcess*>& servers,
              const std::function<Run(const Begin&)>& body) {
  int up[2], down[2];
  if (::pipe2(up, O_CLOEXEC) != 0 || ::pipe2(down, O_CLOEXEC) != 0) Die("no pipe");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(up[0]);
    ::close(down[1]);
    Run run = body([&] {
      char byte = 0;
      if (::write(up[1], &byte, 1) != 1 || ::read(down[0], &byte, 1) != 1) std::_Exit(3);
    });
    if (::write(up[1], &run, sizeof(run)) != sizeof(run)) std::_Exit(3);
    std::_Exit(0);
  }
  ::close(up[1]);
  ::close(down[0]);
  char byte = 0;
  if (::read(up[0], &byte, 1) != 1) throw ReaderFailed();
  const double before = CpuOf(servers);
  Run run;
  if (::write(down[1], &byte, 1) != 1 || ::read(up[0], &run, sizeof(run)) != sizeof(run)) {
    throw ReaderFailed();
  }
  run.server_cpu_s = CpuOf(servers) - before;
  ::close(up[0]);
  ::close(down[1]);
  ::waitpid(pid, nullptr, 0);
  return run;
}

// --- libcurl -------------------------------------------------------------------------------------

class CurlReader {
 public:
  CurlReader(const ColdSet& set, const CurlSpec& spec);
  void ReadAll();

 private:
  struct Slot {
    CURL* easy = nullptr;
    Buffer into;
    uint64_t filled = 0;
    size_t object = 0;
  };
  static size_t OnBody(char* data, size_t, size_t size, void* slot);
  static int OnSocket(CURL*, curl_socket_t fd, int what, void* self, void*);
  static int OnTimer(CURLM*, long timeout_ms, void* self);
  void StartNext(Slot& slot);
  void TakeDone();

  const ColdSet& set_;
  std::vector<std::string> urls_;
  std::vector<std::unique_ptr<Slot>> slots_;
  CURLM* multi_ = curl_multi_init();
  int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<uint32_t> watched_ = std::vector<uint32_t>(65'536);  // by descriptor
  long timeout_ms_ = -1;
  size_t next_ = 0;
  size_t done_ = 0;
};

CurlReader::CurlReader(const ColdSet& set, const CurlSpec& spec) : set_(set) {
  for (const std::string& path : set.paths) urls_.push_back(spec.base_url + path);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, OnSocket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, OnTimer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(spec.connections));
  for (uint32_t i = 0; i < spec.connections; ++i) {
    auto slot = std::make_unique<Slot>();
    slot->easy = curl_easy_init();
    slot->into = Buffer(set.size);
    std::memset(slot->into.data(), 0, set.size);
    curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, reinterpret_cast<char*>(slot.get()));
    curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, OnBody);
    curl_easy_setopt(slot->easy, CURLOPT_WRITEDATA, slot.get());
    curl_easy_setopt(slot->easy, CURLOPT_BUFFERSIZE, 128L * 1024);
    curl_easy_setopt(slot->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(slot->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(slot->easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    slots_.push_back(std::move(slot));
  }
}

size_t CurlReader::OnBody(char* data, size_t, size_t size, void* slot_pointer) {
  auto* slot = static_cast<Slot*>(slot_pointer);
  if (size > slot->into.size() - slot->filled) return 0;
  std::memcpy(slot->into.data() + slot->filled, data, size);
  slot->filled += size;
  return size;
}

// An idle connection stays registered: to take it out and put it in again would be two system calls
// per object.
int CurlReader::OnSocket(CURL*, curl_socket_t fd, int what, void* self_pointer, void*) {
  auto* self = static_cast<CurlReader*>(self_pointer);
  if (what == CURL_POLL_REMOVE) return 0;
  epoll_event event{};
  event.data.fd = fd;
  if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) event.events |= EPOLLIN;
  if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) event.events |= EPOLLOUT;
  uint32_t& watched = self->watched_[static_cast<size_t>(fd)];
  if (watched == event.events) return 0;
  if (epoll_ctl(self->epoll_, EPOLL_CTL_MOD, fd, &event) != 0 &&
      epoll_ctl(self->epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
    return -1;
  }
  watched = event.events;
  return 0;
}

int CurlReader::OnTimer(CURLM*, long timeout_ms, void* self) {
  static_cast<CurlReader*>(self)->timeout_ms_ = timeout_ms;
  return 0;
}

void CurlReader::StartNext(Slot& slot) {
  if (next_ == urls_.size()) return;
  slot.object = next_++;
  slot.filled = 0;
  curl_easy_setopt(slot.easy, CURLOPT_URL, urls_[slot.object].c_str());
  curl_multi_add_handle(multi_, slot.easy);
}

void CurlReader::TakeDone() {
  int left = 0;
  while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    char* pointer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &pointer);
    auto* slot = reinterpret_cast<Slot*>(pointer);
    if (message->data.result != CURLE_OK) Die(curl_easy_strerror(message->data.result));
    CheckObject(set_, slot->object, slot->into.view().first(slot->filled));
    curl_multi_remove_handle(multi_, slot->easy);
    ++done_;
    StartNext(*slot);
  }
}

void CurlReader::ReadAll() {
  for (auto& slot : slots_) StartNext(*slot);
  std::array<epoll_event, 256> events;
  int running = 0;
  while (done_ < urls_.size()) {
    if (timeout_ms_ == 0) {  // what was added since begins here
      timeout_ms_ = -1;
      curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
      TakeDone();
      continue;
    }
    const int wait_ms = timeout_ms_ < 0 ? 1'000 : static_cast<int>(timeout_ms_);
    const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), wait_ms);
    for (int i = 0; i < n; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      const int mask = ((event.events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                       ((event.events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                       ((event.events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
      curl_multi_socket_action(multi_, event.data.fd, mask, &running);
    }
    if (n == 0) curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
    TakeDone();
  }
}

// --- Holdfast ------------------------------------------------------------------------------------

ObjectList ListOf(const ColdSet& set, const std::string& origin) {
  ObjectList list;
  for (size_t i = 0; i < set.paths.size(); ++i) {
    if (Status added = list.Add(origin + set.paths[i], set.size, set.etags[i]); !added.ok()) {
      Die(added.ToString());
    }
  }
  return list;
}

std::unique_ptr<Client> Connect(const HoldfastSpec& spec, Log* log) {
  ClientOptions options;
  options.nodes = {{0, spec.control}};
  options.attach = spec.state_directory + "/attach.sock";
  options.far.aws_settings = false;
  options.log = log;
  Result<std::unique_ptr<Client>> client = Client::Connect(options);
  if (!client.ok()) Die(client.status().ToString());
  return *std::move(client);
}

}  // namespace

ColdSet MakeColdSet(uint64_t size, size_t count, uint64_t number) {
  ColdSet set;
  set.size = size;
  char path[96];
  for (size_t i = 0; i < count; ++i) {
    std::snprintf(path, sizeof(path), "/o/%llu/%llu-%06zu", static_cast<unsigned long long>(size),
                  static_cast<unsigned long long>(number), i);
    const origin::Content content(path, 0);
    std::array<std::byte, 8> word;
    content.Read(0, word);
    set.paths.emplace_back(path);
    set.etags.push_back(content.ETag());
    set.first_words.push_back(LoadAs<uint64_t>(word.data()));
  }
  return set;
}

Run RunCurl(const ColdSet& set, const CurlSpec& spec,
            const std::vector<const ServerProcess*>& servers) {
  return RunForked(servers, [&](const Begin& begin) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CurlReader reader(set, spec);
    begin();
    Run run;
    const double began = NowSeconds(), cpu = OwnCpuSeconds();
    reader.ReadAll();
    run.seconds = NowSeconds() - began;
    run.client_cpu_s = OwnCpuSeconds() - cpu;
    return run;
  });
}

Run RunHoldfast(const ColdSet& set, const HoldfastSpec& spec,
                const std::vector<const ServerProcess*>& servers) {
  return RunForked(servers, [&](const Begin& begin) {
    net::LogSink log({.program = "reader", .level = LogLevel::kWarn});
    std::unique_ptr<Client> client = Connect(spec, &log);
    ObjectList list = ListOf(set, spec.origin);
    begin();
    Run run;
    const double began = NowSeconds(), cpu = OwnCpuSeconds();
    Result<std::unique_ptr<PlannedJob>> job = client->Plan(std::move(list));
    if (!job.ok()) Die(job.status().ToString());
    run.plan_s = NowSeconds() - began;
    Result<std::unique_ptr<Reader>> reader = (*job)->Read();
    if (!reader.ok()) Die(reader.status().ToString());
    while (true) {
      Result<std::optional<Object>> object = (*reader)->Next();
      if (!object.ok()) Die(object.status().ToString());
      if (!object->has_value()) break;
      CheckObject(set, (*object)->position(), (*object)->bytes());
      if (spec.verify_all) CheckAllBytes(set, (*object)->position(), (*object)->bytes());
    }
    run.seconds = NowSeconds() - began;
    run.client_cpu_s = OwnCpuSeconds() - cpu;
    run.local_share =
        static_cast<double>((*reader)->Report().objects[0]) / static_cast<double>(set.paths.size());
    reader->reset();
    job->reset();
    client.reset();
    return run;
  });
}

}  // namespace holdfast::bench
