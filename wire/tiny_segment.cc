// SPDX-License-Identifier: Apache-2.0
#include "wire/tiny_segment.h"

#include <cstring>

#include "base/hash.h"

namespace holdfast::disk {
namespace {

constexpr uint32_t kMostLevels = 64;
constexpr uint16_t kPackMagic = 0x4b50;  // "PK"
constexpr uint32_t kOffsetBits = 20;
constexpr uint32_t kOffsetMask = (uint32_t{1} << kOffsetBits) - 1;

uint64_t HeadBytes(std::span<const Tiny> objects) {
  uint64_t bytes = kPackHeadBytes + objects.size() * kTinyHeadBytes;
  for (const Tiny& t : objects) bytes += t.name.size() + t.etag.size();
  return bytes;
}

void Put(std::byte** at, ByteView bytes) {
  if (!bytes.empty()) std::memcpy(*at, bytes.data(), bytes.size());
  *at += bytes.size();
}

// What the head of a pack says of one object.
struct Line {
  explicit Line(const std::byte* p)
      : payload_hash(LoadAs<uint64_t>(p)),
        loaded_s(LoadAs<uint32_t>(p + 8)),
        expires_s(LoadAs<uint32_t>(p + 12)),
        size(LoadAs<uint16_t>(p + 16)),
        name_bytes(LoadAs<uint16_t>(p + 18)),
        etag_bytes(LoadAs<uint16_t>(p + 20)) {}
  uint64_t payload_hash;
  uint32_t loaded_s, expires_s;
  uint16_t size, name_bytes, etag_bytes;
};

// A head whose hash is right; all of its lines, texts and payloads lie within the bytes.
struct Walk {
  uint32_t objects = 0;
  const std::byte* line = nullptr;
  uint64_t text = 0;  // of the next object
  uint64_t payload = 0;

