// SPDX-License-Identifier: Apache-2.0
// The settings files of the services and how each is started and asked whether it is ready.
#pragma once

#include <string>

#include "cli/up/children.hpp"
#include "cli/up/deployment.hpp"
#include "cli/up/nats.hpp"
#include "core/result.hpp"

namespace berth::cli::up {

/// Writes etc/<token>.yaml (0600) for a service. The profiles of lease come from etc/berth.yaml
/// when the user has written one, else they are `default` (no network) and `net`. Errors name a
/// wrong key's file and line.
Result<void> write_settings(
    const Layout& layout, const ServiceName& service, const Nats& nats, int http_port
);

PartSpec service_part(const Layout& layout, const ServiceName& service);

/// What GET /readyz at the address in `address_file` says: empty when ready.
std::string ask_ready(const std::filesystem::path& address_file);

}  // namespace berth::cli::up
