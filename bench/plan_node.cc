// SPDX-License-Identifier: Apache-2.0
#include "bench/plan_node.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/hash.h"
#include "cached/node.h"
#include "io/net/event_loop.h"
#include "io/net/log_sink.h"
#include "io/net/zmq_network.h"

namespace holdfast::bench {
namespace {

// Gives every object its first bytes and the hash of all of them, on the deciding thread.
class InstantFarStore : public FarStore {
 public:
  explicit InstantFarStore(Clock* clock) : clock_(clock) {}

  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t)> done) override {
    ++counters_.gets;
    counters_.bytes += get.length;
    std::memset(get.into.data(), 1, get.length);
    uint64_t hash = Hash64(get.into.first(get.length));
    clock_->At(clock_->Now(), [done = std::move(done), info = FarInfo{get.length, get.etag}, hash] {
      done({}, info, hash);
    });
  }
  void Head(const std::string&, Time, std::function<void(Result<FarInfo>)> done) override {
    done(Status::NotFound("not in this benchmark"));
  }
  void List(const std::string&, const std::string&, bool, Time,
            std::function<void(Result<FarPage>)> done) override {
    done(Status::NotFound("not in this benchmark"));
  }
  FarCounters Counters() const override { return counters_; }

 private:
  Clock* clock_;
  FarCounters counters_;
};

template <typename T>
T OrDie(Result<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "bench_plan: node: %s\n", result.status().ToString().c_str());
  std::_Exit(3);
}

// The child: listens, tells its address through `out`, waits for those of all, and serves until it is killed.
[[noreturn]] void RunNode(NodeId id, uint16_t count, uint64_t memory_bytes, uint64_t objects,
                          int out, int in) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  net::LogSink log({.program = "node", .level = LogLevel::kWarn});
  std::unique_ptr<net::EventLoop> loop = OrDie(net::EventLoop::Create());
  std::unique_ptr<net::ZmqNetwork> network = OrDie(net::ZmqNetwork::Open(loop.get(), {}, {}, &log));
  char address[64] = {};
  std::snprintf(address, sizeof(address), "%s",
                OrDie(network->Listen("tcp://127.0.0.1:0")).c_str());
  if (::write(out, address, sizeof(address)) != sizeof(address)) std::_Exit(3);
  store::MemoryTierOptions options{
      .memory_bytes = memory_bytes, .index_objects = objects, .node = id, .incarnation = id + 1u};
  shm::RegionPlan plan = OrDie(store::PlanRegion(options));
  void* memory = ::mmap(nullptr, plan.region_bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) std::_Exit(3);
  store::Sessions sessions(plan.segments);
  store::MemoryTier tier({static_cast<std::byte*>(memory), plan.region_bytes}, plan, options,
                         &sessions);
  cached::NodeOptions node_options;
  node_options.node = id;
  node_options.incarnation = id + 1u;
  for (NodeId n = 0; n < count; ++n) {
    if (::read(in, address, sizeof(address)) != sizeof(address)) std::_Exit(3);
    node_options.members.push_back({n, address});
  }
  InstantFarStore far(loop.get());
  Random random(id);
  cached::Node node({loop.get(), network.get(), &far, &random, &log}, &tier, node_options);
  node.Start();
  loop->Run();
  std::_Exit(0);
}

}  // namespace

PlanNodes StartNodes(uint16_t count, uint64_t memory_bytes, uint64_t objects) {
  PlanNodes nodes;
  std::vector<int> to;
  std::vector<std::string> addresses;
  for (NodeId id = 0; id < count; ++id) {
    int up[2], down[2];
    if (::pipe2(up, O_CLOEXEC) != 0 || ::pipe2(down, O_CLOEXEC) != 0) std::_Exit(3);
    pid_t pid = ::fork();
    if (pid == 0) RunNode(id, count, memory_bytes, objects, up[1], down[0]);
    ::close(up[1]);
    ::close(down[0]);
    char address[64] = {};
    if (::read(up[0], address, sizeof(address)) != sizeof(address)) std::_Exit(3);
    ::close(up[0]);
    nodes.processes.push_back(pid);
    nodes.endpoints.push_back(address);
    addresses.emplace_back(address, sizeof(address));
    to.push_back(down[1]);
  }
  for (int fd : to) {
    for (const std::string& address : addresses) {
      if (::write(fd, address.data(), address.size()) < 0) std::_Exit(3);
    }
    ::close(fd);
  }
  return nodes;
}

void StopNodes(const PlanNodes& nodes) {
  for (pid_t pid : nodes.processes) ::kill(pid, SIGKILL);
  for (pid_t pid : nodes.processes) ::waitpid(pid, nullptr, 0);
}

}  // namespace holdfast::bench
