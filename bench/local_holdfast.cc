// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <new>

#include "bench/local_system.h"
#include "cached/store/memory_tier.h"
#include "io/shm/attach.h"
#include "io/shm/attach_server.h"
#include "io/shm/region_file.h"
#include "io/shm/session_files.h"

namespace holdfast::bench {
namespace {

constexpr uint64_t kRingBytes = 512 * kMiB;  // beside the set, for what is loaded and reclaimed
constexpr uint64_t kLoadBytesPerMs = 1'000'000;
constexpr int kIdleMs = 100;  // how often an idle node looks after its tier

struct Control {
  std::atomic<bool> ready{false};
  std::atomic<bool> loading{false};
  std::atomic<bool> end{false};
  std::atomic<uint64_t> loaded_bytes{0};
  char pages[256] = {};
};

Time Now() {
  struct timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000 + now.tv_nsec / 1000};
}

template <typename T>
T Must(Result<T> result) {
  if (result.ok()) return std::move(*result);
  std::fprintf(stderr, "bench local: %s\n", result.status().ToString().c_str());
  std::exit(1);
}

class Node {
 public:
  Node(const LocalSet& set, const std::string& directory, Control* control)
      : set_(set), control_(control) {
    options_.memory_bytes = set.bytes() + set.bytes() / 16 + kRingBytes;
    options_.segment_bytes = 4 * kMiB;
    options_.index_objects = (set.small_count + set.large_count) * 5 / 4 + 100'000;
    options_.incarnation = 1;
    plan_ = Must(store::PlanRegion(options_));
    region_ = Must(shm::RegionFile::Open(
        {.directory = directory, .group = "", .plan = plan_, .progress = {}}));
    std::snprintf(control->pages, sizeof(control->pages), "%s", region_->description().c_str());
    sessions_ = std::make_unique<store::Sessions>(plan_.segments);
    files_ = Must(shm::SessionFiles::Open(
        {.directory = region_->session_directory(),
         .segments = plan_.segments,
         .incarnation = 1,
         .attach = [this](uint32_t id, ByteSpan memory) { sessions_->Attach(id, memory); },
         .detach = [this](uint32_t id) { sessions_->Detach(id); }}));
    tier_ =
        std::make_unique<store::MemoryTier>(region_->memory(), plan_, options_, sessions_.get());
    server_ = Must(shm::AttachServer::Open({.path = region_->attach_path(),
                                            .group = {},
                                            .node = 1,
                                            .incarnation = 1,
                                            .region_fd = region_->read_only_fd(),
                                            .region_bytes = plan_.region_bytes,
                                            .sessions = files_.get()}));
  }

  void LoadSet() {
    for (uint32_t i = 0; i < set_.small_count; ++i) Put(false, i, set_.small_bytes);
    for (uint32_t i = 0; i < set_.large_count; ++i) Put(true, i, set_.large_bytes);
  }

  void Serve() {
    template_ = Buffer(8 * kMiB);
    std::memset(template_.data(), 7, template_.size());
    control_->ready.store(true);
    while (!control_->end.load()) {
      bool loading = control_->loading.load();
      struct pollfd fd = {server_->fd(), POLLIN, 0};
      ::poll(&fd, 1, loading ? 0 : kIdleMs);
      server_->OnReadable(Now());
      files_->Sweep(Now());
      if (loading) LoadAtRate();
      tier_->Maintain(Now(), 16 * kMiB);
    }
    server_.reset();
    region_->Remove();
  }

 private:
  void Put(bool large, uint32_t index, uint64_t bytes) {
    store::RecordSpec spec;
    spec.oid = OidAt(large, index);
    spec.version = 1;
    spec.size = bytes;
    spec.name = "s3+https://bucket/an/object/of/usual/length.jpg";
    // Held: the set stays while other objects come and go.
    auto slot = Must(tier_->Allocate(spec, Now(), Now() + 24h));
    FillObject(large, index, slot.payload);
    tier_->Commit(slot.id, Hash64(slot.payload), 1);
  }

