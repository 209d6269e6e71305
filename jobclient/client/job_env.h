// SPDX-License-Identifier: Apache-2.0
// The environment of one job among others in a process: its own connections on the shared network,
// and callbacks that no longer run once it is closed. Everything here is on the loop's thread.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/env.h"

namespace holdfast::client {

// Lends a Network to many users, each with the connections that it made.
class NetworkSwitch {
 public:
  explicit NetworkSwitch(Network* network);  // takes over OnMessage; outlives this

 private:
  friend class JobEnv;
  Network* network_;
  std::map<PeerId, std::function<void(PeerId, Frames)>*> handlers_;
};

class JobEnv : private Clock, private Network, private FarStore {
 public:
  // Everything outlives this.
  JobEnv(const Env& real, NetworkSwitch* lines);
  ~JobEnv() override { Close(); }

  Env env() {
    return {.clock = this, .network = this, .far = this, .random = real_.random, .log = real_.log};
  }
  // No callback that was given before runs any more.
  void Close();

 private:
  Time Now() const override { return real_.clock->Now(); }
  WallTime Wall() const override { return real_.clock->Wall(); }
  void At(Time when, std::function<void()> run) override;

  PeerId Connect(const std::string& endpoint) override;
  void Disconnect(PeerId peer) override;
  void Send(const std::vector<PeerId>& peers, Frames frames) override;
  void OnMessage(std::function<void(PeerId from, Frames frames)> handler) override {
    handler_ = std::move(handler);
  }
  void BulkRead(const std::string& bulk_endpoint, BulkMode mode, std::vector<BulkItem> items,
                Time deadline, std::function<void(size_t index, BulkOutcome)> each) override;

  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t hash)> done) override;
  void Head(const std::string& uri, Time deadline,
            std::function<void(Result<FarInfo>)> done) override;
  void List(const std::string& prefix, const std::string& token, bool delimited, Time deadline,
            std::function<void(Result<FarPage>)> done) override;
  FarCounters Counters() const override { return real_.far->Counters(); }
  bool HasPlaces() const override { return real_.far->HasPlaces(); }
  std::optional<FarPlace> PlaceOf(const Oid& oid) const override { return real_.far->PlaceOf(oid); }

  // `run`, unless this was closed meanwhile.
  template <typename Run>
  auto WhileOpen(Run run) {
    return [open = open_, run = std::move(run)](auto&&... args) {
      if (*open) run(std::forward<decltype(args)>(args)...);
    };
  }

  Env real_;
  NetworkSwitch* lines_;
  std::function<void(PeerId, Frames)> handler_;
  std::shared_ptr<bool> open_ = std::make_shared<bool>(true);
};

}  // namespace holdfast::client
