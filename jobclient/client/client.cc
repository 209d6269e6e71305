// SPDX-License-Identifier: Apache-2.0
#include "holdfast/client.h"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "base/hash.h"
#include "base/range_name.h"
#include "base/uri.h"
#include "jobclient/client/far_settings.h"
#include "jobclient/client/listing.h"
#include "jobclient/client/many_heads.h"
#include "jobclient/client/parts.h"
#include "jobclient/flights.h"

namespace holdfast {
namespace {

constexpr size_t kMaxListed = 4'000'000;
constexpr uint64_t kMaxIndexBytes = 4 * kGiB;
constexpr Duration kProgressEvery = 100ms;
constexpr Duration kSweepEvery = 100ms;

Status CheckNodes(const std::vector<ClientOptions::Node>& nodes) {
  std::set<NodeId> seen;
  for (const ClientOptions::Node& node : nodes) {
    const std::string name = "node " + std::to_string(node.id);
    if (node.id == kNoNode) return Status::Invalid("a node has no id; ids are 0 to 65534");
    if (!seen.insert(node.id).second)
      return Status::Invalid(name + " stands twice in the options; ids are distinct");
    if (node.control.empty())
      return Status::Invalid(name + " has no control address; as in tcp://10.0.0.1:7070");
  }
  return {};
}

// Waits for what the loop is doing, with a look at how far it is now and then.
template <typename T>
T WaitWithProgress(client::Promised<T>* value, const std::function<void()>& progress) {
  while (true) {
    std::optional<T> done = value->WaitFor(kProgressEvery);
    if (progress) progress();
    if (done) return std::move(*done);
  }
}

}  // namespace

// --- Opening and closing -------------------------------------------------------------------------

Result<std::unique_ptr<Client>> Client::Connect(ClientOptions options) {
  auto parts = std::make_unique<Parts>();
  parts->options = std::move(options);
  HF_RETURN_IF_ERROR(parts->Open());
  return std::unique_ptr<Client>(new Client(std::move(parts)));
}

Client::Client(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Client::~Client() = default;

Status Client::Parts::Open() {
  once_log = std::make_unique<client::OnceLog>(options.log != nullptr ? options.log : &no_log);
  log = once_log.get();
  HF_RETURN_IF_ERROR(CheckNodes(options.nodes));
  if (options.chunk_bytes != 0 && options.chunk_bytes < kLeastChunk)
    return Status::Invalid("chunk_bytes is at least " + FormatBytes(kLeastChunk) + ", or 0");
  Result<std::optional<net::ClusterKey>> read = net::ReadClusterKey(options.cluster_key_file);
  if (!read.ok()) return read.status();
  key = *read;
  if (!options.attach.empty()) {
    Result<std::unique_ptr<shm::LocalAttachment>> attached =
        shm::AttachLocal({.path = options.attach, .timeout = 5s, .populate = true});
    if (!attached.ok()) return attached.status();
    own = std::move(*attached);
  }
  Result<std::unique_ptr<net::EventLoop>> made = net::EventLoop::Create();
  if (!made.ok()) return made.status();
  loop = std::move(*made);
  HF_RETURN_IF_ERROR(OpenNetwork());
  thread = std::make_unique<client::LoopThread>(loop.get());
  thread->Start();
  return {};
}

Status Client::Parts::OpenNetwork() {
  Result<far::FarOptions> far_options = FarOptionsOf(options.far, log);
  if (!far_options.ok()) return far_options.status();
  Result<std::unique_ptr<far::FarClient>> far_client = far::FarClient::Open(
      *std::move(far_options), [this](std::function<void()> run) { loop->Post(std::move(run)); });
  if (!far_client.ok()) return far_client.status();
  far = std::move(*far_client);
  HF_RETURN_IF_ERROR(OpenPacked());
  bulk::BulkClientOptions bulk_options;
  bulk_options.cluster = options.cluster;
  if (key) bulk_options.token = net::BulkToken(*key);
  bulk = std::make_unique<bulk::BulkClient>(bulk_options);
  if (own != nullptr && !own->disk_directory().empty()) {
    own_disk = std::make_unique<client::OwnDisk>(loop.get(), bulk.get(), own->disk_directory());
  }
  net::ZmqOptions zmq_options;
  zmq_options.key = key;
  auto read = [this](const std::string& endpoint, BulkMode mode, std::vector<BulkItem> items,
                     Time deadline, std::function<void(size_t, BulkOutcome)> each) {
    if (IsOwnNode(endpoint))
      return own_disk->Read(endpoint, mode, std::move(items), deadline, std::move(each));
    bulk->Read(endpoint, mode, std::move(items), deadline, std::move(each));
  };
  Result<std::unique_ptr<net::ZmqNetwork>> opened =
      net::ZmqNetwork::Open(loop.get(), zmq_options, read, log);
  if (!opened.ok()) return opened.status();
  network = std::move(*opened);
  std::random_device entropy;
  random = std::make_unique<Random>((uint64_t{entropy()} << 32) | entropy());
  lines = std::make_unique<client::NetworkSwitch>(network.get());
  cluster_env = std::make_unique<client::JobEnv>(env(), lines.get());
  cluster = std::make_unique<client::ClusterView>(cluster_env->env(), JobOptionsFor({}));
  whereabouts = std::make_unique<client::Whereabouts>(
      env(), cluster.get(),
      client::WhereaboutsOptions{
          .cluster = options.cluster,
          .nano_usd_per_get = options.far.micro_usd_per_1000_gets,
          .nano_usd_per_byte = static_cast<double>(options.far.micro_usd_per_gb) / 1e6,
          .micro_usd_per_hour = options.micro_usd_per_hour});
  return {};
}

// Whose disk this process may be able to read.
bool Client::Parts::IsOwnNode(const std::string& endpoint) const {
  if (own_disk == nullptr) return false;
  const std::string* of_own = cluster->BulkEndpoint(own->node());
  return of_own != nullptr && *of_own == endpoint;
}

Status Client::Parts::OpenPacked() {
  packs::PackedStore::Options packs{.sets = {},
                                    .prices = {.per_1000_gets = options.far.micro_usd_per_1000_gets,
                                               .per_gb = options.far.micro_usd_per_gb,
                                               .per_hour = options.micro_usd_per_hour},
                                    .max_index_bytes = kMaxIndexBytes};
  for (const std::string& set : options.far.packed) {
    Result<std::string> prefix = packs::SetPrefix(set, far->options().s3.endpoint);
    if (!prefix.ok()) return prefix.status().Annotate("far.packed");
    packs.sets.push_back(*std::move(prefix));
  }
  packed = std::make_unique<packs::PackedStore>(loop.get(), far.get(), log, std::move(packs));
  packed->Start();  // the loop does not run yet: nothing is answered before it does
  ranged = std::make_unique<RangedStore>(loop.get(), packed.get());
  return {};
}

// The threads that write into buffers end before the buffers do.
Client::Parts::~Parts() {
  thread.reset();
  if (own_disk != nullptr) own_disk->Stop();
  bulk.reset();
  far.reset();
  buried.clear();
  whereabouts.reset();
  cluster.reset();
  cluster_env.reset();
}

Env Client::Parts::env() const {
  return {.clock = loop.get(),
          .network = network.get(),
          .far = ranged.get(),
          .random = random.get(),
          .log = log};
}

uint64_t Client::Parts::ChunkBytes() {
  client::Promised<bool> noted;
  thread->Post([&] {
    cluster->WhenGreeted([&] {
      NoteChunk();
      noted.Set(true);
    });
  });
  noted.Wait();
  return chunk;
}

void Client::Parts::NoteChunk() {
  chunk = jobclient::ChunkBytes(options.chunk_bytes, cluster->MostThatAllPromise());
}

void Client::Parts::Bury(std::unique_ptr<client::LoopJob> job) {
  buried.push_back(std::move(job));
  if (buried.size() == 1) Sweep();
}

void Client::Parts::Sweep() {
  std::erase_if(buried, [](const auto& job) {
    return job->job == nullptr || job->job->flights().size() == 0;
  });
  if (!buried.empty()) loop->At(loop->Now() + kSweepEvery, [this] { Sweep(); });
}

// --- Names ---------------------------------------------------------------------------------------

Result<std::string> Client::Canonical(std::string_view name) const {
  return CanonicalUri(name, parts_->far->options().s3.endpoint);
}

Result<std::string> Client::RangeName(std::string_view name, uint64_t offset,
                                      uint64_t length) const {
  Result<std::string> whole = Canonical(name);
  if (!whole.ok()) return whole;
  if (ParseRangeName(*whole)) return Status::Invalid(*whole + " is a range itself");
  const Result<ByteRange> range = MakeRange(*whole, offset, length);
  if (!range.ok()) return range.status();
  return Canonical(NameOfRange(*whole, *range));
}

// Rewrites the list from the first name on that is not canonical yet; most lists have none.
Status Client::MakeCanonical(ObjectList* list) const {
  ObjectList rewritten;
  bool rewriting = false;
  for (size_t i = list->canonical_; i < list->size(); ++i) {
    const ObjectList::Item item = list->item(i);
    Result<std::string> uri = Canonical(item.uri);
    if (!uri.ok()) return uri.status().Annotate("object " + std::to_string(i + 1) + " of the list");
    if (!rewriting && *uri != item.uri) {
      rewriting = true;
      for (size_t before = 0; before < i; ++before) {
        HF_RETURN_IF_ERROR(rewritten.AddItem(list->item(before)));
      }
    }
    if (!rewriting) continue;
    HF_RETURN_IF_ERROR(rewritten.AddItem(
        {.uri = *uri, .etag = item.etag, .size = item.size, .has_size = item.has_size}));
  }
  if (rewriting) *list = std::move(rewritten);
  list->canonical_ = list->size();
  return {};
}

Status Client::Resolve(ObjectList* list, const std::function<void(uint64_t, uint64_t)>& progress) {
  HF_RETURN_IF_ERROR(MakeCanonical(list));
  uint64_t missing = 0;
  for (size_t i = 0; i < list->size(); ++i) missing += client::LacksVersion(list->item(i)) ? 1 : 0;
  if (missing == 0) return {};
  std::atomic<uint64_t> count{0};
  client::Promised<client::ManyHeads::Outcome> found;
  parts_->thread->Post([&] {
    client::ManyHeads::Start(parts_->env(), list, &count,
                             [&](client::ManyHeads::Outcome o) { found.Set(std::move(o)); });
  });
  client::ManyHeads::Outcome outcome = WaitWithProgress<client::ManyHeads::Outcome>(&found, [&] {
    if (progress) progress(count.load(std::memory_order_relaxed), missing);
  });
  if (outcome.failed == 0) return {};
  std::string what =
      std::to_string(outcome.failed) +
      (outcome.failed >= client::ManyHeads::kMaxFailures ? " objects or more" : " of the objects") +
      " cannot be had; the first is object " + std::to_string(outcome.first_failed + 1) +
      " of the list";
  return outcome.first_error.Annotate(
      outcome.failed == 1 ? "object " + std::to_string(outcome.first_failed + 1) + " of the list"
                          : what);
}

Result<ObjectList> Client::List(std::string_view prefix,
                                const std::function<void(uint64_t)>& progress) {
  Result<std::string> canonical = CanonicalPrefix(prefix, parts_->far->options().s3.endpoint);
  if (!canonical.ok()) return canonical.status();
  using Entries = Result<std::vector<FarEntry>>;
  std::atomic<uint64_t> count{0};
  client::Promised<Entries> listed;
  parts_->thread->Post([&] {
    client::Listing::Start(parts_->env(), *canonical, kMaxListed, &count,
                           [&](Entries e) { listed.Set(std::move(e)); });
  });
  Entries entries = WaitWithProgress<Entries>(&listed, [&] {
    if (progress) progress(count.load(std::memory_order_relaxed));
  });
  if (!entries.ok()) return entries.status();
  std::sort(entries->begin(), entries->end(),
            [](const FarEntry& a, const FarEntry& b) { return a.uri < b.uri; });
  ObjectList list;
  for (const FarEntry& entry : *entries) {
    HF_RETURN_IF_ERROR(list.Add(entry.uri, entry.info.size, entry.info.etag));
  }
  list.canonical_ = list.size();
  return list;
}

// --- Single objects ------------------------------------------------------------------------------

std::optional<Object> Client::Parts::ReadLocal(std::string_view name, uint64_t position,
                                               const Oid& oid, VersionHash version) {
  if (own == nullptr) return std::nullopt;
  bool over_grant = false;
  LocalView view = own->reader().View(oid, version, &over_grant);
  if (view) return Object(name, position, std::move(view));
  if (!over_grant) return std::nullopt;
  Buffer copy;
  for (int tries = 0; tries < 2; ++tries) {  // once for the size, once for the bytes
    LocalOutcome outcome =
        own->reader().Copy({.oid = oid, .version = version, .into = copy.span()});
    if (outcome.code == Code::kNoSpace) {
      copy = Buffer(outcome.size);
      continue;
    }
    if (outcome.code != Code::kOk || outcome.size != copy.size()) return std::nullopt;
    return Object(name, position, std::move(copy), ObjectSource::kLocal);
  }
  return std::nullopt;
}

std::optional<Object> Client::Parts::ReadLocally(const std::string& uri,
                                                 const std::optional<FarInfo>& version) {
  if (own == nullptr) return std::nullopt;
  const VersionHash hash = version ? HashVersion(version->etag, version->size) : 0;
  if (auto object = ReadLocal(uri, 0, OidOf(uri), hash)) return object;
  const auto range = ParseRangeName(uri);
  if (!range) return std::nullopt;
  const std::optional<WholeVersion> of =
      version ? ParseRangeEtag(version->etag) : std::optional<WholeVersion>();
  auto cut_out = [&](const std::optional<Object>& from, uint64_t offset) -> std::optional<Object> {
    if (!from || offset + range->range.length > from->size()) return std::nullopt;
    return Object(uri, 0, Buffer::CopyOf(from->bytes().subspan(offset, range->range.length)),
                  ObjectSource::kLocal);
  };
  const VersionHash whole = of ? HashVersion(of->etag, of->size) : 0;
  if (auto part = cut_out(ReadLocal({}, 0, OidOf(range->whole), whole), range->range.offset))
    return part;
  const uint64_t around = chunk;
  if (around == 0) return std::nullopt;
  ByteRange at{range->range.offset / around * around, around};
  if (of) at.length = std::min(at.length, of->size - at.offset);
  const VersionHash piece = of ? HashVersion(version->etag, at.length) : 0;
  return cut_out(ReadLocal({}, 0, OidOf(NameOfRange(range->whole, at)), piece),
                 range->range.offset - at.offset);
}

// --- Administration ------------------------------------------------------------------------------

Result<std::string> Client::NodeStatus(NodeId node, Duration timeout) {
  client::Promised<Result<wire::Message>> answered;
  parts_->thread->Post([&] {
    parts_->cluster->Ask(
        node, [](uint64_t id) -> wire::Message { return wire::StatusQuery{.id = id}; },
        parts_->loop->Now() + timeout,
        [&](Result<wire::Message> answer) { answered.Set(std::move(answer)); });
  });
  Result<wire::Message> answer = answered.Wait();
  if (!answer.ok()) return answer.status();
  auto* reply = std::get_if<wire::StatusReply>(&*answer);
  if (reply == nullptr)
    return Status::Corrupt("node " + std::to_string(node) + " answered another question");
  return std::move(reply->json);
}

Result<DropResult> Client::Parts::DropEverywhere(const std::string& prefix, ByteView oids,
                                                 Duration timeout) {
  client::Promised<DropResult> dropped;
  DropResult sum;
  size_t left = options.nodes.size();
  if (left == 0) return sum;
  thread->Post([&] {
    for (const ClientOptions::Node& node : options.nodes) {
      cluster->Ask(
          node.id,
          [&](uint64_t id) -> wire::Message {
            return wire::Drop{.id = id, .prefix = prefix, .oids = Buffer::CopyOf(oids)};
          },
          loop->Now() + timeout,
          [&](Result<wire::Message> answer) {
            auto* reply = answer.ok() ? std::get_if<wire::DropReply>(&*answer) : nullptr;
            if (reply != nullptr) {
              sum.dropped_objects += reply->dropped_objects;
              sum.dropped_bytes += reply->dropped_bytes;
              sum.held_objects += reply->held_objects;
              ++sum.nodes;
            }
            if (--left == 0) dropped.Set(sum);
          });
    }
  });
  DropResult result = dropped.Wait();
  if (result.nodes == 0) return Status::Timeout("no node answers; is the cluster running?");
  return result;
}

Result<DropResult> Client::DropObjects(const std::vector<std::string>& names, Duration timeout) {
  Buffer oids(names.size() * 16);
  for (size_t i = 0; i < names.size(); ++i) {
    Result<std::string> uri = Canonical(names[i]);
    if (!uri.ok()) return uri.status();
    const Oid oid = OidOf(*uri);
    StoreAs(oids.data() + 16 * i, oid.hi);
    StoreAs(oids.data() + 16 * i + 8, oid.lo);
  }
  if (names.empty()) return Status::Invalid("name at least one object to drop");
  return parts_->DropEverywhere({}, oids.view(), timeout);
}

Result<DropResult> Client::DropPrefix(std::string_view prefix, Duration timeout) {
  Result<std::string> canonical = CanonicalPrefix(prefix, parts_->far->options().s3.endpoint);
  if (!canonical.ok()) return canonical.status();
  return parts_->DropEverywhere(*canonical, {}, timeout);
}

Status Client::Release(JobId job, Duration timeout) {
  client::Promised<std::pair<size_t, size_t>> ended;
  parts_->thread->Post([&] {
    parts_->cluster->EndJob(job, parts_->loop->Now() + timeout,
                            [&](size_t confirmed, size_t nodes) {
                              ended.Set({confirmed, nodes});
                            });
  });
  auto [confirmed, nodes] = ended.Wait();
  if (confirmed == nodes) return {};
  return Status::Timeout(std::to_string(nodes - confirmed) + " of " + std::to_string(nodes) +
                         " nodes did not confirm the end of the job; it ends there with its lease");
}

FarSpending Client::Spent() const {
  FarCounters c = parts_->thread->Call([this] { return parts_->far->Counters(); });
  return {c.gets, c.heads, c.lists, c.bytes, c.retries, c.errors, c.money};
}

OwnDiskReads Client::ReadsOfOwnDisk() const {
  return parts_->own_disk == nullptr ? OwnDiskReads{} : parts_->own_disk->reads();
}

std::optional<NodeId> Client::own_node() const {
  if (parts_->own == nullptr) return std::nullopt;
  return parts_->own->node();
}

std::vector<uint32_t> ShuffledOrder(size_t count, uint64_t seed, uint64_t epoch) {
  std::vector<uint32_t> order(count);
  for (size_t i = 0; i < count; ++i) order[i] = static_cast<uint32_t>(i);
  Random random(seed ^ Mix64(epoch + 1));
  random.Shuffle(order);
  return order;
}

}  // namespace holdfast
