// SPDX-License-Identifier: Apache-2.0
// The control network on ZeroMQ: one ROUTER socket for everybody who connects to this process, and
// a DEALER socket for each connection that it opens. A message is the envelope and its columns as
// the frames of one multi-part message.
//
// With a cluster key every connection is encrypted and both ends prove that they have the key
// (CURVE, cluster_key.h); without one this process listens on loopback alone.
//
// A connection that breaks is made again in the background with the same identity, so that both
// ends keep their PeerIds; what was on its way is lost.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/env.h"
#include "io/net/bulk_reads.h"
#include "io/net/cluster_key.h"
#include "io/net/event_loop.h"

namespace holdfast::net {

struct ZmqOptions {
  std::optional<ClusterKey> key;
  int io_threads = 1;
  // Limits per peer. A message that would go beyond one of them is dropped (a peer with an empty
  // queue takes any message).
  int max_queued_messages = 1024;
  uint64_t max_queued_bytes = 256 * kMiB;
  int max_received_messages = 256;  // waiting for this thread; beyond it TCP holds the peer back
  uint64_t max_frame_bytes = 256 * kMiB;
  size_t max_inbound_peers = 8192;  // beyond it the one that was silent for longest is forgotten
  Duration heartbeat = 5s;          // a peer silent for three of them is disconnected
  Duration handshake = 10s;         // for so long a peer that took the connection may be silent
  Duration reconnect_min = 100ms;
  Duration reconnect_max = 2s;
  Duration linger = 100ms;  // at the end, for messages that are still queued
};

struct ZmqStats {
  uint64_t sent_messages = 0;
  uint64_t received_messages = 0;
  uint64_t dropped_full = 0;     // the peer's queue was full
  uint64_t dropped_gone = 0;     // no such peer any more
  uint64_t refused_frames = 0;   // messages with more frames than any message has
  uint64_t refused_clients = 0;  // handshakes that failed: another cluster key, or garbage
};

// Belongs to the loop's thread. Callbacks may call anything here but not destroy it.
class ZmqNetwork : public Network {
 public:
  // `bulk` may be empty: then BulkRead answers kUnavailable.
  static Result<std::unique_ptr<ZmqNetwork>> Open(EventLoop* loop, ZmqOptions options,
                                                  BulkReads::Reader bulk, Log* log);
  // Waits for at most options.linger.
  ~ZmqNetwork() override;
  ZmqNetwork(const ZmqNetwork&) = delete;

  // Takes connections at "tcp://HOST:PORT" (port 0: any) and returns the address with the real
  // port. kDenied for anything but loopback when there is no cluster key, kUnavailable when the
  // address is in use or not this machine's, kInvalid for what is no address. May be called more
  // than once.
  Result<std::string> Listen(const std::string& endpoint);

  PeerId Connect(const std::string& endpoint) override;
  void Disconnect(PeerId peer) override;
  void Send(const std::vector<PeerId>& peers, Frames frames) override;
  void OnMessage(std::function<void(PeerId from, Frames frames)> handler) override;
  void BulkRead(const std::string& bulk_endpoint, BulkMode mode, std::vector<BulkItem> items,
                Time deadline, std::function<void(size_t, BulkOutcome)> each) override;

  ZmqStats Stats() const;
  // Bytes of large frames that are queued for `peer`.
  uint64_t QueuedBytes(PeerId peer) const;

 private:
  struct Impl;
  explicit ZmqNetwork(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::net
