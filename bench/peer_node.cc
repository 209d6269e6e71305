// SPDX-License-Identifier: Apache-2.0
#include "bench/peer_node.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "base/hash.h"
#include "base/random.h"
#include "cached/store/memory_tier.h"
#include "io/bulk/bulk_server.h"
#include "io/shm/region_file.h"
#include "wire/local_reader.h"

namespace holdfast::bench {
namespace {

ByteSpan MapSession(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  HF_CHECK(data != MAP_FAILED);
  return {static_cast<std::byte*>(data), bytes};
}

void Load(store::MemoryTier* tier, const ObjectSet& set) {
  for (uint32_t i = 0; i < set.count; ++i) {
    auto slot = tier->Allocate(
        {.oid = set.OidOf(i), .version = 1, .size = set.size, .name = "file:///bench", .etag = "e"},
        Time{1}, std::nullopt);
    HF_CHECK(slot.ok());
    set.Fill(i, slot->payload);
    tier->Commit(slot->id, Hash64(slot->payload), 0);
  }
}

// The child's life: everything in memory, then serving until it is killed.
[[noreturn]] void RunNode(const std::vector<ObjectSet>& sets, const std::string& directory,
                          int report_fd) {
  uint64_t bytes = 0;
  uint64_t objects = 0;
  for (const ObjectSet& set : sets) {
    bytes += set.count * shm::RecordBytes(set.size, 64, 64);
    objects += set.count;
  }
  store::MemoryTierOptions options{.memory_bytes = bytes + bytes / 2 + 256 * kMiB,
                                   .segment_bytes = 8 * kMiB,
                                   .index_objects = objects * 2,
                                   .max_object_bytes = 0,
                                   .node = 1,
                                   .incarnation = 1};
  auto plan = store::PlanRegion(options);
  HF_CHECK(plan.ok());
  // As the daemon has it: a tmpfs of its own, with huge pages where the machine allows it.
  shm::RegionFileOptions file;
  file.directory = directory;
  file.plan = *plan;
  auto region = shm::RegionFile::Open(file);
  if (!region.ok()) {
    std::fprintf(stderr, "bench: %s\n", region.status().ToString().c_str());
    _exit(1);
  }
  ByteSpan session = MapSession(shm::SessionBytes(plan->segments));
  FormatSession(session, 1, plan->segments, options.incarnation, 1);
  store::Sessions sessions(plan->segments);
  sessions.Attach(1, session);
  store::MemoryTier tier((*region)->memory(), *plan, options, &sessions);
  for (const ObjectSet& set : sets) Load(&tier, set);
  auto reader = LocalReader::Open((*region)->memory(), session);
  HF_CHECK(reader.ok());
  auto server = bulk::BulkServer::Start({.endpoints = {"tcp://127.0.0.1:0"}}, reader->get(),
                                        (*region)->read_only_fd(), nullptr, nullptr);
  HF_CHECK(server.ok());
  const std::string& endpoint = (*server)->endpoints()[0];
  std::string report = endpoint + " " + (*region)->description();
  HF_CHECK(write(report_fd, report.data(), report.size()) > 0);
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  int signal = 0;
  sigwait(&end, &signal);
  server->reset();
  (*region)->Remove();
  _exit(0);
}

// A port that was free a moment ago.
int FreePort() {
  auto endpoint = bulk::ParseEndpoint("tcp://127.0.0.1:0");
  HF_CHECK(endpoint.ok());
  auto fd = bulk::Listen(&*endpoint);
  HF_CHECK(fd.ok());
  return std::stoi(endpoint->text.substr(endpoint->text.rfind(':') + 1));
}

bool Answers(const std::string& endpoint) {
  auto parsed = bulk::ParseEndpoint(endpoint);
  bulk::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return connect(fd.get(), reinterpret_cast<sockaddr*>(&parsed->address), parsed->length) == 0;
}

}  // namespace

Oid ObjectSet::OidOf(uint32_t i) const {
  return {Mix64(first + i), Mix64(first + i + 1'000'000'007)};
}

std::string ObjectSet::KeyOf(uint32_t i) const { return "k" + std::to_string(first + i); }

void ObjectSet::Fill(uint32_t i, ByteSpan into) const {
  Random random(first + i);
  for (size_t at = 0; at + 8 <= into.size(); at += 8) StoreAs(into.data() + at, random.Next());
}

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

double Child::CpuSeconds() const {
  clockid_t clock{};
  timespec used{};
  HF_CHECK(clock_getcpuclockid(pid_, &clock) == 0 && clock_gettime(clock, &used) == 0);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

Result<Child> StartNode(const std::vector<ObjectSet>& sets, std::string* endpoint,
                        std::string* memory) {
  int ends[2];
  HF_CHECK(pipe2(ends, O_CLOEXEC) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    // The parent's end is the child's, however it comes.
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    // Blocked before there are threads, so that it is the waiting one that gets it.
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, nullptr);
    close(ends[0]);
    RunNode(sets, "/dev/shm/holdfast-bench-peer-" + std::to_string(getpid()), ends[1]);
  }
  close(ends[1]);
  Child child(pid);
  char text[512];
  ssize_t n = read(ends[0], text, sizeof(text));
  close(ends[0]);
  if (n <= 0) return Status::Unavailable("the node did not start");
  std::string_view report(text, static_cast<size_t>(n));
  size_t space = report.find(' ');
  if (space == std::string_view::npos) return Status::Unavailable("the node did not start");
  endpoint->assign(report.substr(0, space));
  memory->assign(report.substr(space + 1));
  return child;
}

Result<Child> StartMemcached(uint32_t threads, uint64_t memory_bytes, std::string* endpoint) {
  std::string port = std::to_string(FreePort());
  std::string megabytes = std::to_string(memory_bytes / kMiB);
  std::string workers = std::to_string(threads);
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl("/usr/bin/memcached", "memcached", "-u", "root", "-l", "127.0.0.1", "-p", port.c_str(),
          "-U", "0", "-I", "2m", "-m", megabytes.c_str(), "-t", workers.c_str(), nullptr);
    _exit(127);
  }
  Child child(pid);
  *endpoint = "tcp://127.0.0.1:" + port;
  for (int i = 0; i < 500; ++i) {
    if (Answers(*endpoint)) return child;
    usleep(10'000);
  }
  return Status::Unavailable("/usr/bin/memcached did not start; install the package memcached");
}

}  // namespace holdfast::bench
