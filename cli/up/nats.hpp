// SPDX-License-Identifier: Apache-2.0
// The private nats-server of an embedded deployment, with keys, rights and streams from the
// topology.
#pragma once

#include <string>

#include "cli/up/children.hpp"
#include "cli/up/deployment.hpp"
#include "topology/deployment.hpp"

namespace berth::cli::up {

struct Nats {
    topology::Deployment deployment;
    int port = 0;
    std::string public_url;  ///< how machines elsewhere reach it, tls://; empty: they cannot
    std::string name;        ///< that its certificate bears; empty: it has none
    /// How this host's own programs reach it.
    std::string url() const {
        return (name.empty() ? "nats" : "tls") + std::string("://127.0.0.1:") +
               std::to_string(port);
    }
};

/// Makes keys and rights, and the server's configuration: section `bus` of the user's settings
/// gives it an address for machines elsewhere, and TLS with it. Errors say what to install.
Result<Nats> prepare_nats(const Layout& layout);
Result<PartSpec> nats_part(const Layout& layout, const Nats& nats);

/// Creates or updates streams and durables on the running server.
Result<void> apply_topology(const Nats& nats);

}  // namespace berth::cli::up
