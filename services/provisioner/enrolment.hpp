// SPDX-License-Identifier: Apache-2.0
// What every machine needs on the bus whatever its driver: a durable for its commands, a user of
// its own. And the same for readers of events.
#pragma once

#include <map>
#include <string>

#include "bus/connection.hpp"
#include "core/guarded.hpp"
#include "identity/creds.hpp"
#include "identity/nkeys.hpp"
#include "topology/rights.hpp"

namespace berth::prov {

/// Thread-safe.
class Enrolment {
public:
    /// `account` signs; it never leaves this object.
    Enrolment(bus::Connection& connection, identity::KeyPair account)
        : connection_(connection), account_(std::move(account)) {}

    /// Makes the machine's durable, so that no command can be lost before its node is there.
    Result<void> open(const std::string& machine, const std::string& org);
    /// A credential for a key, for kNodeCredentialLife.
    Result<std::string> mint(
        const std::string& machine,
        const std::string& org,
        const std::string& user_public_key,
        WallTime now
    );
    /// Deletes the durable and the commands that waited behind it. What is not there is success.
    Result<void> close(const std::string& machine, const std::string& org);

    /// The same for a reader of events, whose durable keeps its place: it is not purged.
    Result<void> open_reader(const topology::EventReader& reader);
    Result<std::string> mint_reader(
        const topology::EventReader& reader,
        const std::string& user_public_key,
        WallTime now,
        milliseconds life
    );
    Result<void> close_reader(const topology::EventReader& reader);

    const std::string& account_public_key() const { return account_.public_key(); }

private:
    Result<void> make(const std::vector<topology::Consumer>& consumers);
    Result<std::string> api(std::string_view subject, std::string_view json);
    bus::Connection& connection_;
    const identity::KeyPair account_;
};

/// When each machine was last heard. Thread-safe.
class Presences {
public:
    static Result<std::unique_ptr<Presences>> listen(bus::Connection& connection);
    /// Waits until the machine is heard after `since`; false when the patience ends.
    bool wait_heard(const std::string& machine, SteadyTime since, milliseconds patience);
    void forget(const std::string& machine);

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, SteadyTime> heard_;  // by mutex_
    std::unique_ptr<bus::Receiver> receiver_;  // last: its handler uses the above
};

}  // namespace berth::prov
