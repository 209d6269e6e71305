// SPDX-License-Identifier: Apache-2.0
#include "snapshot/log_body.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace holdfast::snapshot {
namespace {

constexpr Print kPrints = Print{1} << 40;
// Of everything as fixed columns: how much a body holds is known before it is read.
constexpr size_t kHeadBytes = 8, kNodeBytes = 32;
constexpr size_t kCellNumbers = 3, kCellBytes = 2 + 8 * kCellNumbers;
constexpr size_t kPrintBytes = 5, kMarkBytes = 2;
constexpr uint32_t kAnsweredFlag = 1;
constexpr uint16_t kKeptCell = 0x8000;  // evidence of the kept ring

// What SurvivalEvidence can take without a sum that is infinite.
constexpr double kMostEvidence = 1e100;
// Sums of decayed numbers miss zero by a hair; such a cell says nothing.
constexpr double kLeastShare = 1e-12;

Status Wrong(const char* what) {
  return Status::Corrupt(std::string("a snapshot frame has ") + what);
}

// --- Planes: the first byte of every number, then the second of every number, ... ----------------
// Bytes of one kind are together then, and zstd finds that some kinds need few bits.

template <typename Number, typename BitsOf>
void PutPlane(const std::vector<Number>& numbers, size_t plane, const BitsOf& bits_of,
              std::vector<std::byte>* out) {
  const size_t at = out->size();
  out->resize(at + numbers.size());
  std::byte* to = out->data() + at;
  for (size_t i = 0; i < numbers.size(); ++i) {
    to[i] = static_cast<std::byte>(bits_of(numbers[i]) >> (8 * plane));
  }
}

// The planes of `width` columns of `count` numbers, taken off the front of `rest`.
struct Planes {
  const std::byte* first = nullptr;
  size_t count = 0;

