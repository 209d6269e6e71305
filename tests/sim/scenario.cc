// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/scenario.h"

#include <algorithm>

#include "base/hash.h"
#include "jobclient/chunks.h"
#include "wire/shm_layout.h"

namespace holdfast::sim {
namespace {

constexpr uint64_t kSmallest = 100;
constexpr uint64_t kLargest = 20 * kKiB;
constexpr uint32_t kBackgroundObjects = 2'000;

std::string Uri(uint64_t n) {
  return "s3+http://far.example/bucket/data/" + std::to_string(n % 7) + "/object-" +
         std::to_string(n);
}

// Sizes between kSmallest and kLargest, many small ones and few large ones, with about `mean`
// bytes.
uint64_t DrawSize(Random* random, double mean) {
  double size = random->Exponential(mean);
  return std::clamp(static_cast<uint64_t>(size), kSmallest, kLargest);
}

void DrawState(World* world, Random* random, FarObject* object) {
  Faults& faults = world->faults();
  // Counted when somebody meets them.
  const double share = 0.02;
  auto chosen = [&](Fault fault) { return faults.enabled(fault) && random->Chance(share); };
  object->missing = chosen(Fault::kFarMissing);
  object->denied = chosen(Fault::kFarDenied);
  if (chosen(Fault::kFarChanged)) {
    object->changes_at = Time{static_cast<int64_t>(random->Below(40'000'000))};
    bool same_size = random->Chance(0.5);
    object->later = {.size = same_size ? object->size : object->size + 17,
                     .etag = object->etag + "-later"};
  }
}

// From a stream of its own, so that all else stays as it was. Where wall clocks are set nobody could say
// when something has to be gone.
void DrawEnds(World* world, FarWorld* far) {
  const Faults& faults = world->faults();
  if (!faults.enabled(Fault::kFarExpires) || faults.enabled(Fault::kClockWallStep)) return;
  Random random = world->Stream("ends");
  for (uint32_t i = 0; i < far->size(); ++i) {
    if (random.Chance(0.05))
      far->object(i).ends_at = Time{static_cast<int64_t>(1 + random.Below(60)) * 1'000'000};
  }
}

// The lists of the jobs: the same set in another order, sets that overlap, or disjoint ones.
std::vector<std::vector<uint32_t>> DrawLists(Random* random, size_t jobs) {
  std::vector<std::vector<uint32_t>> lists(jobs);
  uint64_t kind = random->Below(3);
  for (size_t j = 0; j < jobs; ++j) {
    size_t shift = kind == 0 ? 0 : kind == 1 ? j * kJobObjects / 2 : j * kJobObjects;
    for (uint32_t i = 0; i < kJobObjects; ++i) lists[j].push_back(static_cast<uint32_t>(shift) + i);
    random->Shuffle(lists[j]);
    // A list may name an object twice.
    if (random->Chance(0.2)) lists[j].push_back(lists[j][random->Below(kJobObjects)]);
  }
  return lists;
}

NodeSetup DrawNode(Random* random, const store::MemoryTierOptions& tier) {
  NodeSetup setup;
  setup.tier = tier;
  // Small enough that it fills.
  if (random->Chance(0.5)) {
    setup.disk_segments = static_cast<uint32_t>(8 + random->Below(24));
    setup.disk_segment_bytes = (1 + random->Below(2)) * 128 * kKiB;
  }
  setup.node.far_bytes_per_s = 20'000'000;
  setup.node.far_objects_per_s = 300;
  setup.node.max_loads = static_cast<uint32_t>(4 + random->Below(60));
  setup.node.max_load_bytes = 64 * kKiB + random->Below(1 * kMiB);
  setup.node.first_part_bytes = 64 + random->Below(8 * kKiB);
  setup.node.least_placed_bytes = random->Below(8 * kKiB);
  setup.node.offer_ttl = Duration(1'000'000 + random->Below(5'000'000));
  setup.node.grant_ttl = Duration(10'000'000 + random->Below(50'000'000));
  return setup;
}

// Half of the nodes have one; small enough that it is written anew, and now and then full.
uint64_t DrawJournal(Random* random) {
  constexpr uint64_t kBytes[] = {1 * kMiB, 2 * kMiB, 16 * kMiB};
  return random->Chance(0.5) ? kBytes[random->Below(3)] : 0;
}

// In half of the scenarios what leaves memory may go on elsewhere; there some nodes have room to spare,
// most of them until they need it.
void DrawSpill(Random* random, std::vector<NodeSetup>* nodes) {
  const bool on = random->Chance(0.5);
  for (NodeSetup& setup : *nodes) {
    setup.node.spill_peers = on;
    setup.node.spill_bytes_per_s = 50'000 + random->Below(2'000'000);
    if (on && random->Chance(0.5)) {
      setup.quiet_until = Time{static_cast<int64_t>(random->Below(60'000'000))};
    }
  }
}

store::MemoryTierOptions DrawTier(Random* random) {
  constexpr uint64_t kSegmentBytes[] = {16 * kKiB, 32 * kKiB, 64 * kKiB};
  constexpr uint32_t kSegments[] = {32, 48, 64, 128};
  store::MemoryTierOptions tier;
  tier.segment_bytes = kSegmentBytes[random->Below(3)];
  uint64_t segments = kSegments[random->Below(4)];
  tier.index_objects = 2'048;
  tier.max_object_bytes =
      random->Chance(0.5) ? 0 : std::min<uint64_t>(kLargest, tier.segment_bytes / 2);
  // What surrounds the segments takes one multiple of their alignment.
  tier.memory_bytes = 2 * kMiB + segments * tier.segment_bytes;
  return tier;
}

struct Promisable {
  uint64_t bytes = 0;
  uint64_t object_bytes = 0;  // the largest one
};

Promisable PromisableOf(const store::MemoryTierOptions& tier) {
  Result<shm::RegionPlan> plan = store::PlanRegion(tier);
  HF_CHECK(plan.ok());
  RegionFile file(*plan);
  store::Sessions sessions(plan->segments);
  store::MemoryTierOptions options = tier;
  options.incarnation = 1;
  const store::MemoryTier made(file.pages.span(), *plan, options, &sessions);
  return {made.PromisableBytes(), made.max_object_bytes()};
}

JobSetup DrawJob(Random* random, size_t number, size_t nodes) {
  JobSetup setup;
  setup.name = "job-" + std::to_string(number);
  bool beside_a_node = random->Chance(0.8);
  setup.host = static_cast<HostId>(beside_a_node ? random->Below(nodes) : nodes + number);
  setup.job.reader = beside_a_node ? static_cast<NodeId>(setup.host) : kNoNode;
  setup.reader.own_disk = random->Chance(0.5);
  setup.job.hold =
      random->Chance(0.7) ? Duration(3'600s) : Duration(5'000'000 + random->Below(60'000'000));
  setup.job.lease = Duration(3'000'000 + random->Below(12'000'000));
  setup.job.objects_per_s = random->Chance(0.5) ? 0 : 100;
  setup.job.bid_timeout = 3s;
  setup.job.ack_timeout = 3s;
  setup.reader.look_ahead_bytes = 32 * kKiB + random->Below(1 * kMiB);
  setup.reader.look_ahead_objects = static_cast<uint32_t>(8 + random->Below(200));
  setup.reader.batch_objects = static_cast<uint32_t>(1 + random->Below(64));
  setup.reader.wait = Duration(1'000'000 + random->Below(10'000'000));
  setup.reader.far_deadline = 30s;
  setup.epochs = static_cast<uint32_t>(1 + random->Below(3));
  setup.think = Duration(random->Below(20'000));
  setup.view_share = random->Chance(0.5) ? 0.3 : 0;
  setup.hold_views = Duration(random->Below(5'000'000));
  return setup;
}

}  // namespace

Scenario DrawScenario(World* world, FarWorld* far) {
  Random random = world->Stream("scenario");
  Random journals = world->Stream("journals");
  Scenario scenario;
  size_t nodes = 16 + random.Below(5);
  store::MemoryTierOptions tier = DrawTier(&random);
  for (size_t n = 0; n < nodes; ++n) {
    NodeSetup setup = DrawNode(&random, tier);
    setup.journal_bytes = DrawJournal(&journals);
    setup.node.node = static_cast<NodeId>(n);
    for (size_t m = 0; m < nodes; ++m) {
      auto id = static_cast<NodeId>(m);
      setup.node.members.push_back({.node = id, .control_endpoint = ControlEndpoint(id)});
    }
    scenario.nodes.push_back(std::move(setup));
  }
  Random spill = world->Stream("spill");
  DrawSpill(&spill, &scenario.nodes);
  size_t jobs = 3 + random.Below(2);
  std::vector<std::vector<uint32_t>> lists = DrawLists(&random, jobs);
  uint32_t objects = 0;
  for (const auto& list : lists)
    objects = std::max(objects, *std::max_element(list.begin(), list.end()) + 1);
  constexpr double kFills[] = {0.2, 0.4, 0.9, 1.2, 2.5, 4};
  const Promisable promisable = PromisableOf(tier);
  double room = static_cast<double>(promisable.bytes * nodes);
  // A record takes a header, its names and what rounding adds.
  double mean = std::max(200.0, kFills[random.Below(6)] * room / objects - 128);
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < objects; ++i) {
    std::string etag = "etag-" + std::to_string(random.Below(1'000'000));
    far->Add(Uri(i), DrawSize(&random, mean), std::move(etag));
    FarObject& object = far->object(i);
    DrawState(world, &random, &object);
    bytes += shm::RecordBytes(object.size, object.uri.size(), object.etag.size());
  }
  scenario.fill = static_cast<double>(bytes) / room;
  if (random.Chance(0.5)) scenario.background_objects = kBackgroundObjects;
  for (uint32_t i = 0; i < scenario.background_objects; ++i) {
    far->Add(Uri(1'000'000 + i), DrawSize(&random, 3'000), "etag");
  }
  DrawEnds(world, far);
  scenario.ample = scenario.fill < 0.6 && scenario.background_objects == 0;
  bool together = random.Chance(0.5);  // jobs that want the same at the same time
  for (size_t j = 0; j < jobs; ++j) {
    JobSetup setup = DrawJob(&random, j, nodes);
    setup.objects = std::move(lists[j]);
    for (size_t m = 0; m < nodes; ++m) {
      auto id = static_cast<NodeId>(m);
      setup.job.members.push_back({.node = id, .control_endpoint = ControlEndpoint(id)});
    }
    scenario.jobs.push_back(std::move(setup));
    scenario.starts.push_back(Duration(random.Below(together ? 300'000 : 15'000'000)));
  }
  // Few pieces each, of few of them, as clients of these nodes cut them.
  Random chunks = world->Stream("chunks");
  if (chunks.Chance(0.5)) {
    const auto drawn = std::max<uint64_t>(kLargest / 4, static_cast<uint64_t>(2 * mean));
    scenario.chunk = jobclient::ChunkBytes(drawn, promisable.object_bytes);
  }
  if (scenario.chunk > 0) far->Cut(scenario.chunk);
  for (JobSetup& setup : scenario.jobs) setup.chunk = scenario.chunk;
  if (world->faults().enabled(Fault::kNetQueueFull))
    scenario.queue_limit = static_cast<uint32_t>(2 + random.Below(30));
  return scenario;
}

}  // namespace holdfast::sim