  static Result<Walk> Begin(ByteView bytes) {
    if (bytes.size() < kPackHeadBytes) return Status::Corrupt("a pack that is cut off");
    const auto head = LoadAs<uint32_t>(bytes.data() + 8);
    Walk w{.objects = LoadAs<uint16_t>(bytes.data() + 12),
           .line = bytes.data() + kPackHeadBytes,
           .payload = head};
    w.text = kPackHeadBytes + w.objects * kTinyHeadBytes;
    if (LoadAs<uint16_t>(bytes.data() + 14) != kPackMagic || head > bytes.size() || head < w.text) {
      return Status::Corrupt("no pack begins here");
    }
    if (Hash64(bytes.subspan(8, head - 8)) != LoadAs<uint64_t>(bytes.data())) {
      return Status::Corrupt("a pack's head does not have its checksum");
    }
    uint64_t texts = 0, payloads = 0;
    for (uint32_t i = 0; i < w.objects; ++i) {
      const Line line(w.line + i * kTinyHeadBytes);
      if (line.size > kTinyBytes || line.name_bytes + line.etag_bytes > kMaxText) {
        return Status::Corrupt("a pack names an object that is too large");
      }
      texts += line.name_bytes + line.etag_bytes;
      payloads += line.size;
    }
    if (w.text + texts != head || head + payloads > bytes.size()) {
      return Status::Corrupt("a pack names objects beyond its end");
    }
    return w;
  }
  Tiny Next(ByteView bytes, bool hashes) {
    const Line l(line);
    const std::string_view texts = AsText(bytes);
    Tiny tiny{.oid = {},
              .version = 0,
              .payload_hash = l.payload_hash,
              .loaded_s = l.loaded_s,
              .expires_s = l.expires_s,
              .name = texts.substr(text, l.name_bytes),
              .etag = texts.substr(text + l.name_bytes, l.etag_bytes),
              .payload = bytes.subspan(payload, l.size)};
    if (hashes) {
      tiny.oid = Hash128(AsBytes(tiny.name));
      tiny.version = HashVersion(tiny.etag, l.size);
    }
    line += kTinyHeadBytes;
    text += l.name_bytes + l.etag_bytes;
    payload += l.size;
    return tiny;
  }
};

}  // namespace

uint64_t PackBytes(std::span<const Tiny> objects) {
  uint64_t bytes = HeadBytes(objects);
  for (const Tiny& t : objects) bytes += t.payload.size();
  return shm::AlignUp(bytes, kAlign);
}

void AppendPack(std::span<const Tiny> objects, std::vector<std::byte>* into) {
  const size_t begin = into->size();
  into->resize(begin + PackBytes(objects));
  std::byte* const pack = into->data() + begin;
  const uint64_t head = HeadBytes(objects);
  std::byte* line = pack + kPackHeadBytes;
  std::byte* text = line + objects.size() * kTinyHeadBytes;
  std::byte* payload = pack + head;
  for (const Tiny& t : objects) {
    StoreAs(line, t.payload_hash);
    StoreAs(line + 8, t.loaded_s);
    StoreAs(line + 12, t.expires_s);
    StoreAs(line + 16, static_cast<uint16_t>(t.payload.size()));
    StoreAs(line + 18, static_cast<uint16_t>(t.name.size()));
    StoreAs(line + 20, static_cast<uint16_t>(t.etag.size()));
    line += kTinyHeadBytes;
    Put(&text, AsBytes(t.name));
    Put(&text, AsBytes(t.etag));
    Put(&payload, t.payload);
  }
  StoreAs(pack + 8, static_cast<uint32_t>(head));
  StoreAs(pack + 12, static_cast<uint16_t>(objects.size()));
  StoreAs(pack + 14, kPackMagic);
  StoreAs(pack, Hash64({pack + 8, head - 8}));
}

Result<std::vector<Tiny>> DecodePack(ByteView bytes) {
  Result<Walk> walk = Walk::Begin(bytes);
  if (!walk.ok()) return walk.status();
  std::vector<Tiny> objects;
  objects.reserve(walk->objects);
  while (objects.size() < walk->objects) objects.push_back(walk->Next(bytes, true));
  return objects;
}

Result<Tiny> DecodeTiny(ByteView bytes, uint32_t index) {
  Result<Walk> walk = Walk::Begin(bytes);
  if (!walk.ok()) return walk.status();
  if (index >= walk->objects)
    return Status::Corrupt("a pack has fewer objects than its table says");
  for (uint32_t i = 0; i < index; ++i) walk->Next(bytes, false);
  return walk->Next(bytes, true);
}

void EncodeTinyTable(const TinyTable& table, std::byte* into) {
  std::memset(into, 0, kTinyTableHeadBytes);
  StoreAs(into, table.run);
  StoreAs(into + 8, table.order);
  StoreAs(into + 16, table.level);
  StoreAs(into + 20, table.run_packs);
  StoreAs(into + 24, table.first_pack);
  StoreAs(into + 28, static_cast<uint32_t>(table.packs.size()));
  StoreAs(into + 32, static_cast<uint32_t>(table.objects.size()));
  StoreAs(into + 36, static_cast<uint32_t>(table.end / kAlign));
  std::byte* at = into + kTinyTableHeadBytes;
  for (const TinyTable::Pack& pack : table.packs) {
    StoreAs(at, static_cast<uint32_t>(pack.offset / kAlign) | pack.objects << kOffsetBits);
    at += kPackEntryBytes;
  }
  for (const TinyEntry& object : table.objects) {
    StoreAs(at, object.oid.hi);
    StoreAs(at + 8, object.oid.lo);
    StoreAs(at + 16, object.loaded_s);
    StoreAs(at + 20, object.expires_s);
    at += kTinyEntryBytes;
  }
}

namespace {

// Packs rise within [kFirstRecord, end], and their objects are theirs.
Status CheckTinyTable(const TinyTable& table, uint64_t limit) {
  if (table.run_packs == 0 || table.level > kMostLevels) {
    return Status::Corrupt("the table is of no run");
  }
  if (table.end > limit || table.run_packs < table.packs.size() ||
      table.first_pack > table.run_packs - table.packs.size()) {
    return Status::Corrupt("the table names packs that its run does not have");
  }
  uint64_t next = 0, before = kFirstRecord;
  for (size_t i = 0; i < table.packs.size(); ++i) {
    const TinyTable::Pack& pack = table.packs[i];
    if (pack.offset < before || pack.offset > table.end || pack.objects > kMaxPackObjects ||
        pack.objects > table.objects.size() - next) {
      return Status::Corrupt("the table names a pack outside of its segment");
    }
    before = pack.offset;
    for (const uint64_t last = next + pack.objects; next < last; ++next) {
      if (PackOf(table.objects[next].oid, table.run_packs) != table.first_pack + i) {
        return Status::Corrupt("the table names an object in another's pack");
      }
    }
  }
  if (next != table.objects.size()) return Status::Corrupt("the table names objects in no pack");
  return {};
}

}  // namespace

Result<TinyTable> DecodeTinyTable(ByteView bytes, uint64_t limit) {
  const std::byte* p = bytes.data();
  if (bytes.size() < kTinyTableHeadBytes) return Status::Corrupt("a table that is cut off");
  TinyTable table{.run = LoadAs<uint64_t>(p),
                  .order = LoadAs<uint64_t>(p + 8),
                  .level = LoadAs<uint32_t>(p + 16),
                  .run_packs = LoadAs<uint32_t>(p + 20),
                  .first_pack = LoadAs<uint32_t>(p + 24)};
  const uint64_t packs = LoadAs<uint32_t>(p + 28), objects = LoadAs<uint32_t>(p + 32);
  const uint64_t end = LoadAs<uint32_t>(p + 36) * kAlign;
  if (end > limit ||
      bytes.size() != kTinyTableHeadBytes + packs * kPackEntryBytes + objects * kTinyEntryBytes) {
    return Status::Corrupt("the table does not have the length that it says");
  }
  table.end = static_cast<uint32_t>(end);
  p += kTinyTableHeadBytes;
  table.packs.reserve(packs);
  for (uint64_t i = 0; i < packs; ++i, p += kPackEntryBytes) {
    const auto word = LoadAs<uint32_t>(p);
    table.packs.push_back(
        {static_cast<uint32_t>((word & kOffsetMask) * kAlign), word >> kOffsetBits});
  }
  table.objects.reserve(objects);
  for (uint64_t i = 0; i < objects; ++i, p += kTinyEntryBytes) {
    table.objects.push_back({.oid = {LoadAs<uint64_t>(p), LoadAs<uint64_t>(p + 8)},
                             .loaded_s = LoadAs<uint32_t>(p + 16),
                             .expires_s = LoadAs<uint32_t>(p + 20)});
  }
  HF_RETURN_IF_ERROR(CheckTinyTable(table, limit));
  return table;
}

}  // namespace holdfast::disk
