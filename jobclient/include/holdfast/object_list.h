// SPDX-License-Identifier: Apache-2.0
// The list of a job: names in the order of reading, with sizes and ETags where they are known.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace holdfast {

// Compact: 10^6 names of 60 bytes take 100 MB. Positions count from 0 in reading order. The same name may occur again.
class ObjectList {
 public:
  struct Item {
    std::string_view uri;   // canonical once the list was planned; views live as long as the list is not changed
    std::string_view etag;  // empty: not known
    uint64_t size = 0;      // meaningful when has_size
    bool has_size = false;
  };

  // kInvalid for names over 4096 bytes or with a NUL or a newline, and beyond 4,000,000 items.
  Status Add(std::string_view uri);
  Status Add(std::string_view uri, uint64_t size, std::string_view etag);
  size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  Item item(size_t position) const;
  void SetVersion(size_t position, uint64_t size, std::string_view etag);

  // A list file: one object per line, "URI" or "URI<TAB>SIZE<TAB>ETAG"; empty lines and lines that begin with # are
  // skipped. kInvalid names the line.
  static Result<ObjectList> Parse(std::string_view text);
  std::string Format() const;

 private:
  struct Ends {
    uint64_t uri_end;
    uint64_t etag_begin;
    uint64_t size;
    uint16_t etag_bytes;
    bool has_size;
  };
  std::string text_;   // the names
  std::string etags_;
  std::vector<Ends> ends_;
};

}  // namespace holdfast
