// SPDX-License-Identifier: Apache-2.0
#include "wire/codec.h"

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include "wire/columns.h"
#include "wire/envelope.h"

namespace holdfast::wire {
namespace {

// Text that may be longer than an envelope travels as a column.
struct LongText {
  std::string& text;
};

// The fields of each message in the order of the wire; writing and reading walk the same list.
// Buffers and long texts become columns in the order in which they appear.
auto FieldsOf(Hello& m) { return std::tie(m.cluster, m.job, m.node, m.incarnation); }
auto FieldsOf(HelloReply& m) {
  return std::tie(m.node, m.incarnation, m.capacity_bytes, m.free_bytes, m.max_object_bytes,
                  m.far_bytes_per_s, m.far_objects_per_s, m.bulk_endpoint, m.far_identity,
                  m.guest_bytes, m.guest_disk_bytes);
}
auto FieldsOf(NeedManifest& m) { return std::tie(m.job, m.call, m.digest); }
auto FieldsOf(Manifest& m) {
  ManifestColumns& c = m.columns;
  return std::tie(m.digest, c.count, c.size_width, c.oids, c.sizes, c.versions);
}
auto FieldsOf(Call& m) {
  return std::tie(m.job, m.call, m.digest, m.count, m.priority, m.name_bytes, m.hold, m.lease,
                  m.dry_run, m.asked, m.offer, m.home);
}
auto FieldsOf(Bids& m) {
  return std::tie(m.job, m.call, m.incarnation, m.first, m.count, m.keep_t2, m.load_t2, m.rate,
                  m.status, m.keep, m.load, m.spare, m.near, m.near_rate);
}
auto FieldsOf(Confirm& m) {
  return std::tie(m.job, m.call, m.incarnation, m.first, m.count, m.keep, m.load, m.name_ends,
                  m.names, m.etag_ends, m.etags, m.need_by);
}
auto FieldsOf(Ack& m) {
  return std::tie(m.job, m.call, m.incarnation, m.tenancy, m.first, m.count, m.t2, m.rate,
                  m.refused, m.why);
}
auto FieldsOf(Heartbeat& m) { return std::tie(m.job, m.lease, m.losses_seen); }
auto FieldsOf(Progress& m) {
  return std::tie(m.job, m.incarnation, m.tenancy, m.known, m.kept_objects, m.loads_left,
                  m.loads_done, m.loaded_bytes, m.far_requests, m.far_bytes, m.first_loss, m.lost);
}
auto FieldsOf(EndJob& m) { return std::tie(m.job); }
auto FieldsOf(Ask& m) { return std::tie(m.id, m.oids, m.versions, m.tried); }
auto FieldsOf(Answer& m) { return std::tie(m.id, m.verdicts, m.loaders); }
auto FieldsOf(Fetched& m) { return std::tie(m.loaded, m.oids, m.versions); }
auto FieldsOf(StatusQuery& m) { return std::tie(m.id); }
auto FieldsOf(StatusReply& m) { return std::tuple<uint64_t&, LongText>(m.id, LongText{m.json}); }
auto FieldsOf(Drop& m) { return std::tie(m.id, m.prefix, m.oids); }
auto FieldsOf(DropReply& m) {
  return std::tie(m.id, m.dropped_objects, m.dropped_bytes, m.held_objects);
}
auto FieldsOf(SnapshotQuery& m) { return std::tie(m.id, m.sequence, m.previous); }
auto FieldsOf(SnapshotReply& m) {
  return std::tie(m.id, m.incarnation, m.prints, m.ages, m.held, m.kept, m.evicted,
                  m.evicted_squares, m.moved);
}
auto FieldsOf(LogAppend& m) { return std::tie(m.id, m.frames); }
auto FieldsOf(LogQuery& m) { return std::tie(m.id, m.after, m.mark); }
auto FieldsOf(LogReply& m) { return std::tie(m.id, m.sequence, m.mark, m.age, m.frames); }
auto FieldsOf(StreamTerms& t) {
  return std::tie(t.stream, t.memory_bytes, t.disk_bytes, t.writers, t.copies, t.expires_in);
}
auto FieldsOf(StreamOpen& m) {
  return std::tuple_cat(std::tie(m.id, m.name), FieldsOf(m.terms),
                        std::tie(m.create, m.writer, m.lease));
}
auto FieldsOf(StreamQuery& m) { return std::tie(m.id, m.name, m.stream, m.after); }
auto FieldsOf(StreamReply& m) {
  return std::tuple_cat(std::tie(m.id, m.status, m.name), FieldsOf(m.terms),
                        std::tie(m.first, m.total, m.entries, m.writers));
}
auto FieldsOf(StreamAppend& m) {
  return std::tie(m.id, m.stream, m.writer, m.first, m.ended, m.lease, m.entries);
}
auto FieldsOf(StreamAppended& m) { return std::tie(m.id, m.next, m.ended, m.status); }
auto FieldsOf(StreamKeep& m) {
  return std::tuple_cat(std::tie(m.id), FieldsOf(m.terms),
                        std::tie(m.writer, m.number, m.bytes, m.hash, m.on_disk, m.shelf));
}
auto FieldsOf(StreamKept& m) { return std::tie(m.id, m.pending, m.room_bytes, m.status); }
auto FieldsOf(StreamDrop& m) { return std::tie(m.id, m.name, m.stream); }
auto FieldsOf(StreamDropped& m) { return std::tie(m.id, m.stream, m.chunks, m.bytes); }
auto FieldsOf(StreamList& m) { return std::tie(m.id); }
auto FieldsOf(StreamListed& m) { return std::tuple<uint64_t&, LongText>(m.id, LongText{m.json}); }
auto FieldsOf(SpillOffer& m) { return std::tie(m.id, m.bytes, m.objects); }
auto FieldsOf(SpillBid& m) { return std::tie(m.id, m.bytes, m.on_disk); }
auto FieldsOf(SpillGive& m) {
  return std::tie(m.id, m.oids, m.versions, m.sizes, m.ages, m.name_ends, m.names, m.etag_ends,
                  m.etags);
}
auto FieldsOf(SpillTaken& m) {
  return std::tie(m.id, m.objects, m.bytes, m.guest_bytes, m.guest_disk_bytes);
}
auto FieldsOf(Lodged& m) { return std::tie(m.oids, m.versions); }
auto FieldsOf(ErrorReply& m) { return std::tie(m.about, m.job, m.status); }

// How many elements of the envelope a field takes.
template <typename T>
constexpr uint32_t WidthOf() {
  if constexpr (std::is_same_v<T, Buffer> || std::is_same_v<T, LongText>) return 0;
  if constexpr (std::is_same_v<T, Oid> || std::is_same_v<T, Status>) return 2;
  if constexpr (std::is_same_v<T, RateModel>) return 3;
  return 1;
}

template <typename M>
constexpr uint32_t EnvelopeWidth() {
  return []<typename... T>(std::type_identity<std::tuple<T...>>) {
    return (2 + ... + WidthOf<std::remove_reference_t<T>>());
  }(std::type_identity<decltype(FieldsOf(std::declval<M&>()))>{});
}

template <typename M>
constexpr size_t ColumnsOf() {
  return []<typename... T>(std::type_identity<std::tuple<T...>>) {
    return (size_t{0} + ... + (WidthOf<std::remove_reference_t<T>>() == 0 ? 1 : 0));
  }(std::type_identity<decltype(FieldsOf(std::declval<M&>()))>{});
}

// At most `most` bytes of `text`, cut between characters of UTF-8.
std::string_view Cut(std::string_view text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (text[most] & 0xc0) == 0x80) --most;
  return text.substr(0, most);
}

class Writer {
 public:
  void Start(uint32_t width, size_t type) {
    envelope_.Array(width);
    envelope_.Uint(kProtocolVersion);
    envelope_.Uint(type);
  }
  void Put(std::unsigned_integral auto value) { envelope_.Uint(value); }
  void Put(bool value) { envelope_.Bool(value); }
  void Put(Duration d) {
    envelope_.Uint(static_cast<uint64_t>(std::clamp(d, Duration(0), kMaxDuration).count()));
  }
  void Put(const std::string& text) { envelope_.Text(text); }
  void Put(LongText field) { columns_.push_back(Buffer::CopyOf(AsBytes(field.text))); }
  void Put(Buffer& column) { columns_.push_back(std::move(column)); }
  void Put(const Oid& oid) { Put(oid.hi), Put(oid.lo); }
  void Put(const RateModel& r) { Put(r.start), Put(r.ns_per_object), Put(r.ns_per_mib); }
  void Put(Code code) { envelope_.Uint(static_cast<uint8_t>(code)); }
  void Put(Refusal why) { envelope_.Uint(static_cast<uint8_t>(why)); }
  void Put(const Status& status) {
    Put(status.code());
    envelope_.Text(Cut(status.message(), kMaxStatusTextBytes));
  }
  void Put(const std::vector<Loss>& losses) {
    size_t count = std::min(losses.size(), kMaxLosses);
    envelope_.Array(static_cast<uint32_t>(count));
    for (size_t i = 0; i < count; ++i) {
      envelope_.Array(3);
      Put(losses[i].index), Put(losses[i].code);
      envelope_.Text(Cut(losses[i].text, kMaxLossTextBytes));
    }
  }
  Frames Finish() { return {envelope_.Finish(), std::move(columns_)}; }

