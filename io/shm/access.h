// SPDX-License-Identifier: Apache-2.0
// Who may: owners, modes and groups of the files of a node, and the credentials of a local client.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace holdfast::shm {

// The group whose members may attach: a name or a number; nullopt for an empty text. kInvalid for
// one that is unknown.
Result<std::optional<gid_t>> ResolveGroup(const std::string& group);

// Makes an open file `mode`, or, without a group, `mode` less what it gives to the group. kDenied
// when this user may not give a file to `group`.
Status SetAccess(int fd, const std::string& path, mode_t mode, std::optional<gid_t> group);

// Creates a directory and its missing parents (those 0755), or takes one that is there: it must be
// a directory of this user's in which nobody else can write, because what lies in it is trusted.
// kDenied otherwise.
Status MakePrivateDirectory(const std::string& path, std::optional<gid_t> group);

// The same for one that an option of the configuration names and that is a daemon's alone. kInvalid, with
// nothing changed, for one that is there and has things in it, but not the file "lock" that its daemons
// take.
Status ClaimDirectory(const std::string& path, std::optional<gid_t> group,
                      const std::string& option);

// kInvalid when there is something else in the directory; a file system's lost+found does not count, and
// nothing is in one that is not there.
Status CheckHasNothingBut(const std::string& path, const std::vector<std::string>& names,
                          const std::string& option);

struct PeerCredentials {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;  // in this process's namespace; 0 when it has none there
};
Result<PeerCredentials> CredentialsOf(int socket);

// root, this user, or a member of `group` (its primary or a supplementary group, as the kernel saw
// it at connect).
bool MayAttach(int socket, const PeerCredentials& peer, std::optional<gid_t> group);

}  // namespace holdfast::shm
