// SPDX-License-Identifier: Apache-2.0
// The segment files of a node's disk, written record by record by a test.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/random.h"
#include "base/uri.h"
#include "tests/unit/io/disk/directory_fixture.h"
#include "wire/disk_segment.h"

namespace holdfast::disk {

inline constexpr uint64_t kSegment = 4 * kMiB;

struct Object {
  std::string name;
  std::string etag = "etag";
  std::vector<std::byte> bytes;
  uint32_t expires_s = 0;

  Oid oid() const { return OidOf(name); }
  VersionHash version() const { return HashVersion(etag, bytes.size()); }
};

inline Object MakeObject(uint64_t n, uint64_t size, size_t name_bytes = 40) {
  Object object{.name = "file:///" + std::to_string(n) + "/", .bytes = {}};
  object.name.resize(std::max(name_bytes, object.name.size()), 'x');
  Random random(n);
  for (uint64_t i = 0; i < size; ++i) object.bytes.push_back(static_cast<std::byte>(random.Next()));
  return object;
}

inline std::vector<std::byte> RecordOf(const Object& object, uint64_t offset) {
  Head head{.entry = {.oid = object.oid(),
                      .version = object.version(),
                      .size = object.bytes.size(),
                      .loaded_us = 1,
                      .offset = offset,
                      .name_bytes = static_cast<uint16_t>(object.name.size()),
                      .etag_bytes = static_cast<uint16_t>(object.etag.size())},
            .payload_hash = Hash64(object.bytes),
            .name = object.name,
            .etag = object.etag,
            .expires_s = object.expires_s};
  std::vector<std::byte> record(head.entry.end() - offset);
  EncodeHead(head, record.data());
  std::copy(object.bytes.begin(), object.bytes.end(),
            record.begin() + static_cast<ptrdiff_t>(head.entry.payload_offset() - offset));
  return record;
}

class SegmentDirectory : public InDirectory {
 protected:
  std::string PathOf(uint32_t segment) const {
    return directory_ + "/00000" + std::to_string(segment) + ".segment";
  }
  void MakeSegment(uint32_t segment) {
    const int fd = ::open(PathOf(segment).c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    ASSERT_EQ(::ftruncate(fd, kSegment), 0);
    ::close(fd);
  }
  void Overwrite(uint32_t segment, uint64_t offset, const std::vector<std::byte>& bytes) {
    const int fd = ::open(PathOf(segment).c_str(), O_RDWR);
    ASSERT_EQ(::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
    ::close(fd);
  }
  Place Write(uint32_t segment, uint64_t offset, const Object& object) {
    Overwrite(segment, offset, RecordOf(object, offset));
    return {.segment = segment, .offset = offset};
  }
};

}  // namespace holdfast::disk
