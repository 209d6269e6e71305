// SPDX-License-Identifier: Apache-2.0
#include "jobclient/cli/component_rates.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "wire/disk_segment.h"
#include "wire/storage_format.h"

namespace holdfast::cli {
namespace {

constexpr double kFrameBytes = 64 * 1024;  // records that share a frame
constexpr double kLengthBytes = 4;
constexpr uint64_t kNameBytes = 64;              // and ETag, of a record
constexpr uint64_t kTinyBytes = 48;              // of an object in a pack, beside all three
constexpr double kKeptAtOnce = 4 * 1024 * 1024;  // that reclaim reads of a segment with one request

// The far store's part, for so many bytes a second that are written to segments, on the wire.
ComponentNeed FarNeeds(const ComponentPlan& plan, double written) {
  const auto segment = static_cast<double>(plan.segment_bytes);
  const double segments = written / kWireFactor / segment;
  const bool reads = plan.reclaim_reads_far && plan.kept > 0;
  ComponentNeed far{.component = "far store",
                    .in_bytes_per_s = written,
                    .out_bytes_per_s = reads ? written : 0,
                    .why = "each segment once"};
  far.puts_per_s = segments;
  if (plan.reclaim_reads_far)
    far.gets_per_s = segments * (1 + std::ceil(plan.kept * segment / kKeptAtOnce));
  if (reads) far.why += ", and what reclaim reads of it";
  return far;
}

ComponentNeed ReclaimNeeds(ReclaimAt at, double again, double lines) {
  switch (at) {
    case ReclaimAt::kNode:
      return {"reclaim", again, again, "at the node, and counted there"};
    case ReclaimAt::kStorage:
      return {"reclaim", 0, 0, "at the storage server, from disk to disk"};
    case ReclaimAt::kWorker:
      break;
  }
  return {"reclaim", again + lines, again, "what is kept, from the storage server and back to it"};
}

}  // namespace

ComponentNeeds NeedsOf(const ComponentPlan& plan) {
  const auto value = static_cast<double>(std::max<uint64_t>(plan.value_bytes, 1));
  const bool packed = !plan.key_value && plan.value_bytes <= kPackedBytes;
  const auto record = static_cast<double>(
      packed ? plan.value_bytes + kNameBytes + kTinyBytes
             : disk::RecordBytes(plan.value_bytes, kNameBytes, 0) + disk::kEntryBytes);
  ComponentNeeds needs;
  const double logged = plan.key_value ? value : static_cast<double>(kPromiseBytes + kNameBytes);
  const double frames = std::max(1.0, std::ceil(logged / kFrameBytes)) * storage::kHeadBytes /
                        std::max(logged, kFrameBytes);
  needs.journal_factor = kWireFactor * (logged + kLengthBytes + frames * logged) / value;
  needs.segment_factor = kWireFactor * record / value;
  needs.write_amplification = packed ? kTinyWrites : 1 / (1 - plan.kept);
  const auto rate = static_cast<double>(plan.write_bytes_per_s);
  const double journal = plan.journal_elsewhere ? rate * needs.journal_factor : 0;
  const double segments = rate * needs.segment_factor;
  const double again = segments * (needs.write_amplification - 1);
  const double misses =
      static_cast<double>(plan.read_bytes_per_s) * (1 - plan.hits) * needs.segment_factor;
  // Packs are merged by the node.
  const ReclaimAt reclaim_at = packed ? ReclaimAt::kNode : plan.reclaim_at;
  const bool at_node = !plan.disk_elsewhere || reclaim_at == ReclaimAt::kNode;
  const bool by_worker = plan.disk_elsewhere && reclaim_at == ReclaimAt::kWorker;
  // Of each record that is kept: its line of the table is read, and said to whoever moves it.
  const double lines =
      at_node ? 0 : again * static_cast<double>(disk::kEntryBytes) / (record * kWireFactor);
  const double through_node = at_node ? again : 0;
  const double copied = plan.far_copy ? segments + again : 0;
  const bool reclaim_far = plan.far_copy && plan.reclaim_reads_far;
  const double to_disk = plan.disk_elsewhere ? segments + through_node : 0;
  const double from_disk =
      plan.disk_elsewhere ? (reclaim_far ? 0 : through_node) + lines + misses + copied : 0;
  const ComponentNeed far = plan.far_copy ? FarNeeds(plan, copied) : ComponentNeed{};
  needs.needs.push_back({"node", from_disk + far.out_bytes_per_s,
                         journal + to_disk + lines + far.in_bytes_per_s,
                         at_node ? "writes to the journal and to the segments; reclaim reads and "
                                   "writes"
                                 : "writes to the journal and to the segments"});
  if (plan.journal_elsewhere) {
    needs.needs.push_back(
        {"journal", journal, 0, plan.key_value ? "every value once" : "what is promised, once"});
  }
  if (plan.disk_elsewhere) {
    const double moved = by_worker ? again : 0;
    needs.needs.push_back(
        {"storage", to_disk + moved + (by_worker ? 0 : lines), from_disk + moved,
         at_node || by_worker
             ? "every record once, and what reclaim keeps; reads that memory misses"
             : "every record once; what reclaim keeps it moves itself; reads that memory misses"});
    needs.needs.push_back(ReclaimNeeds(reclaim_at, again, lines));
  }
  if (plan.far_copy) needs.needs.push_back(far);
  return needs;
}

Result<uint64_t> ParseRate(std::string_view text) {
  const std::string whole(text);
  if (text.ends_with("/s")) text.remove_suffix(2);
  if (text.ends_with("bit")) {
    char* end = nullptr;
    const std::string number(text);
    const double bits = std::strtod(number.c_str(), &end);
    const std::string unit(end);
    const double scale = unit == "Gbit" ? 1e9 : unit == "Mbit" ? 1e6 : unit == "kbit" ? 1e3 : 0;
    if (end != number.c_str() && scale > 0 && bits > 0 && bits * scale < 1e18)
      return static_cast<uint64_t>(bits * scale / 8);
  } else if (Result<uint64_t> bytes = ParseBytes(text); bytes.ok() && *bytes > 0) {
    return *bytes;
  }
  return Status::Invalid("\"" + whole + "\" is no rate; write it as 200MB/s or 1.6Gbit/s");
}

}  // namespace holdfast::cli
