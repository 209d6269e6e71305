// SPDX-License-Identifier: Apache-2.0
// Decode of control messages takes any frames; what it accepts has the shape that it promises and survives encoding.
// Input: for each frame a u16 length and that many bytes, the envelope first; a length beyond the end means "the rest".
#include <algorithm>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/wire/samples.h"
#include "wire/codec.h"

namespace holdfast::fuzz {
namespace {

Frames FramesOf(ByteView input) {
  Frames frames;
  bool first = true;
  while (input.size() >= 2 && frames.columns.size() < 32) {
    size_t length = std::min<size_t>(LoadAs<uint16_t>(input.data()), input.size() - 2);
    Buffer frame = Buffer::CopyOf(input.subspan(2, length));
    input = input.subspan(2 + length);
    if (std::exchange(first, false)) {
      frames.head = std::move(frame);
    } else {
      frames.columns.push_back(std::move(frame));
    }
  }
  return frames;
}

std::vector<std::byte> InputOf(const Frames& frames) {
  std::vector<std::byte> input;
  auto add = [&](const Buffer& frame) {
    input.resize(input.size() + 2);
    StoreAs(input.data() + input.size() - 2, static_cast<uint16_t>(frame.size()));
    input.insert(input.end(), frame.view().begin(), frame.view().end());
  };
  add(frames.head);
  for (const Buffer& column : frames.columns) add(column);
  return input;
}

// What a core does without asking: counts bits, and follows offsets for each set bit.
void RequireBitmap(const Buffer& bitmap, size_t bits) {
  Require(bitmap.size() == Bitmap(bits).bytes().size());
  Require(wire::SameBytes(bitmap, Buffer::CopyOf(Bitmap::FromBytes(bitmap.view(), bits).bytes())));
}

void RequireTexts(const Buffer& ends, const Buffer& texts, size_t count, size_t most) {
  ColumnView<uint32_t> end(ends.view());
  Require(end.size() == count);
  uint32_t last = 0;
  for (size_t i = 0; i < count; ++i) {
    Require(end[i] >= last && end[i] - last <= most && end[i] <= texts.size());
    last = end[i];
  }
  Require(last == texts.size());
}

void RequireShape(const wire::Manifest& m) {
  const wire::ManifestColumns& c = m.columns;
  Require(c.size_width == 4 || c.size_width == 8);
  Require(c.oids.size() == size_t{16} * c.count && c.versions.size() == size_t{8} * c.count);
  Require(c.sizes.size() == size_t{c.size_width} * c.count);
}

void RequireShape(const wire::Call& m) {
  if (!m.asked.empty()) RequireBitmap(m.asked, m.count);
  RequireBitmap(m.offer, m.count);
  RequireBitmap(m.home, m.count);
  Bitmap offer = Bitmap::FromBytes(m.offer.view(), m.count);
  Bitmap::FromBytes(m.home.view(), m.count).ForEach([&](size_t i) { Require(offer.Get(i)); });
  Require(m.hold >= 0s && m.hold <= wire::kMaxDuration);
}

void RequireShape(const wire::Bids& m) {
  Require(m.first % 64 == 0 && m.first + m.count <= wire::kMaxManifestObjects);
  for (const Buffer* bitmap : {&m.keep, &m.load, &m.spare}) RequireBitmap(*bitmap, m.count);
  if (!m.near.empty()) RequireBitmap(m.near, m.count);
  for (const RateModel& rate : {m.rate, m.near_rate})
    Require(rate.Finish(~uint64_t{0}, ~uint64_t{0}) >= 0us);
}

void RequireShape(const wire::Confirm& m) {
  Require(m.first % 64 == 0 && m.first + m.count <= wire::kMaxManifestObjects);
  RequireBitmap(m.keep, m.count);
  RequireBitmap(m.load, m.count);
  size_t loads = Bitmap::FromBytes(m.load.view(), m.count).Count();
  RequireTexts(m.name_ends, m.names, loads, wire::kMaxNameBytes);
  RequireTexts(m.etag_ends, m.etags, loads, wire::kMaxEtagBytes);
  Require(m.need_by.empty() || m.need_by.size() == 4 * loads);
}

void RequireShape(const wire::Ack& m) {
  if (!m.refused.empty()) RequireBitmap(m.refused, m.count);
  Require(m.why <= wire::Refusal::kUnknownCall);
}

void RequireShape(const wire::Ask& m) { Require(m.oids.size() == 2 * m.versions.size()); }
void RequireShape(const wire::Fetched& m) { Require(m.oids.size() == 2 * m.versions.size()); }

void RequireShape(const wire::Answer& m) {
  Require(m.loaders.size() == 2 * m.verdicts.size());
  for (std::byte v : m.verdicts.view()) Require(v <= std::byte{2});
}

void RequireShape(const wire::Progress& m) {
  for (const wire::Loss& loss : m.lost) Require(loss.code <= Code::kTimeout);
}

void RequireEntries(const Buffer& entries) {
  Require(entries.size() % sizeof(wire::StreamEntry) == 0);
  for (const auto& entry : wire::RowsIn<wire::StreamEntry>(entries)) {
    Require(entry.writer != 0 && entry.hash != 0 && entry.records > 0 &&
            entry.pieces > entry.piece);
  }
}

void RequireShape(const wire::StreamReply& m) {
  RequireEntries(m.entries);
  Require(m.writers.size() % sizeof(wire::StreamWriterState) == 0);
  for (const auto& writer : wire::RowsIn<wire::StreamWriterState>(m.writers)) {
    Require(writer.phase <= wire::StreamWriterPhase::kGone);
  }
}

void RequireShape(const wire::StreamAppend& m) {
  RequireEntries(m.entries);
  uint64_t number = m.first;
  for (const auto& entry : wire::RowsIn<wire::StreamEntry>(m.entries)) {
    Require(entry.number == number++ && entry.writer == m.writer);
  }
}

void RequireShape(const wire::SpillGive& m) {
  const size_t count = m.versions.size() / 8;
  Require(count <= wire::kMaxSpillObjects && m.oids.size() == 16 * count);
  Require(m.sizes.size() == 8 * count && m.ages.size() == 4 * count);
  RequireTexts(m.name_ends, m.names, count, wire::kMaxNameBytes);
  RequireTexts(m.etag_ends, m.etags, count, wire::kMaxEtagBytes);
}

void RequireShape(const wire::Lodged& m) { Require(m.oids.size() == 2 * m.versions.size()); }

template <typename M>
void RequireShape(const M&) {}

}  // namespace

std::vector<std::vector<std::byte>> Seeds() {
  std::vector<std::vector<std::byte>> seeds;
  for (auto make : {+[] { return wire::FullMessages(); }, +[] { return wire::EmptyMessages(); }}) {
    for (wire::Message& m : make()) seeds.push_back(InputOf(wire::Encode(std::move(m))));
  }
  return seeds;
}

}  // namespace holdfast::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  auto decoded = wire::Decode(fuzz::FramesOf({reinterpret_cast<const std::byte*>(data), size}));
  if (!decoded.ok()) {
    fuzz::Require(!decoded.status().message().empty());
    return 0;
  }
  std::visit([](const auto& m) { fuzz::RequireShape(m); }, *decoded);
  Frames once = wire::Encode(std::move(*decoded));
  auto again = wire::Decode(wire::CopyOf(once));
  fuzz::Require(again.ok());
  fuzz::Require(wire::SameFrames(wire::Encode(std::move(*again)), once));
  return 0;
}
