// SPDX-License-Identifier: Apache-2.0
// The real far stores behind base/env.h's FarStore and FarWriter: directories (file:), web servers (http:,
// https:) and S3 (s3+http:, s3+https:), chosen by the scheme of each name. Versions are ETags; what
// stands in for one where a store has none is in docs/formats.md.
//
// Threads: every method is called on the deciding thread and every callback comes through `post`.
// One thread of the client or a few drive the HTTP transfers, a small pool reads directories; they
// write into the buffers of Get.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/env.h"
#include "base/uri.h"
#include "io/far/far_options.h"
#include "io/far/outbox.h"

namespace holdfast::far {

class DirectoryStore;
class HttpStore;
class Spending;

// Of one setting; both may be empty. kInvalid; kNotFound where the file cannot be read.
Status CheckS3Endpoint(const std::string& endpoint);
Status CheckCaBundle(const std::string& path);
// kInvalid or kNotFound for options that cannot work; the text names them. Nothing is contacted.
Status CheckOptions(const FarOptions& options);

class FarClient : public FarStore, public FarWriter {
 public:
  // What CheckOptions says; nothing is contacted.
  static Result<std::unique_ptr<FarClient>> Open(FarOptions options, Post post);
  // After this no buffer is written and no callback runs any more, also those of calls not yet
  // answered.
  ~FarClient() override;

  void Get(FarGet get, std::function<void(Status, FarInfo, uint64_t hash)> done) override;
  void Head(const std::string& uri, Time deadline,
            std::function<void(Result<FarInfo>)> done) override;
  // Directories and S3 only: a web server has no listing.
  void List(const std::string& prefix, const std::string& token, bool delimited, Time deadline,
            std::function<void(Result<FarPage>)> done) override;
  // Directories and S3 only.
  void Put(FarPut put, std::function<void(Result<FarInfo>)> done) override;
  FarCounters Counters() const override;

  const FarOptions& options() const { return options_; }

 private:
  FarClient(FarOptions options, Post post);
  // Counts an error and has `answer` run on the deciding thread.
  void Refuse(std::function<void()> answer);
  Status CheckRoom() const;
  // The name of a call in parts, if it can be asked for.
  Result<FarName> Accept(const FarGet& get) const;
  HttpStore& LeastBusy();

  FarOptions options_;
  std::unique_ptr<Spending> spending_;
  std::shared_ptr<Outbox> outbox_;
  std::vector<std::unique_ptr<HttpStore>> http_;
  std::unique_ptr<DirectoryStore> directories_;
};

}  // namespace holdfast::far
