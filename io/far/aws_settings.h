// SPDX-License-Identifier: Apache-2.0
// The usual places where S3 settings lie: AWS_* environment variables, ~/.aws/credentials and
// ~/.aws/config. Not read: instance metadata, SSO, and programs that make credentials; give such
// credentials by the environment.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "io/far/far_options.h"

namespace holdfast::far {

// The value of a variable, if it is set and not empty.
using Environment = std::function<std::optional<std::string>(const char* name)>;
// That of this process.
Environment ProcessEnvironment();

// Fills in what `options` leaves at its default, in this order:
//   endpoint     AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's endpoint_url
//   credentials  AWS_ACCESS_KEY_ID + AWS_SECRET_ACCESS_KEY (+ AWS_SESSION_TOKEN), also where AWS_PROFILE is set;
//                the profile in the credentials file, then in the config file
//   region       AWS_REGION, AWS_DEFAULT_REGION, the profile's region
//   ca_bundle    AWS_CA_BUNDLE
// The profile is AWS_PROFILE or "default"; the files are AWS_SHARED_CREDENTIALS_FILE and
// AWS_CONFIG_FILE or those in ~/.aws. Without credentials anywhere requests are anonymous. An
// endpoint by region is used where none is configured. kNotFound for a profile that was named and
// does not exist, kInvalid for half a key pair or a file that cannot be read.
Status AddAwsSettings(const Environment& environment, FarOptions* options);

}  // namespace holdfast::far
