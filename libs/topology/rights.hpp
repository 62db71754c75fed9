// SPDX-License-Identifier: Apache-2.0
// From a user of the topology to the NATS permissions and the JWT that carry its rights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/time.hpp"
#include "identity/jwt.hpp"
#include "topology/topology.hpp"

namespace berth::topology {

/// The machine and org a template user is made for; both are subject tokens ([a-z0-9_-]{1,64}).
struct Machine {
    std::string machine;
    std::string org;
};

/// Somebody else's program that reads the events of one org.
struct EventReader {
    std::string reader;
    std::string org;
};

/// The permissions of a service user; error "no_such_user".
Result<identity::Permissions> permissions_of(const Topology& topology, std::string_view user);

/// The permissions of a template user ("node") for one machine; errors "no_such_user",
/// "bad_machine".
Result<identity::Permissions> permissions_of(
    const Topology& topology, std::string_view template_user, const Machine& machine
);

/// The same of the template "reader"; error "bad_reader".
Result<identity::Permissions> permissions_of(const Topology& topology, const EventReader& reader);

/// The durables of one machine, to be made before its node starts; error "bad_machine".
Result<std::vector<Consumer>> consumers_of(const Topology& topology, const Machine& machine);
/// Likewise of a reader; error "bad_reader".
Result<std::vector<Consumer>> consumers_of(const Topology& topology, const EventReader& reader);
/// Where a reader's clients must take their replies: "_INBOX.reader.<reader>".
std::string inbox_prefix_of(const EventReader& reader);

/// A JWT for a machine's own key, named "node-<machine>", signed by the account. It lives
/// `lifetime`, or the template's own lifetime when that is shorter (or `lifetime` is 0). Offline:
/// touches no server.
Result<std::string> mint_machine_user(
    const Topology& topology,
    const identity::KeyPair& account,
    const Machine& machine,
    std::string_view user_public_key,
    WallTime now,
    milliseconds lifetime = milliseconds{0}
);

/// Likewise for a reader's key, named "reader-<reader>".
Result<std::string> mint_reader_user(
    const Topology& topology,
    const identity::KeyPair& account,
    const EventReader& reader,
    std::string_view user_public_key,
    WallTime now,
    milliseconds lifetime
);

}  // namespace berth::topology