  template <size_t kWidth>
  uint64_t At(size_t i) const {
    uint64_t bits = 0;
    for (size_t plane = 0; plane < kWidth; ++plane) {
      bits |= std::to_integer<uint64_t>(first[plane * count + i]) << (8 * plane);
    }
    return bits;
  }
};

Planes TakePlanes(size_t width, size_t count, ByteView* rest) {
  const Planes planes{rest->data(), count};
  *rest = rest->subspan(width * count);
  return planes;
}

// --- Evidence ------------------------------------------------------------------------------------

struct ToldCell {
  uint16_t cell = 0;                          // its number, and kKeptCell
  std::array<uint64_t, kCellNumbers> bits{};  // of doubles
};

uint64_t BitsOf(double x) {
  // Not clamp, which keeps what is not a number.
  return std::bit_cast<uint64_t>(x > 0 ? std::min(x, kMostEvidence) : 0.0);
}

void AddCells(const SurvivalEvidence& evidence, uint16_t ring, std::vector<ToldCell>* told) {
  const std::vector<SurvivalEvidence::Cell> cells = evidence.Cells();
  double most = 0;
  for (const auto& cell : cells) most = std::max(most, cell.kept);
  for (size_t i = 0; i < cells.size(); ++i) {
    const auto& cell = cells[i];
    if (!(cell.lost > 0) && !(cell.kept > kLeastShare * most)) continue;
    told->push_back({static_cast<uint16_t>(i | ring),
                     {BitsOf(cell.kept), BitsOf(cell.lost), BitsOf(cell.lost_squares)}});
  }
}

std::vector<ToldCell> CellsToTell(const RingEvidence& evidence) {
  std::vector<ToldCell> told;
  AddCells(evidence[Ring::kFresh], 0, &told);
  AddCells(evidence[Ring::kKept], kKeptCell, &told);
  return told;
}

void PutEvidence(const std::vector<ToldCell>& told, std::vector<std::byte>* out) {
  for (size_t plane = 0; plane < 2; ++plane) {
    PutPlane(
        told, plane, [](const ToldCell& t) { return t.cell; }, out);
  }
  for (size_t number = 0; number < kCellNumbers; ++number) {
    for (size_t plane = 0; plane < 8; ++plane) {
      PutPlane(
          told, plane, [number](const ToldCell& t) { return t.bits[number]; }, out);
    }
  }
}

Status TakeEvidence(size_t cells, ByteView* rest, RingEvidence* evidence) {
  const Planes numbers = TakePlanes(2, cells, rest);
  std::array<Planes, kCellNumbers> values;
  for (Planes& planes : values) planes = TakePlanes(8, cells, rest);
  uint64_t least = 0;
  for (size_t i = 0; i < cells; ++i) {
    const uint64_t number = numbers.At<2>(i), cell = number & ~uint64_t{kKeptCell};
    if (number < least || cell >= AgeCells::kCells) return Wrong("evidence of no age");
    least = number + 1;
    const Ring ring = number != cell ? Ring::kKept : Ring::kFresh;
    std::array<double, kCellNumbers> said;
    for (size_t k = 0; k < kCellNumbers; ++k) {
      said[k] = std::bit_cast<double>(values[k].At<8>(i));
      if (!(said[k] >= 0 && said[k] <= kMostEvidence)) return Wrong("evidence that is no count");
    }
    (*evidence)[ring].Add(static_cast<uint32_t>(cell),
                          {.kept = said[0], .lost = said[1], .lost_squares = said[2]});
  }
  return Status();
}

// --- Nodes ---------------------------------------------------------------------------------------

void PutNode(const LogBody::Node& node, std::byte* p) {
  StoreAs(p, node.node);
  StoreAs(p + 2, uint16_t{0});
  StoreAs(p + 4, node.answered ? kAnsweredFlag : 0u);
  StoreAs(p + 8, node.incarnation);
  StoreAs(p + 16, node.seen.us);
  StoreAs(p + 24, node.removed);
  StoreAs(p + 28, node.listed);
}

Status CheckNode(const FrameHeader& header, const LogBody::Node& node) {
  if (node.node == kNoNode) return Wrong("a node of no number");
  if (node.answered) {
    if (node.seen != header.stamp) return Wrong("a node that answered at another time");
  } else {
    if (node.seen < Stamp{} || node.seen > header.stamp) return Wrong("a node seen in the future");
    if (node.listed > 0 && (!header.full || node.seen == Stamp{})) {
      return Wrong("objects of a node that did not answer");
    }
    if (node.removed > 0) return Wrong("objects removed from a node that did not answer");
  }
  if (header.full && node.removed > 0) return Wrong("removed objects, although it is full");
  return Status();
}

Status TakeNodes(const FrameHeader& header, size_t count, ByteView* rest,
                 std::vector<LogBody::Node>* nodes) {
  for (size_t i = 0; i < count; ++i, *rest = rest->subspan(kNodeBytes)) {
    const std::byte* p = rest->data();
    const auto flags = LoadAs<uint32_t>(p + 4);
    const LogBody::Node node{.node = LoadAs<NodeId>(p),
                             .answered = (flags & kAnsweredFlag) != 0,
                             .incarnation = LoadAs<uint64_t>(p + 8),
                             .seen = {LoadAs<int64_t>(p + 16)},
                             .removed = LoadAs<uint32_t>(p + 24),
                             .listed = LoadAs<uint32_t>(p + 28)};
    if (LoadAs<uint16_t>(p + 2) != 0 || (flags & ~kAnsweredFlag) != 0) return Wrong("odd flags");
    if (!nodes->empty() && node.node <= nodes->back().node) return Wrong("nodes out of order");
    HF_RETURN_IF_ERROR(CheckNode(header, node));
    nodes->push_back(node);
  }
  return Status();
}

// --- Prints and marks ----------------------------------------------------------------------------

// How many prints are left out before each: small numbers, and any numbers are sorted prints.
std::vector<uint64_t> GapsOf(const std::vector<LogBody::Node>& nodes,
                             uint32_t LogBody::Node::*count, const std::vector<Print>& prints) {
  std::vector<uint64_t> gaps(prints.size());
  size_t at = 0;
  for (const LogBody::Node& node : nodes) {
    Print least = 0;
    for (size_t end = at + node.*count; at < end; ++at) {
      HF_CHECK(prints[at] >= least && prints[at] < kPrints);
      gaps[at] = prints[at] - least;
      least = prints[at] + 1;
    }
  }
  HF_CHECK(at == prints.size());
  return gaps;
}

Status TakePrints(const std::vector<LogBody::Node>& nodes, uint32_t LogBody::Node::*count,
                  size_t total, ByteView* rest, std::vector<Print>* prints) {
  const Planes gaps = TakePlanes(kPrintBytes, total, rest);
  prints->resize(total);
  size_t at = 0;
  for (const LogBody::Node& node : nodes) {
    Print least = 0;
    for (size_t end = at + node.*count; at < end; ++at) {
      const Print print = least + gaps.At<kPrintBytes>(at);  // both at most 2^40
      if (print >= kPrints) return Wrong("a print of too many bits");
      (*prints)[at] = print;
      least = print + 1;
    }
  }
  return Status();
}

Status TakeMarks(size_t total, ByteView* rest, std::vector<AgeMark>* marks) {
  const Planes bits = TakePlanes(kMarkBytes, total, rest);
  marks->resize(total);
  for (size_t i = 0; i < total; ++i) {
    const AgeMark mark{static_cast<uint16_t>(bits.At<kMarkBytes>(i))};
    if (mark.cell() >= AgeCells::kCells) return Wrong("an age of no cell");
    (*marks)[i] = mark;
  }
  return Status();
}

}  // namespace

