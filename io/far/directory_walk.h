// SPDX-License-Identifier: Apache-2.0
// The regular files below a directory, in the byte order of their whole paths, as an object store
// lists keys: "a-b" comes before "a/b". Symbolic links to files count if they point inside the
// directory; links to directories are not followed, because they can make rings. Nothing else is an
// object.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace holdfast::far {

struct WalkedFile {
  std::string path;
  bool is_prefix = false;  // a directory of a delimited walk, with '/' at its end
  uint64_t size = 0;
  int64_t mtime_ns = 0;
};

class DirectoryWalk {
 public:
  // Called with what could not be read: "path: reason".
  using Report = std::function<void(const std::string&)>;

  // Walks what begins with the absolute path `prefix`; a directory's own name means what is in it.
  // `after`: the path that the page before ended with; empty for the start. A delimited walk does
  // not enter directories, it names them.
  static Result<DirectoryWalk> Begin(std::string prefix, bool delimited, std::string after,
                                     Report report);
  // The next file; false at the end.
  bool Next(WalkedFile* file);
  // Resolved: where the walk began.
  const std::string& root() const { return real_root_; }

 private:
  struct Item {
    std::string name;  // with '/' at the end of a directory's, so that names sort as whole paths do
    bool is_link = false;
  };
  struct Frame {
    std::string directory;  // with '/' at its end
    std::vector<Item> items;
    size_t next = 0;
  };

  // Opens a directory and sorts what is wanted of it.
  Status Enter(const std::string& directory);
  bool Wanted(const std::string& path) const;
  bool LinkStaysInside(const std::string& path) const;
  bool Describe(const std::string& path, bool is_link, WalkedFile* file) const;

  std::string prefix_;
  bool delimited_ = false;
  std::string after_;
  std::string real_root_;
  Report report_;
  std::vector<Frame> frames_;
};

}  // namespace holdfast::far
