// SPDX-License-Identifier: Apache-2.0
// The answers of one connection on their way out: small ones gathered, large ones by sendfile.
//
//   Add...  until full() or nothing is left to add;  Flush;  and so on
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
  // Only while not full(). `text` is cut to its limit; text_bytes is set here.
  void AddError(Answer answer, std::string_view text);
  // Only while not full(). version, size and hash are taken from the record.
  void AddRecord(uint64_t request, uint16_t item, LocalView view, Time now);

  bool full() const { return large_.view || gathered_ == kGather || gather_bytes_ >= kGatherBytes; }
  bool empty() const { return gathered_ == 0 && tail_sent_ == tail_.size() && !large_.view; }
  // Sends what was added. kBlocked: the socket takes no more now, call again when it is writable.
  State Flush();

  // The reader has taken the first `received` bytes of the answer stream. False when that cannot
  // be.
  bool Acknowledge(uint64_t received);
  // A record that has been pinned for longer than `timeout` and a second per MiB: the reader is too
  // slow.
  bool Overdue(Time now, Duration timeout) const;
  bool pinning() const { return large_.view || !unacknowledged_.empty(); }
  // Of all bytes that the socket took, for seeing progress.
  uint64_t sent_bytes() const { return sent_bytes_; }

 private:
  static constexpr size_t kGather = 128;              // records in one system call
  static constexpr size_t kGatherBytes = 128 * kKiB;  // and their bytes, about

  struct Large {
    LocalView view;
    Time since;
    uint64_t sent = 0;
    bool by_sendfile = false;
  };
  struct Unacknowledged {
    uint64_t stream_end = 0;
    Large record;
  };

  // Room for one more header, which the next iovec sends.
  void GatherHeader(const Answer& answer);
  void Gather(const void* bytes, size_t n);
  State FlushTail();
  State FlushGather();
  State FlushLarge();
  void KeepRest(size_t sent);
  void ClearGather();

  int fd_;
  int region_fd_;
  uint64_t sendfile_bytes_;
  PinBudget* budget_;

  std::array<std::byte, kGather * kAnswerBytes> headers_;
  std::array<LocalView, kGather> views_;
  std::vector<char> texts_;
  std::array<iovec, 2 * kGather> iov_;
  size_t iovs_ = 0;
  size_t gathered_ = 0;
  size_t gather_bytes_ = 0;

  std::vector<std::byte> tail_;  // what the socket did not take of a gather
  size_t tail_sent_ = 0;
  Large large_;  // goes after everything gathered
  std::deque<Unacknowledged> unacknowledged_;
  uint64_t stream_bytes_ = 0;  // of the answer stream, added so far
  uint64_t sent_bytes_ = 0;
};

}  // namespace holdfast::bulk
