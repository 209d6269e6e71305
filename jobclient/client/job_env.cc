// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/job_env.h"

#include <utility>

namespace holdfast::client {

NetworkSwitch::NetworkSwitch(Network* network) : network_(network) {
  network_->OnMessage([this](PeerId from, Frames frames) {
    auto it = handlers_.find(from);
    if (it != handlers_.end() && *it->second) (*it->second)(from, std::move(frames));
  });
}

JobEnv::JobEnv(const Env& real, NetworkSwitch* lines) : real_(real), lines_(lines) {}

void JobEnv::Close() {
  *open_ = false;
  for (auto it = lines_->handlers_.begin(); it != lines_->handlers_.end();) {
    if (it->second != &handler_) {
      ++it;
      continue;
    }
    real_.network->Disconnect(it->first);
    it = lines_->handlers_.erase(it);
  }
}

void JobEnv::At(Time when, std::function<void()> run) {
  real_.clock->At(when, WhileOpen(std::move(run)));
}

PeerId JobEnv::Connect(const std::string& endpoint) {
  PeerId peer = real_.network->Connect(endpoint);
  lines_->handlers_[peer] = &handler_;
  return peer;
}

void JobEnv::Disconnect(PeerId peer) {
  lines_->handlers_.erase(peer);
  real_.network->Disconnect(peer);
}

void JobEnv::Send(const std::vector<PeerId>& peers, Frames frames) {
  real_.network->Send(peers, std::move(frames));
}

void JobEnv::BulkRead(const std::string& bulk_endpoint, BulkMode mode, std::vector<BulkItem> items,
                      Time deadline, std::function<void(size_t index, BulkOutcome)> each) {
  real_.network->BulkRead(bulk_endpoint, mode, std::move(items), deadline,
                          WhileOpen(std::move(each)));
}

void JobEnv::Get(FarGet get, std::function<void(Status, FarInfo, uint64_t hash)> done) {
  real_.far->Get(std::move(get), WhileOpen(std::move(done)));
}

void JobEnv::Head(const std::string& uri, Time deadline,
                  std::function<void(Result<FarInfo>)> done) {
  real_.far->Head(uri, deadline, WhileOpen(std::move(done)));
}

void JobEnv::List(const std::string& prefix, const std::string& token, bool delimited,
                  Time deadline, std::function<void(Result<FarPage>)> done) {
  real_.far->List(prefix, token, delimited, deadline, WhileOpen(std::move(done)));
}

}  // namespace holdfast::client