  // About 10 ms of loading, in time with the clock.
  void LoadAtRate() {
    Time start = Now();
    for (uint64_t bytes = 0; bytes < 10 * kLoadBytesPerMs; bytes += set_.large_bytes) {
      store::RecordSpec spec;
      ++loaded_;
      spec.oid = {Mix64(loaded_), Mix64(~loaded_)};
      spec.version = 1;
      spec.size = set_.large_bytes;
      spec.name = "s3+https://bucket/an/object/of/usual/length.jpg";
      auto slot = tier_->Allocate(spec, Now(), std::nullopt);
      if (!slot.ok()) break;
      uint64_t from = loaded_ * 64 % (template_.size() - set_.large_bytes);
      std::memcpy(slot->payload.data(), template_.data() + from, set_.large_bytes);
      tier_->Commit(slot->id, Hash64(slot->payload), 0);
      control_->loaded_bytes.fetch_add(set_.large_bytes, std::memory_order_relaxed);
    }
    Duration left = Duration(10'000) - (Now() - start);
    if (left.count() > 0) ::usleep(static_cast<useconds_t>(left.count()));
  }

  LocalSet set_;
  Control* control_;
  store::MemoryTierOptions options_;
  shm::RegionPlan plan_;
  std::unique_ptr<shm::RegionFile> region_;
  std::unique_ptr<store::Sessions> sessions_;
  std::unique_ptr<shm::SessionFiles> files_;
  std::unique_ptr<store::MemoryTier> tier_;
  std::unique_ptr<shm::AttachServer> server_;
  Buffer template_;
  uint64_t loaded_ = 0;
};

class HoldfastClient : public LocalClient {
 public:
  explicit HoldfastClient(const std::string& path)
      : attachment_(Must(shm::AttachLocal({.path = path, .timeout = 5s, .populate = true}))) {}

  void Run(Read how, std::span<const uint32_t> which, Destination* into) override {
    LocalReader& reader = attachment_->reader();
    bool large = IsLarge(how);
    if (how == Read::kView100k) {
      for (uint32_t index : which) {
        bool over_grant = false;
        LocalView view = reader.View(OidAt(large, index), 0, &over_grant);
        HF_CHECK(static_cast<bool>(view));
        into->sink += TouchLines(view.payload());
      }
      return;
    }
    for (size_t i = 0; i < which.size(); ++i) {
      requests_[i] = {.oid = OidAt(large, which[i]), .version = 0, .into = into->At(how, i)};
      if (how == Read::kSingle1k) outcomes_[i] = reader.Copy(requests_[i]);
    }
    std::span requests = std::span(requests_).first(which.size());
    if (how != Read::kSingle1k) reader.CopyMany(requests, outcomes_);
    for (size_t i = 0; i < which.size(); ++i) HF_CHECK(outcomes_[i].code == Code::kOk);
  }

 private:
  std::unique_ptr<shm::LocalAttachment> attachment_;
  std::array<LocalRequest, kBatch> requests_;
  std::array<LocalOutcome, kBatch> outcomes_;
};

class Holdfast : public HoldfastSystem {
 public:
  explicit Holdfast(const LocalSet& set)
      : directory_("/dev/shm/holdfast-bench-local-" + std::to_string(::getpid())) {
    void* memory =
        ::mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    HF_CHECK(memory != MAP_FAILED);
    control_ = new (memory) Control();
    node_ = ::fork();
    if (node_ == 0) {
      Node node(set, directory_, control_);
      node.LoadSet();
      node.Serve();
      ::_exit(0);
    }
    while (!control_->ready.load()) {
      if (::waitpid(node_, nullptr, WNOHANG) == node_) std::exit(1);
      ::usleep(1000);
    }
  }
  ~Holdfast() override {
    control_->end.store(true);
    ::waitpid(node_, nullptr, 0);
    ::munmap(control_, sizeof(Control));
  }
  std::string name() const override { return "holdfast"; }
  bool Can(Read) const override { return true; }
  std::unique_ptr<LocalClient> Connect() override {
    return std::make_unique<HoldfastClient>(directory_ + "/attach.sock");
  }
  void SetLoading(bool on) override { control_->loading.store(on); }
  Duration NodeCpu() const override {
    clockid_t clock;
    struct timespec used = {};
    if (::clock_getcpuclockid(node_, &clock) == 0) ::clock_gettime(clock, &used);
    return Duration(used.tv_sec * 1'000'000 + used.tv_nsec / 1000);
  }
  uint64_t NodeLoadedBytes() const override { return control_->loaded_bytes.load(); }
  std::string pages() const override { return control_->pages; }

 private:
  std::string directory_;
  Control* control_;
  pid_t node_ = 0;
};

}  // namespace

std::unique_ptr<HoldfastSystem> StartHoldfast(const LocalSet& set) {
  return std::make_unique<Holdfast>(set);
}

}  // namespace holdfast::bench
