// SPDX-License-Identifier: Apache-2.0
// The private PostgreSQL of an embedded deployment: a unix socket, passwords, one role and schema
// per service.
#pragma once

#include <string>

#include "cli/up/children.hpp"
#include "cli/up/deployment.hpp"

namespace berth::cli::up {

/// Makes the cluster, roles and schemas at the first call, all or nothing. Error "postgres_missing"
/// says what to install, "postgres_failed" carries its words.
Result<void> prepare_postgres(const Layout& layout);

/// Supervises the server of a prepared cluster.
Result<PartSpec> postgres_part(const Layout& layout);

/// The libpq conninfo of a service's role, with its password.
Result<Secret> postgres_conninfo(const Layout& layout, std::string_view service);

}  // namespace berth::cli::up
