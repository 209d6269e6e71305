// SPDX-License-Identifier: Apache-2.0
#include "io/net/zmq_network.h"

#include <sys/epoll.h>
#include <sys/random.h>
#include <zmq.h>

#include <cerrno>
#include <list>
#include <utility>

#include "io/net/endpoint.h"
#include "io/net/zap.h"
#include "io/net/zmq_monitor.h"
#include "io/net/zmq_socket.h"

namespace holdfast::net {
namespace {

// An envelope and the columns of the widest message, with room for a later version's.
constexpr size_t kMaxFrames = 16;
// Messages taken from one socket before others, timers and posted work have their turn.
constexpr int kDrainMessages = 64;

std::string_view KeyText(const std::array<std::byte, 32>& key) { return AsText(key); }

int Milliseconds(Duration d) { return static_cast<int>(d.count() / 1000); }

// A DEALER's name towards the ROUTER at the other end. ZeroMQ keeps names that begin with 0 for
// itself.
std::string RandomIdentity() {
  std::string name(16, '\0');
  HF_CHECK(getrandom(name.data(), name.size(), 0) == static_cast<ssize_t>(name.size()));
  name[0] = static_cast<char>(name[0] | 1);
  return name;
}

}  // namespace

struct ZmqNetwork::Impl {
  // One socket and, while the loop has been asked to go on receiving from it, that fact.
  struct Source {
    explicit Source(ZmqSocket s) : socket(std::move(s)) {}
    ZmqSocket socket;
    std::unique_ptr<ZmqMonitor> monitor;  // ends before the socket
    bool drain_planned = false;
  };
  struct Outbound {
    explicit Outbound(ZmqSocket s) : source(std::move(s)) {}
    Source source;
    std::shared_ptr<ByteGauge> queued = std::make_shared<ByteGauge>(0);
  };
  struct Inbound {
    std::string identity;
    std::shared_ptr<ByteGauge> queued = std::make_shared<ByteGauge>(0);
    std::list<PeerId>::iterator heard;  // in `silent`
  };

  EventLoop* loop;
  ZmqOptions options;
  Log* log;
  BulkReads bulk;
  void* context = nullptr;
  std::optional<CurveKeys> server_keys, client_keys;
  std::unique_ptr<ZapHandler> zap;
  std::function<void(PeerId, Frames)> handler;
  ZmqStats stats;

  PeerId next_peer = 1;
  std::unique_ptr<Source> router;
  std::map<PeerId, std::unique_ptr<Outbound>> outbound;
  std::map<PeerId, Inbound> inbound;
  std::map<std::string, PeerId, std::less<>> peer_of_identity;
  std::list<PeerId> silent;  // inbound peers, the one silent for longest first
  // Outlives this object in the loop's queue; false once it is gone.
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);

  Impl(EventLoop* l, ZmqOptions o, BulkReads::Reader reader, Log* sink)
      : loop(l), options(std::move(o)), log(sink), bulk(l, std::move(reader)) {}
  ~Impl();

  Result<ZmqSocket> NewSocket(int type);
  Status OpenRouter(const std::string& endpoint);
  Status Open(Outbound* out, const std::string& endpoint, PeerId peer);
  Source* Find(PeerId peer);
  PeerId PeerOf(std::string_view identity);
  void Forget(PeerId peer);
  void Drain(PeerId peer);
  void PlanDrain(PeerId peer, Source* source);
  bool ReceiveOne(PeerId peer, Source* source);
  void SendTo(PeerId peer, const SharedFrames& frames);
  void Count(ZmqSocket::Sent sent, PeerId peer);
};

// --- Life ----------------------------------------------------------------------------------------

Result<std::unique_ptr<ZmqNetwork>> ZmqNetwork::Open(EventLoop* loop, ZmqOptions options,
                                                     BulkReads::Reader bulk, Log* log) {
  auto impl = std::make_unique<Impl>(loop, std::move(options), std::move(bulk), log);
  impl->context = zmq_ctx_new();
  if (impl->context == nullptr) return Status::Unavailable("ZeroMQ cannot start: no memory");
  zmq_ctx_set(impl->context, ZMQ_IO_THREADS, impl->options.io_threads);
  zmq_ctx_set(impl->context, ZMQ_MAX_SOCKETS, 8192);
  if (impl->options.key) {
    Result<CurveKeys> server = ServerKeys(*impl->options.key);
    Result<CurveKeys> client = ClientKeys(*impl->options.key);
    if (!server.ok()) return server.status();
    if (!client.ok()) return client.status();
    impl->server_keys = *server;
    impl->client_keys = *client;
  }
  return std::unique_ptr<ZmqNetwork>(new ZmqNetwork(std::move(impl)));
}