 private:
  EnvelopeWriter envelope_;
  std::vector<Buffer> columns_;
};

class Reader {
 public:
  Reader(EnvelopeReader* envelope, std::vector<Buffer> columns)
      : envelope_(*envelope), columns_(std::move(columns)) {}

  template <std::unsigned_integral T>
  void Get(T& value) {
    value = static_cast<T>(envelope_.Uint(std::numeric_limits<T>::max()));
  }
  void Get(bool& value) { value = envelope_.Bool(); }
  void Get(Duration& d) {
    d = Duration(envelope_.Uint(static_cast<uint64_t>(kMaxDuration.count())));
  }
  void Get(std::string& text) { text = envelope_.Text(kMaxNameBytes); }
  void Get(LongText field) {
    const Buffer& column = columns_[next_++];
    if (column.size() > kMaxLongTextBytes) return envelope_.Fail("a text column is too long");
    field.text = AsText(column.view());
  }
  void Get(Buffer& column) { column = std::move(columns_[next_++]); }
  void Get(Oid& oid) { Get(oid.hi), Get(oid.lo); }
  void Get(RateModel& r) { Get(r.start), Get(r.ns_per_object), Get(r.ns_per_mib); }
  void Get(Code& code) {
    code = static_cast<Code>(envelope_.Uint(static_cast<uint8_t>(Code::kTimeout)));
  }
  void Get(Refusal& why) {
    why = static_cast<Refusal>(envelope_.Uint(static_cast<uint8_t>(Refusal::kUnknownCall)));
  }
  void Get(Status& status) {
    Code code = Code::kOk;
    Get(code);
    std::string_view text = envelope_.Text(kMaxStatusTextBytes);
    status = code == Code::kOk ? Status() : Status(code, std::string(text));
  }
  void Get(std::vector<Loss>& losses) {
    losses.resize(envelope_.ArrayUpTo(kMaxLosses));
    for (Loss& loss : losses) {
      envelope_.Array(3);
      Get(loss.index), Get(loss.code);
      loss.text = envelope_.Text(kMaxLossTextBytes);
    }
  }

