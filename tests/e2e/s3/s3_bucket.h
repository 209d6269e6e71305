// SPDX-License-Identifier: Apache-2.0
// What tests need beside reading: to make buckets and put objects into the S3 that scripts/s3-up
// started.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/far/sigv4.h"

namespace holdfast::e2e {

// The settings in DIR/env, where DIR is the variable HOLDFAST_S3_DIR. kNotFound says what to start.
Result<std::map<std::string, std::string>> ReadS3Settings();

// One bucket, new and of its own name.
class S3Bucket {
 public:
  static Result<S3Bucket> Create(const std::map<std::string, std::string>& settings);

  const std::string& name() const { return name_; }
  // Puts an object under a key of any bytes; answers its ETag without quotes.
  Result<std::string> Put(std::string_view key, std::string_view body) const;
  // Puts `count` empty objects PREFIX0000 and so on, over a few connections at once.
  Status PutMany(const std::string& prefix, int count) const;

 private:
  std::string endpoint_;
  std::string region_;
  far::Credentials credentials_;
  std::string name_;
};

}  // namespace holdfast::e2e
