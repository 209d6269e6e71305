// SPDX-License-Identifier: Apache-2.0
// The list of a job: names in the order of reading, with sizes and ETags where they are known.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace holdfast {

// Compact: 10^6 names of 60 bytes take 100 MB. Positions count from 0 in reading order. The same
// name may occur again.
class ObjectList {
 public:
  struct Item {
    std::string_view
        uri;  // canonical once the list was planned; views live as long as the list is not changed
    std::string_view etag;  // empty: not known
    uint64_t size = 0;      // meaningful when has_size
    bool has_size = false;
  };

  // kInvalid for names over 4096 bytes, ETags over 256, either with a NUL, a newline or a tab (list
  // files use them), and beyond 4,000,000 items.
  Status Add(std::string_view uri);
  Status Add(std::string_view uri, uint64_t size, std::string_view etag);
  size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  Item item(size_t position) const;
  void SetVersion(size_t position, uint64_t size,
                  std::string_view etag);  // the ETag has at most 256 bytes
  // Where the texts of an item lie, for whoever goes through a long list in another order than its
  // own.
  struct Place {
    uint64_t uri_begin = 0;
    uint64_t etag_begin = 0;
    uint16_t uri_bytes = 0;
    uint16_t etag_bytes = 0;
  };
  Place place(size_t position) const;
  std::string_view uri(const Place& at) const {
    return {text_.data() + at.uri_begin, at.uri_bytes};
  }
  std::string_view etag(const Place& at) const {
    return {etags_.data() + at.etag_begin, at.etag_bytes};
  }

  // A list file: one object per line, "URI" or "URI<TAB>SIZE<TAB>ETAG"; empty lines and lines that
  // begin with # are skipped. kInvalid names the line.
  static Result<ObjectList> Parse(std::string_view text);
  std::string Format() const;

 private:
  // Makes names canonical, and remembers for which of them it need not do so again.
  friend class Client;
  struct Row {
    uint64_t uri_end;
    uint64_t etag_begin;
    uint64_t size;
    uint16_t etag_bytes;
    bool has_size;
  };
  Status Append(std::string_view uri);
  Status AddItem(const Item& item);

  std::string text_;  // the names
  std::string etags_;
  std::vector<Row> rows_;
  size_t canonical_ = 0;  // the names of so many rows, from the first, are known to be canonical
};

}  // namespace holdfast
