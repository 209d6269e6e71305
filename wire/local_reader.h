// SPDX-License-Identifier: Apache-2.0
// Reads a node's segments through shared memory, without a message: the reader's half of the rule
// of local reading (wire/shm_layout.h). Used by jobs for their own node, by the daemon's bulk
// server for its peers, and by the simulator.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/status.h"
#include "wire/shm_layout.h"

namespace holdfast {

// A record that stays where it is until the view is destroyed. Move-only. Must not outlive its
// LocalReader, and is the property of the process that made it: in a forked child it is not to be
// used, and its destruction does nothing.
class LocalView {
 public:
  LocalView() = default;
  LocalView(LocalView&& o) noexcept;
  LocalView& operator=(LocalView&& o) noexcept;
  ~LocalView() { Release(); }
  void Release();

  explicit operator bool() const { return header_ != nullptr; }
  ByteView payload() const;
  VersionHash version() const { return header_->version; }
  uint64_t payload_hash() const { return header_->payload_hash; }
  uint32_t expires_s() const { return header_->expires_s; }
  std::string_view name() const;
  std::string_view etag() const;
  uint32_t segment() const { return segment_; }
  // Offset of the payload from the start of the region's file, for sendfile.
  uint64_t payload_file_offset() const;

 private:
  friend class LocalReader;
  const shm::RecordHeader* header_ = nullptr;
  class LocalReader* reader_ = nullptr;
  uint32_t segment_ = 0;
  uint32_t lane_ = 0;
  bool granted_ = false;  // counts against the session's grant
};

struct LocalRequest {
  Oid oid;
  VersionHash version = 0;  // 0: any
  ByteSpan into;
};

// 16 bytes, so that it comes back in registers.
struct LocalOutcome {
  Code code = Code::kNotFound;  // kOk, kNotFound, or kNoSpace: `into` is smaller than size
  uint32_t size = 0;            // a record is smaller than its segment, that is than 4 GiB
  VersionHash version = 0;
};

// Makes `session`, whatever it was before, the file of a new session that pins nothing and has
// marked nothing. Whoever makes the file calls this before the daemon and the client get to see it.
void FormatSession(ByteSpan session, uint32_t number, uint32_t segments, Incarnation incarnation,
                   uint32_t pid);

// Thread-safe: threads spread over the pin lanes. Never blocks, never allocates on the read path.
class LocalReader {
 public:
  // `region` is mapped read-only, `session` read-write; both outlive the reader. kCorrupt when
  // either does not carry the layout or their sizes disagree; kInvalid for another layout version.
  // `forks`, when given, counts the forks that led to this process (a pthread_atfork child handler
  // adds 1) and outlives the reader: in a child, which has no session of its own yet, everything is
  // kNotFound and views let go of nothing. What has expired by `wall` is kNotFound, too, while a view of
  // it stays; without one nothing expires.
  static Result<std::unique_ptr<LocalReader>> Open(ByteView region, ByteSpan session,
                                                   const std::atomic<uint32_t>* forks = nullptr,
                                                   std::function<WallTime()> wall = {});

  // Copies. One at a time, and many with prefetch (any number; groups of 64 inside).
  LocalOutcome Copy(const LocalRequest& request);
  void CopyMany(std::span<const LocalRequest> requests, std::span<LocalOutcome> outcomes);

  // A zero-copy view; empty when the object is not here, or when this session's grant of viewed
  // segments is used up (then *over_grant is set: copy instead). The caller of a public API never
  // sees the difference.
  LocalView View(const Oid& oid, VersionHash version, bool* over_grant);
  // Brings what Pin will look at into the processor's caches, and so much of the payloads, up to 1
  // KiB of each: a hint, for a group of objects that are about to be pinned.
  void Prefetch(std::span<const Oid> oids, size_t payload_bytes) const;
  // For a transfer that is under way for a short time (the bulk server): pins like a view, counts
  // against no grant, and as a read only when MarkRead says so.
  LocalView Pin(const Oid& oid, VersionHash version);
  // Counts what `view`, which is not empty, shows as read; copies and views of View do by themselves.
  void MarkRead(const LocalView& view) const;

  Incarnation incarnation() const;

 private:
  friend class LocalView;
  LocalReader() = default;
  struct State;
  std::unique_ptr<State> state_;

 public:
  ~LocalReader();
};

}  // namespace holdfast
