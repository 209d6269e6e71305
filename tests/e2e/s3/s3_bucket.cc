// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/s3/s3_bucket.h"

#include <curl/curl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "base/uri.h"

namespace holdfast::e2e {
namespace {

struct FreeCurl {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, FreeCurl>;

size_t TakeHeader(char* data, size_t, size_t size, void* etag) {
  const std::string_view line(data, size);
  if (line.starts_with("ETag: \"")) {
    *static_cast<std::string*>(etag) = line.substr(7, line.find('"', 7) - 7);
  }
  return size;
}
size_t TakeBody(char* data, size_t, size_t size, void* text) {
  static_cast<std::string*>(text)->append(data, size);
  return size;
}

// A signed PUT over a connection that `easy` keeps.
Result<std::string> SignedPut(CURL* easy, const std::string& endpoint, const std::string& path,
                              std::string_view body, far::Signer& signer) {
  const std::string host = endpoint.substr(endpoint.find("://") + 3);
  const std::string date = far::AmzDate(time(nullptr));
  const std::vector<far::SignedHeader> to_sign{
      {"host", host}, {"x-amz-content-sha256", "UNSIGNED-PAYLOAD"}, {"x-amz-date", date}};
  const std::string authorization = signer.Authorization(
      {.method = "PUT", .path = path, .headers = to_sign, .payload_sha256 = "UNSIGNED-PAYLOAD"},
      date);
  std::unique_ptr<curl_slist, FreeList> headers(
      curl_slist_append(nullptr, ("Authorization: " + authorization).c_str()));
  for (const std::string& line :
       {"x-amz-date: " + date, std::string("x-amz-content-sha256: UNSIGNED-PAYLOAD"),
        std::string("Content-Type: application/octet-stream"), std::string("Expect:")}) {
    curl_slist_append(headers.get(), line.c_str());
  }
  std::string etag;
  std::string answer;
  curl_easy_reset(easy);
  curl_easy_setopt(easy, CURLOPT_URL, (endpoint + path).c_str());
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, TakeHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &etag);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, TakeBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
  const CURLcode code = curl_easy_perform(easy);
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (code != CURLE_OK || status != 200) {
    return Status::Unavailable("PUT " + path + ": " + curl_easy_strerror(code) + ", HTTP " +
                               std::to_string(status) + " " + answer);
  }
  return etag;
}

}  // namespace

Result<std::map<std::string, std::string>> ReadS3Settings() {
  const char* dir = std::getenv("HOLDFAST_S3_DIR");
  std::ifstream file(std::string(dir == nullptr ? "" : dir) + "/env");
  std::map<std::string, std::string> settings;
  std::string line;
  while (std::getline(file, line))
    settings[line.substr(0, line.find('='))] = line.substr(line.find('=') + 1);
  if (settings.empty()) {
    return Status::NotFound("no S3 is running: scripts/s3-up DIR, and set HOLDFAST_S3_DIR to DIR");
  }
  return settings;
}

Result<S3Bucket> S3Bucket::Create(const std::map<std::string, std::string>& settings) {
  S3Bucket bucket;
  bucket.endpoint_ = settings.at("S3_ENDPOINT");
  bucket.region_ = settings.at("AWS_REGION");
  bucket.credentials_ = {.access_key = settings.at("AWS_ACCESS_KEY_ID"),
                         .secret_key = settings.at("AWS_SECRET_ACCESS_KEY")};
  std::random_device entropy;
  bucket.name_ = "test-" + std::to_string(entropy()) + "-" + std::to_string(getpid());
  far::Signer signer(bucket.credentials_, bucket.region_);
  const Easy easy(curl_easy_init());
  const auto made = SignedPut(easy.get(), bucket.endpoint_, "/" + bucket.name_, "", signer);
  if (!made.ok()) return made.status();
  return bucket;
}

Result<std::string> S3Bucket::Put(std::string_view key, std::string_view body) const {
  far::Signer signer(credentials_, region_);
  const Easy easy(curl_easy_init());
  return SignedPut(easy.get(), endpoint_, "/" + name_ + "/" + PercentEncode(key, true), body,
                   signer);
}

Status S3Bucket::PutMany(const std::string& prefix, int count) const {
  std::atomic<int> next{0};
  std::mutex mutex;
  Status failed;
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      far::Signer signer(credentials_, region_);
      const Easy easy(curl_easy_init());
      for (int i = next++; i < count; i = next++) {
        char number[16];
        std::snprintf(number, sizeof(number), "%04d", i);
        const auto put =
            SignedPut(easy.get(), endpoint_,
                      "/" + name_ + "/" + PercentEncode(prefix + number, true), "", signer);
        if (put.ok()) continue;
        std::lock_guard lock(mutex);
        failed = put.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return failed;
}

}  // namespace holdfast::e2e