ZmqNetwork::ZmqNetwork(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ZmqNetwork::~ZmqNetwork() = default;

ZmqNetwork::Impl::~Impl() {
  *alive = false;
  if (router) loop->Unwatch(router->socket.Fd());
  for (auto& [peer, out] : outbound) loop->Unwatch(out->source.socket.Fd());
  router.reset();
  outbound.clear();
  zap.reset();
  if (context != nullptr) zmq_ctx_term(context);
}

Result<ZmqSocket> ZmqNetwork::Impl::NewSocket(int type) {
  Result<ZmqSocket> socket = ZmqSocket::Open(context, type);
  if (!socket.ok()) return socket;
  socket->Set(ZMQ_LINGER, Milliseconds(options.linger));
  socket->Set(ZMQ_IPV6, 1);
  socket->Set(ZMQ_SNDHWM, options.max_queued_messages);
  socket->Set(ZMQ_RCVHWM, options.max_received_messages);
  socket->Set(ZMQ_MAXMSGSIZE, static_cast<int64_t>(options.max_frame_bytes));
  socket->Set(ZMQ_HEARTBEAT_IVL, Milliseconds(options.heartbeat));
  socket->Set(ZMQ_HEARTBEAT_TIMEOUT, Milliseconds(2 * options.heartbeat));
  socket->Set(ZMQ_HEARTBEAT_TTL, Milliseconds(3 * options.heartbeat));
  socket->Set(ZMQ_HANDSHAKE_IVL, Milliseconds(options.handshake));
  socket->Set(ZMQ_CONNECT_TIMEOUT, 5'000);
  socket->Set(ZMQ_RECONNECT_IVL, Milliseconds(options.reconnect_min));
  socket->Set(ZMQ_RECONNECT_IVL_MAX, Milliseconds(options.reconnect_max));
  return socket;
}

// --- Those who connect to us ---------------------------------------------------------------------

Status ZmqNetwork::Impl::OpenRouter(const std::string& endpoint) {
  if (router) return {};
  Result<ZmqSocket> socket = NewSocket(ZMQ_ROUTER);
  if (!socket.ok()) return socket.status();
  socket->Set(ZMQ_ROUTER_MANDATORY, 1);
  // A peer that connects again, before its old connection is known to be dead, takes its name over.
  socket->Set(ZMQ_ROUTER_HANDOVER, 1);
  if (server_keys) {
    Result<std::unique_ptr<ZapHandler>> started =
        ZapHandler::Start(loop, context, client_keys->public_key);
    if (!started.ok()) return started.status();
    zap = std::move(*started);
    socket->Set(ZMQ_ZAP_DOMAIN, "holdfast");
    socket->Set(ZMQ_CURVE_SERVER, 1);
    socket->Set(ZMQ_CURVE_SECRETKEY, KeyText(server_keys->secret));
  }
  auto source = std::make_unique<Source>(std::move(*socket));
  Result<std::unique_ptr<ZmqMonitor>> monitor = ZmqMonitor::Start(
      loop, context, &source->socket, ZmqMonitor::Side::kServer, endpoint, options.handshake, log);
  if (!monitor.ok()) return monitor.status();
  source->monitor = std::move(*monitor);
  router = std::move(source);
  PlanDrain(kNoPeer, router.get());
  return loop->Watch(router->socket.Fd(), EPOLLIN, [this](uint32_t) { Drain(kNoPeer); });
}

Result<std::string> ZmqNetwork::Listen(const std::string& endpoint) {
  Result<ControlEndpoint> parsed = ParseControlEndpoint(endpoint);
  if (!parsed.ok()) return parsed.status();
  if (!parsed->loopback && !impl_->options.key) {
    return Status::Denied(
        "listening on " + endpoint +
        " needs a cluster key, because others than this machine could connect: set "
        "one, or listen on tcp://127.0.0.1:PORT");
  }
  HF_RETURN_IF_ERROR(impl_->OpenRouter(endpoint));
  int error = impl_->router->socket.Bind(endpoint);
  if (error == EADDRINUSE) {
    return Status::Unavailable("cannot listen on " + endpoint +
                               ": the port is in use; stop the program that has it (another "
                               "cached?) or choose another port");
  }
  if (error != 0) {
    return Status::Unavailable("cannot listen on " + endpoint + ": " + zmq_strerror(error) +
                               "; the address must be one of this machine's");
  }
  // ZeroMQ shows IPv4 addresses as IPv6 ones; people get what they wrote, with the real port.
  std::string bound = impl_->router->socket.LastEndpoint();
  return endpoint.substr(0, endpoint.rfind(':')) + bound.substr(bound.rfind(':'));
}

PeerId ZmqNetwork::Impl::PeerOf(std::string_view identity) {
  auto known = peer_of_identity.find(identity);
  if (known != peer_of_identity.end()) {
    silent.splice(silent.end(), silent, inbound.at(known->second).heard);
    return known->second;
  }
  if (inbound.size() >= options.max_inbound_peers) Forget(silent.front());
  PeerId peer = next_peer++;
  Inbound in;
  in.identity = identity;
  in.heard = silent.insert(silent.end(), peer);
  peer_of_identity.emplace(identity, peer);
  inbound.emplace(peer, std::move(in));
  return peer;
}

void ZmqNetwork::Impl::Forget(PeerId peer) {
  auto at = inbound.find(peer);
  if (at == inbound.end()) return;
  silent.erase(at->second.heard);
  peer_of_identity.erase(at->second.identity);
  inbound.erase(at);
}

// --- Those whom we connect to --------------------------------------------------------------------

PeerId ZmqNetwork::Connect(const std::string& endpoint) {
  Impl& impl = *impl_;
  PeerId peer = impl.next_peer++;
  Result<ControlEndpoint> parsed = ParseControlEndpoint(endpoint);
  if (!parsed.ok()) {
    impl.log->Warn(parsed.status().message());
    return peer;
  }
  Result<ZmqSocket> socket = impl.NewSocket(ZMQ_DEALER);
  if (!socket.ok()) {
    impl.log->Warn("no connection to " + endpoint + ": " + socket.status().message());
    return peer;
  }
  socket->Set(ZMQ_ROUTING_ID, RandomIdentity());
  if (impl.client_keys) {
    socket->Set(ZMQ_CURVE_SERVERKEY, KeyText(impl.server_keys->public_key));
    socket->Set(ZMQ_CURVE_PUBLICKEY, KeyText(impl.client_keys->public_key));
    socket->Set(ZMQ_CURVE_SECRETKEY, KeyText(impl.client_keys->secret));
  }
  auto out = std::make_unique<Impl::Outbound>(std::move(*socket));
  if (Status open = impl.Open(out.get(), endpoint, peer); !open.ok()) {
    impl.log->Warn("no connection to " + endpoint + ": " + open.message());
    return peer;
  }
  impl.outbound[peer] = std::move(out);
  return peer;
}

Status ZmqNetwork::Impl::Open(Outbound* out, const std::string& endpoint, PeerId peer) {
  Source& source = out->source;
  Result<std::unique_ptr<ZmqMonitor>> monitor = ZmqMonitor::Start(
      loop, context, &source.socket, ZmqMonitor::Side::kClient, endpoint, options.handshake, log);
  if (!monitor.ok()) return monitor.status();
  source.monitor = std::move(*monitor);
  if (int error = source.socket.Connect(endpoint); error != 0) {
    return Status::Unavailable(zmq_strerror(error));
  }
  PlanDrain(peer, &source);  // from then on the descriptor tells
  return loop->Watch(source.socket.Fd(), EPOLLIN, [this, peer](uint32_t) { Drain(peer); });
}

void ZmqNetwork::Disconnect(PeerId peer) {
  impl_->Forget(peer);
  auto at = impl_->outbound.find(peer);
  if (at == impl_->outbound.end()) return;
  impl_->loop->Unwatch(at->second->source.socket.Fd());
  impl_->outbound.erase(at);
}

// --- Receiving -----------------------------------------------------------------------------------

void ZmqNetwork::OnMessage(std::function<void(PeerId from, Frames frames)> handler) {
  impl_->handler = std::move(handler);
}

// The socket of an outbound peer; the ROUTER for kNoPeer.
ZmqNetwork::Impl::Source* ZmqNetwork::Impl::Find(PeerId peer) {
  if (peer == kNoPeer) return router.get();
  auto at = outbound.find(peer);
  return at == outbound.end() ? nullptr : &at->second->source;
}

// The descriptor tells of changes only, so a socket is emptied, or comes back here by itself.
void ZmqNetwork::Impl::Drain(PeerId peer) {
  for (int i = 0; i < kDrainMessages; ++i) {
    Source* source = Find(peer);  // a callback may have disconnected it
    if (source == nullptr || !ReceiveOne(peer, source)) return;
  }
  if (Source* source = Find(peer)) PlanDrain(peer, source);
}

void ZmqNetwork::Impl::PlanDrain(PeerId peer, Source* source) {
  if (source->drain_planned) return;
  source->drain_planned = true;
  loop->At(loop->Now(), [this, peer, still = alive] {
    if (!*still) return;
    Source* found = Find(peer);
    if (found == nullptr) return;
    found->drain_planned = false;
    Drain(peer);
  });
}

bool ZmqNetwork::Impl::ReceiveOne(PeerId peer, Source* source) {
  bool named = peer == kNoPeer;  // the ROUTER puts the sender's identity first
  std::vector<Buffer> parts;
  ZmqSocket::Received got = source->socket.Receive(&parts, kMaxFrames + (named ? 1 : 0));
  if (got == ZmqSocket::Received::kNothing) return false;
  if (got == ZmqSocket::Received::kTooManyParts || parts.size() < (named ? 2 : 1)) {
    ++stats.refused_frames;
    return true;
  }
  ++stats.received_messages;
  PeerId from = named ? PeerOf(AsText(parts.front().view())) : peer;
  if (named) parts.erase(parts.begin());
  Frames frames;
  frames.head = std::move(parts.front());
  parts.erase(parts.begin());
  frames.columns = std::move(parts);
  if (handler) handler(from, std::move(frames));
  return true;
}

// --- Sending -------------------------------------------------------------------------------------

void ZmqNetwork::Send(const std::vector<PeerId>& peers, Frames frames) {
  SharedFrames shared(std::move(frames));
  for (PeerId peer : peers) impl_->SendTo(peer, shared);
}

void ZmqNetwork::Impl::SendTo(PeerId peer, const SharedFrames& frames) {
  const std::string* identity = nullptr;
  std::shared_ptr<ByteGauge> gauge;
  Source* source = nullptr;
  if (auto out = outbound.find(peer); out != outbound.end()) {
    source = &out->second->source;
    gauge = out->second->queued;
  } else if (auto in = inbound.find(peer); in != inbound.end()) {
    source = router.get();
    gauge = in->second.queued;
    identity = &in->second.identity;
  }
  if (source == nullptr) return Count(ZmqSocket::Sent::kGone, peer);
  uint64_t queued = gauge->load(std::memory_order_relaxed);
  if (queued != 0 && queued + frames.bytes() > options.max_queued_bytes) {
    return Count(ZmqSocket::Sent::kFull, peer);
  }
  Count(source->socket.Send(identity, frames, gauge), peer);
  // Sending takes note of what has arrived meanwhile, and the descriptor will not tell again.
  if (source->socket.Readable()) PlanDrain(identity == nullptr ? peer : kNoPeer, source);
}

void ZmqNetwork::Impl::Count(ZmqSocket::Sent sent, PeerId peer) {
  switch (sent) {
    case ZmqSocket::Sent::kSent:
      ++stats.sent_messages;
      break;
    case ZmqSocket::Sent::kFull:
      ++stats.dropped_full;
      break;
    case ZmqSocket::Sent::kGone:
      ++stats.dropped_gone;
      Forget(peer);
      break;
  }
}

// --- The rest ------------------------------------------------------------------------------------

void ZmqNetwork::BulkRead(const std::string& bulk_endpoint, BulkMode mode,
                          std::vector<BulkItem> items, Time deadline,
                          std::function<void(size_t, BulkOutcome)> each) {
  impl_->bulk.Read(bulk_endpoint, mode, std::move(items), deadline, std::move(each));
}

ZmqStats ZmqNetwork::Stats() const {
  ZmqStats stats = impl_->stats;
  if (impl_->router) stats.refused_clients = impl_->router->monitor->refused();
  return stats;
}

uint64_t ZmqNetwork::QueuedBytes(PeerId peer) const {
  if (auto out = impl_->outbound.find(peer); out != impl_->outbound.end()) {
    return out->second->queued->load(std::memory_order_relaxed);
  }
  auto in = impl_->inbound.find(peer);
  return in == impl_->inbound.end() ? 0 : in->second.queued->load(std::memory_order_relaxed);
}

}  // namespace holdfast::net
