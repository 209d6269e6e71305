// SPDX-License-Identifier: Apache-2.0
// The configuration of a client, for programs that add keys, flags or an environment of their own
// to it; others call LoadClientOptions (holdfast/client.h).
#pragma once

#include "holdfast/client.h"
#include "io/config/config_file.h"

namespace holdfast {

// Reads every key of a client; kInvalid names file, line, key and what is allowed, also for keys
// that nobody knows. `file` may carry overrides from the environment and from flags. What a program
// wants to know beside it, it asks `file` for before.
Result<ClientOptions> ReadClientConfig(config::ConfigFile* file);

}  // namespace holdfast
