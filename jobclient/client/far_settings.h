// SPDX-License-Identifier: Apache-2.0
// The far client's options as a user of the library gives them.
#pragma once

#include "holdfast/client.h"
#include "io/far/far_options.h"

namespace holdfast {

// With the usual AWS settings where `settings` asks for them; the error is theirs. `log` may be
// null.
Result<far::FarOptions> FarOptionsOf(const FarSettings& settings, Log* log);

}  // namespace holdfast