EncodedBody EncodeBody(const LogBody& body) {
  HF_CHECK(body.marks.size() == body.listed.size());
  const std::vector<ToldCell> told = CellsToTell(body.evidence);
  EncodedBody encoded;
  std::vector<std::byte>& out = encoded.bytes;
  out.reserve(kHeadBytes + body.nodes.size() * kNodeBytes + told.size() * kCellBytes +
              body.removed.size() * kPrintBytes + body.listed.size() * (kPrintBytes + kMarkBytes));
  out.resize(kHeadBytes + body.nodes.size() * kNodeBytes);
  StoreAs(out.data(), static_cast<uint32_t>(body.nodes.size()));
  StoreAs(out.data() + 4, static_cast<uint32_t>(told.size()));
  for (size_t i = 0; i < body.nodes.size(); ++i) {
    PutNode(body.nodes[i], out.data() + kHeadBytes + i * kNodeBytes);
  }
  PutEvidence(told, &out);
  encoded.section_ends.push_back(out.size());

  auto put = [&]<typename Number>(const std::vector<Number>& numbers, size_t width, auto bits_of) {
    for (size_t plane = 0; plane < width; ++plane) {
      PutPlane(numbers, plane, bits_of, &out);
      encoded.section_ends.push_back(out.size());
    }
  };
  auto itself = [](uint64_t gap) { return gap; };
  put(GapsOf(body.nodes, &LogBody::Node::removed, body.removed), kPrintBytes, itself);
  put(GapsOf(body.nodes, &LogBody::Node::listed, body.listed), kPrintBytes, itself);
  put(body.marks, kMarkBytes, [](AgeMark mark) { return mark.bits; });
  return encoded;
}

Result<LogBody> DecodeBody(const FrameHeader& header, ByteView bytes) {
  if (bytes.size() < kHeadBytes) return Wrong("no body");
  const size_t nodes = LoadAs<uint32_t>(bytes.data());
  const size_t cells = LoadAs<uint32_t>(bytes.data() + 4);
  ByteView rest = bytes.subspan(kHeadBytes);
  if (nodes > kMaxNodes || cells > kRings * AgeCells::kCells ||
      rest.size() < nodes * kNodeBytes + cells * kCellBytes) {
    return Wrong("a body that ends too early");
  }
  LogBody body;
  HF_RETURN_IF_ERROR(TakeNodes(header, nodes, &rest, &body.nodes));
  HF_RETURN_IF_ERROR(TakeEvidence(cells, &rest, &body.evidence));
  uint64_t removed = 0, listed = 0;  // of at most 4096 numbers of 32 bits
  for (const LogBody::Node& node : body.nodes) {
    removed += node.removed;
    listed += node.listed;
  }
  if (rest.size() != removed * kPrintBytes + listed * (kPrintBytes + kMarkBytes)) {
    return Wrong("another number of objects than it says");
  }
  HF_RETURN_IF_ERROR(
      TakePrints(body.nodes, &LogBody::Node::removed, removed, &rest, &body.removed));
  HF_RETURN_IF_ERROR(TakePrints(body.nodes, &LogBody::Node::listed, listed, &rest, &body.listed));
  HF_RETURN_IF_ERROR(TakeMarks(listed, &rest, &body.marks));
  return body;
}

}  // namespace holdfast::snapshot
