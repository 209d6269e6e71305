// SPDX-License-Identifier: Apache-2.0
#include "jobclient/client/far_settings.h"

#include <algorithm>

#include "io/far/aws_settings.h"

namespace holdfast {

Result<far::FarOptions> FarOptionsOf(const FarSettings& settings, Log* log) {
  far::FarOptions options;
  options.s3.endpoint = settings.s3_endpoint;
  options.s3.region = settings.region;
  options.s3.virtual_hosted = settings.virtual_hosted;
  options.ca_bundle = settings.ca_bundle;
  options.directory_roots = settings.directory_roots;
  options.limits.max_connections = std::max<uint32_t>(settings.max_connections, 1);
  options.limits.min_connections =
      std::min(options.limits.min_connections, options.limits.max_connections);
  options.prices = {settings.micro_usd_per_1000_gets, settings.micro_usd_per_1000_lists,
                    settings.micro_usd_per_gb};
  options.log = log;
  if (settings.aws_settings)
    HF_RETURN_IF_ERROR(far::AddAwsSettings(far::ProcessEnvironment(), &options));
  return options;
}

}  // namespace holdfast
