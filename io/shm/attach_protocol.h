// SPDX-License-Identifier: Apache-2.0
// What a client and the daemon of its node say to each other when the client attaches: fixed
// structs over a SOCK_SEQPACKET unix socket, one per message (docs/formats.md). Little-endian, no
// padding.
//
//   client → AttachRequest
//   daemon → AttachReply, with the region (read only) and the session file (read and write) as
//   SCM_RIGHTS client   maps both, locks the session's first byte client → AttachLocked daemon →
//   AttachReply without descriptors: attached, the client may read
//
// The first 16 bytes of a reply are the same in every version, and so is its text: a client of
// another version can say why it was refused.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ids.h"

namespace holdfast::shm {

constexpr uint64_t kAttachMagic = 0x3148545444464c48;  // "HLFDTTH1"
constexpr uint32_t kAttachVersion = 1;
constexpr int kAttachTextBytes = 440;

struct AttachRequest {
  uint64_t magic = kAttachMagic;
  uint32_t version = kAttachVersion;
  uint32_t layout_version = 0;  // of wire/shm_layout.h
};

struct AttachLocked {
  uint64_t magic = kAttachMagic;
  uint32_t session = 0;
  uint32_t reserved = 0;
};

struct AttachReply {
  uint64_t magic = kAttachMagic;
  uint32_t version = kAttachVersion;
  uint8_t code = 0;  // a holdfast::Code
  uint8_t reserved = 0;
  uint16_t text_bytes = 0;
  // Why not, with a code other than 0; else the directory of the node's segments on disk, whose files
  // this client may try to open for reading, or nothing.
  char text[kAttachTextBytes] = {};
  uint32_t session = 0;
  NodeId node = kNoNode;
  uint16_t reserved2 = 0;
  Incarnation incarnation = 0;
  uint64_t region_bytes = 0;
  uint64_t session_bytes = 0;
};

static_assert(sizeof(AttachRequest) == 16 && sizeof(AttachLocked) == 16);
static_assert(sizeof(AttachReply) == 488);

}  // namespace holdfast::shm
