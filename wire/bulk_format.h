// SPDX-License-Identifier: Apache-2.0
// The bytes of a bulk connection: how a reader gets many objects out of a node's segments. Control
// messages never travel here (wire/messages.h). docs/formats.md, "Bulk protocol", is the page for
// these bytes; everything is little-endian and everything received is hostile until a decoder of
// this file has accepted it.
//
//   reader → node:  ClientHello  Batch  Batch ...
//   node → reader:  ServerHello  text   Answer Answer ... body body ...   Answer ... body ...
//
// A reader does not wait for the ServerHello before it sends. Answers come in the order in which
// objects are ready.
//
// Every batch also says how many bytes of the answer stream the reader has taken out of its socket
// so far. A node that sends pages of its segments without copying them keeps the segment pinned
// until then: the acknowledgements of TCP are not enough, because on loopback, and between unix
// sockets, the reader's receive queue refers to the sender's own pages. A batch without items is
// only such an acknowledgement.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/env.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/units.h"
#include "wire/disk_segment.h"

namespace holdfast::bulk {

constexpr uint16_t kBulkVersion = 1;
constexpr uint64_t kHelloMagic = 0x314b4c4244464c48;  // "HLFDBLK1"
constexpr uint32_t kBatchMagic = 0x51424648;          // "HFBQ"
constexpr uint32_t kAnswerMagic = 0x41424648;         // "HFBA"

// Limits that the decoders enforce.
constexpr size_t kMaxBatchItems = 1024;
constexpr size_t kMaxBatchBytes = 1 * kMiB;
constexpr size_t kMaxBulkNameBytes = 4096;  // as wire::kMaxNameBytes
constexpr size_t kMaxBulkEtagBytes = 256;
constexpr size_t kMaxTextBytes = 512;  // of a refusal or an error
constexpr Duration kMaxPatience = std::chrono::hours(1);
constexpr uint64_t kMaxObjectBytes = uint64_t{1} << 40;
// Readers acknowledge soon what they took of bodies of this size and more; a node copies smaller
// ones.
constexpr uint64_t kMinAcknowledgedBytes = 4096;

// Secret of the cluster, from the cluster key; all zero when none is configured.
using Token = std::array<std::byte, 32>;

// --- Handshake -----------------------------------------------------------------------------------

constexpr size_t kClientHelloBytes = 64;
struct ClientHello {
  uint16_t version = kBulkVersion;
  uint64_t cluster_hash = 0;  // Hash64 of the cluster's name
  Token token{};
};

constexpr size_t kServerHelloBytes = 16;
struct ServerHello {
  uint16_t version = kBulkVersion;
  Code code = Code::kOk;    // not kOk: refused, and the connection is closed after the text
  uint32_t text_bytes = 0;  // follow the header
};

std::array<std::byte, kClientHelloBytes> Encode(const ClientHello& hello);
std::array<std::byte, kServerHelloBytes> Encode(const ServerHello& hello);
// Could a hello begin with these bytes, of any number? So that whoever speaks something else is
// told at once.
bool MayBeHello(ByteView bytes);
// `bytes` has exactly the fixed size. kCorrupt for what is no hello at all, kInvalid for another
// version (both are named).
Result<ClientHello> DecodeClientHello(ByteView bytes);
Result<ServerHello> DecodeServerHello(ByteView bytes);
// In constant time.
bool TokensEqual(const Token& a, const Token& b);

// --- Requests ------------------------------------------------------------------------------------

// One object of a batch. `name` and `etag` point into the received batch.
struct Want {
  Oid oid{};
  VersionHash version = 0;  // 0: whatever version is there
  uint64_t size = 0;        // where known, else 0
  uint64_t room = 0;  // a larger object is answered with kNoSpace and its size, without its bytes
  std::string_view name{};  // only with BulkMode::kFetch
  std::string_view etag{};
};

constexpr size_t kBatchHeaderBytes = 40;
constexpr size_t kWantBytes = 48;  // then name, then etag
struct BatchHeader {
  uint32_t length = 0;   // of the whole batch with this header
  uint64_t request = 0;  // the reader's number for it; answers repeat it
  uint64_t received =
      0;  // bytes of the node's answer stream (after the ServerHello and its text) taken so far
  Duration patience{};  // from receipt; what is not ready by then is answered with kTimeout
  uint16_t count = 0;
  BulkMode mode = BulkMode::kLook;
  bool places = false;  // the reader can read the node's segments on disk itself
};

// Appends the item of a batch; HF_CHECKs its limits (cut names that are too long before).
void AppendWant(const Want& want, std::vector<std::byte>* out);
// Writes header.length and the rest of the header at `at`, where kBatchHeaderBytes were left free.
void StoreBatchHeader(const BatchHeader& header, std::byte* at);

// The length of the batch that `bytes` begin with, nullopt when it takes more bytes to tell.
// kCorrupt when it cannot be one: a wrong magic, or a length that is below the header or over
// kMaxBatchBytes.
Result<std::optional<size_t>> BatchLength(ByteView bytes);
// `bytes` is one whole batch. `wants` is emptied and filled with views into `bytes`. kCorrupt for
// everything that is not a batch: counts over kMaxBatchItems or not fitting the length, an unknown
// mode, patience over kMaxPatience, names outside kFetch, names or ETags over their limits,
// reserved bytes that are not zero.
Result<BatchHeader> DecodeBatch(ByteView bytes, std::vector<Want>* wants);

// --- Answers -------------------------------------------------------------------------------------

// Answers come in groups: the headers of several objects, then their bodies in the same order. So
// the reader knows where the next few bodies go, and takes them with one system call.
constexpr size_t kAnswerBytes = 48;
constexpr size_t kMaxGroup = 128;
constexpr size_t kPlaceBytes = 16;
struct Answer {
  uint64_t request = 0;
  uint16_t item = 0;  // index in its batch
  Code code = Code::kOk;
  VersionHash version = 0;
  uint64_t size = 0;          // of the object, 0 where unknown
  uint64_t payload_hash = 0;  // XXH3-64; 0 unless kOk
  uint32_t text_bytes = 0;    // of the error's text; 0 when kOk
  uint32_t expires_s = 0;     // since 1970; 0: never, not kOk, or a place
  bool more = false;          // another header of the same group follows, and not yet a body
  // With kOk, and only to a reader that can use it: the body is a Place, where the object lies most
  // likely. Version, size and hash are 0: the record there has them.
  bool place = false;

