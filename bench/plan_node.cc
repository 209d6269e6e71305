// SPDX-License-Identifier: Apache-2.0
#include "bench/plan_node.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/hash.h"
#include "cached/heap.h"
#include "cached/node.h"
#include "cached/store/memory_tier.h"
#include "io/net/event_loop.h"
#include "io/net/log_sink.h"
#include "io/net/zmq_network.h"
#include "io/shm/region_file.h"

namespace holdfast::bench {
namespace {

constexpr uint64_t kPlanningBytes = 128 * kMiB;

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

void OrDie(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bench_plan: node: %s\n", status.ToString().c_str());
  std::_Exit(3);
}

template <typename T>
T OrDie(Result<T> result) {
  OrDie(result.status());
  return *std::move(result);
}

std::string DirectoryOf(unsigned id) {
  return "/dev/shm/holdfast-bench-plan-" + std::to_string(::getppid()) + "-" + std::to_string(id);
}

using Address = std::array<char, 64>;

// Its standard output goes into `out`, its standard input comes from `in`.
pid_t Spawn(const std::vector<std::string>& arguments, int out, int in) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(in, STDIN_FILENO);
  ::execv("/proc/self/exe", argv.data());
  std::_Exit(3);
}

}  // namespace

// Listens, tells its address through standard output, reads those of all, and serves until it is
// told to end.
void RunNode(char** argv) {
  const auto id = static_cast<NodeId>(std::stoul(argv[2]));
  const auto count = static_cast<uint16_t>(std::stoul(argv[3]));
  cached::TakeHeap(kPlanningBytes);
  net::LogSink log({.program = "node", .level = LogLevel::kWarn});
  std::unique_ptr<net::EventLoop> loop = OrDie(net::EventLoop::Create());
  OrDie(loop->OnSignals({SIGTERM}, [&loop](int) { loop->Stop(); }));
  std::unique_ptr<net::ZmqNetwork> network = OrDie(net::ZmqNetwork::Open(loop.get(), {}, {}, &log));
  store::MemoryTierOptions options{.memory_bytes = std::stoull(argv[4]),
                                   .index_objects = std::stoull(argv[5]),
                                   .node = id,
                                   .incarnation = id + 1u};
  shm::RegionPlan plan = OrDie(store::PlanRegion(options));
  // As the daemon has it: a tmpfs of its own, with huge pages where the machine allows it.
  shm::RegionFileOptions file;
  file.directory = DirectoryOf(id);
  file.plan = plan;
  std::unique_ptr<shm::RegionFile> region = OrDie(shm::RegionFile::Open(file));
  store::Sessions sessions(plan.segments);
  store::MemoryTier tier(region->memory(), plan, options, &sessions);
  Address address{};
  std::snprintf(address.data(), address.size(), "%s",
                OrDie(network->Listen("tcp://127.0.0.1:0")).c_str());
  if (::write(STDOUT_FILENO, address.data(), address.size()) < 0) std::_Exit(3);
  cached::NodeOptions node_options;
  node_options.node = id;
  node_options.incarnation = id + 1u;
  node_options.max_planning_bytes = kPlanningBytes;
  for (NodeId n = 0; n < count; ++n) {
    if (::read(STDIN_FILENO, address.data(), address.size()) !=
        static_cast<ssize_t>(address.size()))
      std::_Exit(3);
    node_options.members.push_back({n, address.data()});
  }
  InstantFarStore far(loop.get());
  Random random(id);
  cached::Node node({loop.get(), network.get(), &far, &random, &log}, &tier, node_options);
  node.Start();
  loop->Run();
  region->Remove();
  std::_Exit(0);
}

PlanNodes StartNodes(const PlanNodeOptions& options) {
  PlanNodes nodes;
  std::vector<int> to;
  std::vector<Address> addresses(options.count);
  for (NodeId id = 0; id < options.count; ++id) {
    int up[2], down[2];
    if (::pipe2(up, O_CLOEXEC) != 0 || ::pipe2(down, O_CLOEXEC) != 0) std::_Exit(3);
    nodes.processes.push_back(
        Spawn({"bench_plan", "node", std::to_string(id), std::to_string(options.count),
               std::to_string(options.memory_bytes), std::to_string(options.objects)},
              up[1], down[0]));
    ::close(up[1]);
    ::close(down[0]);
    if (::read(up[0], addresses[id].data(), addresses[id].size()) < 0) std::_Exit(3);
    ::close(up[0]);
    if (addresses[id][0] == 0) {
      std::fprintf(stderr, "bench_plan: node %u did not start\n", unsigned{id});
      std::_Exit(3);
    }
    nodes.endpoints.emplace_back(addresses[id].data());
    to.push_back(down[1]);
  }
  for (int fd : to) {
    for (const Address& address : addresses) {
      if (::write(fd, address.data(), address.size()) < 0) std::_Exit(3);
    }
    ::close(fd);
  }
  return nodes;
}

void StopNodes(const PlanNodes& nodes) {
  for (pid_t pid : nodes.processes) ::kill(pid, SIGTERM);
  for (pid_t pid : nodes.processes) ::waitpid(pid, nullptr, 0);
}

}  // namespace holdfast::bench
