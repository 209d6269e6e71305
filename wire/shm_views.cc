// SPDX-License-Identifier: Apache-2.0
#include "wire/shm_views.h"

#include <string>

namespace holdfast::shm {
namespace {

Status OtherVersion(const char* what, uint32_t version) {
  return Status::Invalid(std::string(what) + " has layout version " + std::to_string(version) +
                         ", this program knows " + std::to_string(kLayoutVersion) +
                         "; use the client of the node's version");
}

}  // namespace

Result<RegionView> ViewRegion(ByteView memory) {
  if (memory.size() < sizeof(RegionHeader)) {
    return Status::Corrupt("the region is smaller than its header");
  }
  const auto* header = reinterpret_cast<const RegionHeader*>(memory.data());
  if (header->magic != kRegionMagic) return Status::Corrupt("this is no region of a node");
  if (header->layout_version != kLayoutVersion) {
    return OtherVersion("the node's region", header->layout_version);
  }
  // Copies: the daemon may write the header again while this looks.
  const RegionHeader h = *header;
  const uint64_t grant_offset = GrantOffset(h.segments);
  const uint64_t grant_end = grant_offset + kMaxSessions * sizeof(SessionGrant);
  const bool fits = h.region_bytes == memory.size() && h.segments > 0 && h.segments <= UINT16_MAX &&
                    h.buckets > 0 && h.segment_bytes <= 4 * kGiB &&
                    h.segment_bytes % kRecordAlign == 0 && h.bucket_offset % 64 == 0 &&
                    h.segment_offset % 64 == 0 && h.bucket_offset >= grant_end &&
                    h.bucket_offset <= h.segment_offset && h.segment_offset <= memory.size() &&
                    h.buckets <= (h.segment_offset - h.bucket_offset) / sizeof(Bucket) &&
                    h.segments * h.segment_bytes <= memory.size() - h.segment_offset;
  if (!fits) return Status::Corrupt("the region's header disagrees with its size");
  return RegionView{
      .header = header,
      .grants = reinterpret_cast<const SessionGrant*>(memory.data() + grant_offset),
      .buckets = reinterpret_cast<const Bucket*>(memory.data() + h.bucket_offset),
      .segments_begin = memory.data() + h.segment_offset,
      .segment_bytes = h.segment_bytes,
      .bucket_count = h.buckets,
      .segments = h.segments,
  };
}

Result<SessionView> ViewSession(ByteSpan memory, uint32_t segments) {
  if (memory.size() < sizeof(SessionHeader)) {
    return Status::Corrupt("the session is smaller than its header");
  }
  auto* header = reinterpret_cast<SessionHeader*>(memory.data());
  if (header->magic != kSessionMagic) return Status::Corrupt("this is no session of a node");
  if (header->layout_version != kLayoutVersion) {
    return OtherVersion("the session", header->layout_version);
  }
  if (header->segments != segments || memory.size() != SessionBytes(segments)) {
    return Status::Corrupt("the session belongs to another region");
  }
  return SessionView{
      .header = header,
      .pins = reinterpret_cast<std::atomic<uint32_t>*>(memory.data() + PinsOffset()),
      .marks = reinterpret_cast<std::atomic<Mark>*>(memory.data() + MarksOffset(segments)),
  };
}

}  // namespace holdfast::shm
