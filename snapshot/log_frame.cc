// SPDX-License-Identifier: Apache-2.0
#include "snapshot/log_frame.h"

#include <zstd.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/hash.h"

namespace holdfast::snapshot {
namespace {

// Offsets of the fields, as in docs/formats.md.
constexpr size_t kMagicAt = 0, kVersionAt = 8, kFlagsAt = 10, kFollowsAt = 12, kClusterAt = 16,
                 kSequenceAt = 24, kStampAt = 32, kBodyBytesAt = 40, kRawBytesAt = 44,
                 kBodyHashAt = 48, kHeaderHashAt = 56;
constexpr uint64_t kMagic = 0x31504e5344464c48;  // "HLFDSNP1"
constexpr uint16_t kFullFlag = 1;

// What there is to find are codes for bytes, not repetitions: the fastest level finds them too.
constexpr int kLevel = 1;

uint64_t HeaderHash(const std::byte* header) { return Hash64({header, kHeaderHashAt}); }

Status CutOff() {
  return Status::Unavailable("the snapshot log ends within a frame; cut the torn frame off");
}

// Of what is too short for a header: could it become one?
bool MayBegin(ByteView bytes) {
  std::byte magic[sizeof(kMagic)];
  StoreAs(magic, kMagic);
  return std::equal(bytes.begin(),
                    bytes.begin() + static_cast<ptrdiff_t>(std::min(bytes.size(), sizeof(magic))),
                    magic);
}

Status CheckHeader(const std::byte* p) {
  if (LoadAs<uint64_t>(p + kMagicAt) != kMagic) {
    return Status::Corrupt("no frame of a snapshot log begins here");
  }
  // This checksum is at the same place in every version, so a flipped bit is no other version.
  if (LoadAs<uint64_t>(p + kHeaderHashAt) != HeaderHash(p)) {
    return Status::Corrupt("the header of a snapshot frame fails its checksum");
  }
  if (const auto version = LoadAs<uint16_t>(p + kVersionAt); version != kLogVersion) {
    return Status::Invalid("the snapshot log is of version " + std::to_string(version) +
                           ", this program reads version " + std::to_string(kLogVersion) +
                           "; use the release that wrote it, or begin a new log");
  }
  const auto flags = LoadAs<uint16_t>(p + kFlagsAt);
  const auto sequence = LoadAs<uint64_t>(p + kSequenceAt);
  const Stamp stamp{LoadAs<int64_t>(p + kStampAt)};
  const uint64_t body_bytes = LoadAs<uint32_t>(p + kBodyBytesAt);
  if ((flags & ~kFullFlag) != 0 || sequence == 0 || sequence > kMaxSequence || stamp <= Stamp{} ||
      stamp > kMaxStamp || kFrameHeaderBytes + body_bytes > kMaxFrameBytes ||
      LoadAs<uint32_t>(p + kRawBytesAt) > MostRawBytes(body_bytes) ||
      ((flags & kFullFlag) != 0 && LoadAs<uint32_t>(p + kFollowsAt) != 0)) {
    return Status::Corrupt("the header of a snapshot frame says what cannot be");
  }
  return Status();
}

// Empty when the library fails, which it does only without memory.
std::vector<std::byte> Compress(ByteView raw, std::span<const size_t> section_ends,
                                size_t leave_free) {
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  const std::unique_ptr<ZSTD_CCtx, Free> context(ZSTD_createCCtx());
  if (context == nullptr) return {};
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kLevel);
  ZSTD_CCtx_setPledgedSrcSize(context.get(), raw.size());
  // A block begins at each section: some bytes more.
  std::vector<std::byte> packed(leave_free + ZSTD_compressBound(raw.size()) +
                                64 * (section_ends.size() + 1));
  ZSTD_outBuffer out{packed.data(), packed.size(), leave_free};
  ZSTD_inBuffer in{raw.data(), 0, 0};
  for (size_t end : section_ends) {
    in.size = end;
    if (ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_flush) != 0) return {};
  }
  in.size = raw.size();
  if (ZSTD_compressStream2(context.get(), &out, &in, ZSTD_e_end) != 0) return {};
  packed.resize(out.pos);
  packed.shrink_to_fit();
  return packed;
}

}  // namespace

