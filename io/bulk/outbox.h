// SPDX-License-Identifier: Apache-2.0
// The answers of one connection on their way out, in groups: small records are gathered into one
// system call, large ones go by sendfile behind their headers.
//
//   Add...  until one says false or nothing is left to add;  Flush;  and so on
//
// Nothing but at most one gather is ever copied, and only when the socket took a part of it.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "io/bulk/pin_budget.h"
#include "wire/bulk_format.h"
#include "wire/local_reader.h"

namespace holdfast::bulk {

// Belongs to one I/O thread.
class Outbox {
 public:
  enum class State { kIdle, kBlocked, kBroken };

  // `region_fd` of -1, or a socket that is not TCP: never sendfile.
  Outbox(int fd, int region_fd, uint64_t sendfile_bytes, PinBudget* budget);
  ~Outbox();
  Outbox(const Outbox&) = delete;

  // Bytes outside the answer stream: the hello.
  void AddRaw(ByteView bytes);
  // Each is false when there is no place for it now: Flush first. `text` is cut to its limit;
  // text_bytes is set here.
  bool AddError(Answer answer, std::string_view text);
  bool AddPlace(const Answer& answer, const disk::Place& place);
  // version, size and hash are taken from the record.
  bool AddRecord(uint64_t request, uint16_t item, LocalView view, Time now);

  bool empty() const { return small_.empty() && large_.empty() && tail_sent_ == tail_.size(); }
  // Sends what was added. kBlocked: the socket takes no more now, call again when it is writable.
  State Flush();

  // The reader has taken the first `received` bytes of the answer stream. False when that cannot
  // be.
  bool Acknowledge(uint64_t received);
  // A record that has been pinned for longer than `timeout` and a second per MiB: the reader is too
  // slow.
  bool Overdue(Time now, Duration timeout) const;
  bool pinning() const { return !large_.empty() || !unacknowledged_.empty(); }
  // Of all bytes that the socket took, for seeing progress.
  uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  static constexpr size_t kSmall = kMaxGroup;          // records of a gather
  static constexpr size_t kSmallBytes = 128 * kKiB;    // and their bytes, about
  static constexpr size_t kLarge = 16;                 // records of a group by sendfile
  static constexpr uint64_t kLargeBytes = 512 * kKiB;  // and their bytes, about

  struct Small {
    Answer answer;
    LocalView view;    // or
    std::string text;  // of an error, or a place
  };
  struct Large {
    Answer answer;
    LocalView view;
    Time since;
    uint64_t sent = 0;
    bool by_sendfile = false;
    uint64_t stream_end = 0;  // where it ends in the answer stream
  };

  bool AddText(const Answer& answer, std::string text);
  bool AddLarge(const Answer& answer, LocalView view, Time now);
  State FlushTail();
  State FlushSmall();
  void AnnounceLarge();
  State FlushLarge();
  State SendLarge(Large* large);
  template <typename Group>
  void GatherHeaders(const Group& group);
  void Gather(const void* bytes, size_t n);
  void KeepRest(size_t sent);

  int fd_;
  int region_fd_;
  uint64_t sendfile_bytes_;
  PinBudget* budget_;

  std::vector<Small> small_;
  size_t small_bytes_ = 0;
  std::deque<Large> large_;       // go after everything small
  bool large_announced_ = false;  // their headers are sent, or in the tail
  uint64_t large_bytes_ = 0;

  std::array<std::byte, (kSmall + kLarge) * kAnswerBytes> headers_;
  size_t headers_end_ = 0;
  std::array<iovec, kSmall + 2> iov_;
  size_t iovs_ = 0;
  size_t iov_bytes_ = 0;

  std::vector<std::byte> tail_;  // what the socket did not take of a gather
  size_t tail_sent_ = 0;
  std::deque<Large> unacknowledged_;
  uint64_t stream_bytes_ = 0;  // of the answer stream, added so far
  uint64_t sent_bytes_ = 0;
};

}  // namespace holdfast::bulk
