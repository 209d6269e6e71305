// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/shelf_host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "io/bulk/socket.h"
#include "io/net/endpoint.h"

namespace holdfast::client {
namespace {

constexpr uint32_t kSession = 1;

// The way that the kernel would take; nothing is sent.
Result<std::string> SourceAddressTo(const std::string& control_endpoint) {
  Result<bulk::Endpoint> there = bulk::ParseEndpoint(control_endpoint);
  if (!there.ok()) return there.status();
  bulk::Fd socket(::socket(there->address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage here{};
  socklen_t length = sizeof(here);
  const bool found = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&there->address),
                               there->length) == 0 &&
                     ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&here), &length) == 0;
  if (!found) {
    return Status::Unavailable("there is no way to " + control_endpoint + ": " +
                               bulk::ErrnoText(errno));
  }
  char text[INET6_ADDRSTRLEN] = {};
  if (here.ss_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(&here)->sin6_addr, text, sizeof(text));
    return "tcp://[" + std::string(text) + "]:0";
  }
  ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&here)->sin_addr, text, sizeof(text));
  return "tcp://" + std::string(text) + ":0";
}

}  // namespace

Result<std::string> ShelfAddress(const std::vector<std::string>& control_endpoints) {
  for (const std::string& endpoint : control_endpoints) {
    Result<net::ControlEndpoint> parsed = net::ParseControlEndpoint(endpoint);
    if (!parsed.ok()) return parsed.status();
    if (!parsed->loopback) return SourceAddressTo(endpoint);
  }
  return std::string("tcp://127.0.0.1:0");
}

Result<std::unique_ptr<ShelfHost>> ShelfHost::Open(const Options& options) {
  std::unique_ptr<ShelfHost> host(new ShelfHost());
  const shm::RegionPlan plan = stream::Shelf::Plan(options.places, options.place_bytes);
  host->fd_ = ::memfd_create("holdfast-shelf", MFD_CLOEXEC);
  void* memory = MAP_FAILED;
  if (host->fd_ >= 0 && ::ftruncate(host->fd_, static_cast<off_t>(plan.region_bytes)) == 0) {
    memory = ::mmap(nullptr, plan.region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, host->fd_, 0);
  }
  if (memory == MAP_FAILED) {
    return Status::NoSpace("no memory for " + FormatBytes(plan.region_bytes) +
                           " of chunks on their way: " + bulk::ErrnoText(errno));
  }
  host->region_ = {static_cast<std::byte*>(memory), plan.region_bytes};
  host->shelf_ = std::make_unique<stream::Shelf>(host->region_, plan);
  host->session_ = Buffer(shm::SessionBytes(options.places));
  FormatSession(host->session_.span(), kSession, options.places, host->shelf_->incarnation(), 0);
  host->shelf_->ServedBy(host->session_.span());
  Result<std::unique_ptr<LocalReader>> reader =
      LocalReader::Open(host->region_, host->session_.span());
  if (!reader.ok()) return reader.status();
  host->reader_ = *std::move(reader);
  bulk::BulkServerOptions server;
  server.endpoints = {options.address};
  server.cluster = options.cluster;
  server.token = options.token;
  server.max_pinned_segments = options.places;
  Result<std::unique_ptr<bulk::BulkServer>> started =
      bulk::BulkServer::Start(server, host->reader_.get(), host->fd_, {}, options.log);
  if (!started.ok()) return started.status().Annotate("the port from which nodes take chunks");
  host->server_ = *std::move(started);
  return host;
}

ShelfHost::~ShelfHost() {
  server_.reset();
  reader_.reset();
  shelf_.reset();
  if (!region_.empty()) ::munmap(region_.data(), region_.size());
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace holdfast::client