uint64_t ClusterHash(std::string_view cluster) { return Hash64(AsBytes(cluster)); }

Result<FrameHeader> ReadFrameHeader(ByteView bytes) {
  if (bytes.size() < kFrameHeaderBytes) {
    if (MayBegin(bytes)) return CutOff();
    return Status::Corrupt("no frame of a snapshot log begins here");
  }
  const std::byte* p = bytes.data();
  HF_RETURN_IF_ERROR(CheckHeader(p));
  FrameHeader header{.full = (LoadAs<uint16_t>(p + kFlagsAt) & kFullFlag) != 0,
                     .cluster = LoadAs<uint64_t>(p + kClusterAt),
                     .sequence = LoadAs<uint64_t>(p + kSequenceAt),
                     .stamp = {LoadAs<int64_t>(p + kStampAt)},
                     .body_bytes = LoadAs<uint32_t>(p + kBodyBytesAt)};
  header.mark = MarkOf(bytes);
  header.follows = FollowsOf(bytes);
  if (bytes.size() < header.frame_bytes()) return CutOff();
  return header;
}

Status CheckFrame(ByteView frame) { return OpenFrame(frame).status(); }

Status CheckBody(ByteView frame) {
  if (LoadAs<uint64_t>(frame.data() + kBodyHashAt) == Hash64(frame.subspan(kFrameHeaderBytes))) {
    return {};
  }
  return Status::Corrupt("the body of a snapshot frame fails its checksum");
}

uint32_t MarkOf(ByteView frame) {
  return std::max(LoadAs<uint32_t>(frame.data() + kHeaderHashAt), uint32_t{1});
}

uint32_t FollowsOf(ByteView frame) { return LoadAs<uint32_t>(frame.data() + kFollowsAt); }

std::vector<std::byte> SealFrame(const FrameHeader& header, uint32_t follows, ByteView raw,
                                 std::span<const size_t> section_ends) {
  if (raw.size() > MostRawBytes(kMaxFrameBytes)) return {};
  std::vector<std::byte> frame = Compress(raw, section_ends, kFrameHeaderBytes);
  if (frame.empty() || frame.size() > kMaxFrameBytes) return {};
  const ByteView body = ByteView(frame).subspan(kFrameHeaderBytes);
  if (raw.size() > MostRawBytes(body.size())) return {};
  std::byte* p = frame.data();
  StoreAs(p + kMagicAt, kMagic);
  StoreAs(p + kVersionAt, kLogVersion);
  StoreAs(p + kFlagsAt, header.full ? kFullFlag : uint16_t{0});
  StoreAs(p + kFollowsAt, follows);
  StoreAs(p + kClusterAt, header.cluster);
  StoreAs(p + kSequenceAt, header.sequence);
  StoreAs(p + kStampAt, header.stamp.us);
  StoreAs(p + kBodyBytesAt, static_cast<uint32_t>(body.size()));
  StoreAs(p + kRawBytesAt, static_cast<uint32_t>(raw.size()));
  StoreAs(p + kBodyHashAt, Hash64(body));
  StoreAs(p + kHeaderHashAt, HeaderHash(p));
  return frame;
}

Result<Buffer> OpenFrame(ByteView frame) {
  HF_RETURN_IF_ERROR(CheckBody(frame));
  const ByteView body = frame.subspan(kFrameHeaderBytes);
  const size_t raw_bytes = LoadAs<uint32_t>(frame.data() + kRawBytesAt);
  const Status corrupt = Status::Corrupt("the body of a snapshot frame does not unpack");
  if (ZSTD_getFrameContentSize(body.data(), body.size()) != raw_bytes ||
      ZSTD_findFrameCompressedSize(body.data(), body.size()) != body.size()) {
    return corrupt;
  }
  Buffer raw(raw_bytes);
  if (ZSTD_decompress(raw.data(), raw.size(), body.data(), body.size()) != raw_bytes) {
    return corrupt;
  }
  return raw;
}

}  // namespace holdfast::snapshot
