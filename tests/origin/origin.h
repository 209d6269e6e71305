// SPDX-License-Identifier: Apache-2.0
// An HTTP/1.1 origin that is fast, slow or faulty as it is told. Objects are /o/<size>/<id>
// (anything may stand before /o/, such as a bucket), their bytes are Content(path, version). One
// epoll loop per thread; listens on 127.0.0.1.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "tests/origin/fault.h"
#include "tests/origin/response.h"

namespace holdfast::origin {

struct OriginOptions {
  uint16_t port = 0;              // 0: any free one
  Duration delay{};               // before the first byte of each answer
  uint64_t rate_bytes_per_s = 0;  // of each thread's bodies together; 0: no limit
  uint32_t threads = 1;           // connections are spread over them by the kernel
  std::vector<FaultRule> faults = {};
  uint64_t seed = 1;
  ResponseOptions responses = {};
  CannedAnswers answer = {};  // asked first; called on the origin's threads
};

struct OriginCounters {
  uint64_t connections = 0;
  uint64_t requests = 0;
  uint64_t body_bytes = 0;                                            // given to the kernel
  std::vector<uint64_t> faults = std::vector<uint64_t>(kFaultKinds);  // by kind
};

class OriginLoop;

class Origin {
 public:
  // Listens when this returns.
  static Result<std::unique_ptr<Origin>> Start(OriginOptions options);
  // Closes every connection.
  ~Origin();

  uint16_t port() const { return port_; }
  // "http://127.0.0.1:PORT".
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  OriginCounters Counters() const;
  // From the next request on, the object at `path` is another version.
  void SetVersion(const std::string& path, uint64_t version);

 private:
  friend class OriginLoop;

  explicit Origin(OriginOptions options);
  Response Answer(const Request& request, bool* hang);
  uint64_t VersionOf(const std::string& path);

  OriginOptions options_;
  uint16_t port_ = 0;
  std::mutex mutex_;  // guards the chooser and the versions
  FaultChooser chooser_;
  std::map<std::string, uint64_t> versions_;
  std::atomic<bool> any_version_{false};
  std::atomic<uint64_t> connections_{0};
  std::atomic<uint64_t> requests_{0};
  std::atomic<uint64_t> body_bytes_{0};
  std::vector<std::atomic<uint64_t>> fault_counts_;
  std::vector<std::unique_ptr<OriginLoop>> loops_;
  std::vector<std::thread> threads_;
};

}  // namespace holdfast::origin