 private:
  EnvelopeReader& envelope_;
  std::vector<Buffer> columns_;
  size_t next_ = 0;
};

template <typename M>
Result<Message> DecodeAs(EnvelopeReader& envelope, std::vector<Buffer> columns) {
  if (columns.size() != ColumnsOf<M>()) {
    return Status::Corrupt(std::to_string(columns.size()) + " columns instead of " +
                           std::to_string(ColumnsOf<M>()));
  }
  M message;
  Reader reader(&envelope, std::move(columns));
  std::apply([&](auto&&... field) { (reader.Get(field), ...); }, FieldsOf(message));
  HF_RETURN_IF_ERROR(envelope.Finish());
  HF_RETURN_IF_ERROR(CheckShape(message));
  return Message(std::move(message));
}

struct Type {
  std::string_view name;
  uint32_t width;  // elements of the envelope
  Result<Message> (*decode)(EnvelopeReader&, std::vector<Buffer>);
};

template <typename M>
constexpr Type TypeOf(std::string_view name) {
  return {name, EnvelopeWidth<M>(), DecodeAs<M>};
}

// Numbered as in Message.
constexpr std::array kTypes = {
    TypeOf<Hello>("Hello"),
    TypeOf<HelloReply>("HelloReply"),
    TypeOf<NeedManifest>("NeedManifest"),
    TypeOf<Manifest>("Manifest"),
    TypeOf<Call>("Call"),
    TypeOf<Bids>("Bids"),
    TypeOf<Confirm>("Confirm"),
    TypeOf<Ack>("Ack"),
    TypeOf<Heartbeat>("Heartbeat"),
    TypeOf<Progress>("Progress"),
    TypeOf<EndJob>("EndJob"),
    TypeOf<Ask>("Ask"),
    TypeOf<Answer>("Answer"),
    TypeOf<Fetched>("Fetched"),
    TypeOf<StatusQuery>("StatusQuery"),
    TypeOf<StatusReply>("StatusReply"),
    TypeOf<Drop>("Drop"),
    TypeOf<DropReply>("DropReply"),
    TypeOf<ErrorReply>("ErrorReply"),
    TypeOf<SnapshotQuery>("SnapshotQuery"),
    TypeOf<SnapshotReply>("SnapshotReply"),
    TypeOf<LogAppend>("LogAppend"),
    TypeOf<LogQuery>("LogQuery"),
    TypeOf<LogReply>("LogReply"),
    TypeOf<StreamOpen>("StreamOpen"),
    TypeOf<StreamQuery>("StreamQuery"),
    TypeOf<StreamReply>("StreamReply"),
    TypeOf<StreamAppend>("StreamAppend"),
    TypeOf<StreamAppended>("StreamAppended"),
    TypeOf<StreamKeep>("StreamKeep"),
    TypeOf<StreamKept>("StreamKept"),
    TypeOf<StreamDrop>("StreamDrop"),
    TypeOf<StreamDropped>("StreamDropped"),
    TypeOf<StreamList>("StreamList"),
    TypeOf<StreamListed>("StreamListed"),
    TypeOf<SpillOffer>("SpillOffer"),
    TypeOf<SpillBid>("SpillBid"),
    TypeOf<SpillGive>("SpillGive"),
    TypeOf<SpillTaken>("SpillTaken"),
    TypeOf<Lodged>("Lodged"),
};
static_assert(kTypes.size() == std::variant_size_v<Message>);

}  // namespace