  // What follows the group's headers.
  uint64_t body_bytes() const {
    if (place) return kPlaceBytes;
    return code == Code::kOk ? size : text_bytes;
  }
};

// The last four bytes are the low half of the XXH3-64 of the others: a flipped bit must not hand
// the right bytes to the wrong item.
void StoreAnswer(const Answer& answer, std::byte* at);
// `bytes` has exactly kAnswerBytes. kCorrupt for everything that is not an answer.
Result<Answer> DecodeAnswer(ByteView bytes);

std::array<std::byte, kPlaceBytes> Encode(const disk::Place& place);
// `bytes` has exactly kPlaceBytes. kCorrupt for what is no place of a record.
Result<disk::Place> DecodePlace(ByteView bytes);

// --- What a node does about objects that are not there -------------------------------------------

// A wanted object that the segments do not hold, in mode kWait or kFetch.
struct ReadMiss {
  Oid oid;
  VersionHash version = 0;
  uint64_t size = 0;  // as the reader believes; 0 where unknown
  std::string name;   // canonical URI, unverified; empty in mode kWait
  std::string etag;
  BulkMode mode = BulkMode::kWait;
  Duration patience{};  // the reader is gone after this long
  bool peek = false;    // it has no room for the bytes yet, and wants to know where they are
  // Not empty: the reader can read the node's disk itself. May run instead of `done`, under the same
  // rules, with the place where the object lies.
  std::function<void(disk::Place)> on_disk{};
};

// Gets the object into the segments, or says why not. `done` is called exactly once, from any
// thread, also after the server has ended; with kOk when the object can be found (it may be gone
// again by the time the server looks, then it asks once more). Called on the server's I/O threads:
// it must not block.
using MissHandler = std::function<void(ReadMiss miss, std::function<void(Status)> done)>;

}  // namespace holdfast::bulk