std::string_view NameOf(const Message& message) { return kTypes[message.index()].name; }

Frames Encode(Message message) {
  Writer writer;
  writer.Start(kTypes[message.index()].width, message.index());
  std::visit(
      [&](auto& m) { std::apply([&](auto&&... field) { (writer.Put(field), ...); }, FieldsOf(m)); },
      message);
  return writer.Finish();
}

Result<Message> Decode(Frames frames) {
  if (frames.head.size() > kMaxEnvelopeBytes) {
    return Status::Corrupt("a control message's envelope is longer than " +
                           FormatBytes(kMaxEnvelopeBytes));
  }
  Result<EnvelopeReader> envelope = EnvelopeReader::Parse(frames.head.view(), kProtocolVersion);
  if (!envelope.ok()) {
    return envelope.status().code() == Code::kInvalid
               ? envelope.status()
               : envelope.status().Annotate("a control message");
  }
  uint32_t width = envelope->ArrayUpTo(std::numeric_limits<uint32_t>::max());
  (void)envelope->Uint(kProtocolVersion);
  uint64_t number = envelope->Uint(kTypes.size() - 1);
  if (Status s = envelope->status(); !s.ok()) return s.Annotate("a control message");
  const Type& type = kTypes[number];
  if (width != type.width) {
    return Status::Corrupt("a " + std::string(type.name) + " message: " + std::to_string(width) +
                           " fields instead of " + std::to_string(type.width));
  }
  Result<Message> message = type.decode(*envelope, std::move(frames.columns));
  if (message.ok()) return message;
  return message.status().Annotate("a " + std::string(type.name) + " message");
}

}  // namespace holdfast::wire
