// SPDX-License-Identifier: Apache-2.0
// The commands of provisioner: they record what is wanted; the actors (actors.hpp) make it so.
#pragma once

#include <functional>

#include "provisioner/driver.hpp"
#include "provisioner/enrolment.hpp"
#include "provisioner/repo.hpp"
#include "service/handlers.hpp"

namespace berth::prov {

using Drivers = std::map<std::string, std::unique_ptr<Driver>, std::less<>>;

/// The event of a resource's present state: ready, failed or gone. `cleanable`: Driver's.
store::OutboxMessage fact(
    const service::Context& context,
    const Resource& resource,
    std::string_view code,
    const Attempts& attempts = {},
    bool cleanable = false
);
/// What a driver needs, from a resource's stored command.
Result<MachineSpec> spec_of(const Resource& resource);

/// Thread-safe: everything changing is in the database.
class ProvHandlers {
public:
    /// `wake` tells the actors that something is due, after the handler's transaction.
    ProvHandlers(
        const Drivers& drivers, Enrolment& enrolment, store::Pool& pool, std::function<void()> wake
    )
        : drivers_(drivers), enrolment_(enrolment), pool_(pool), wake_(std::move(wake)) {}
    void bind(service::Handlers& handlers);

private:
    using Context = service::Context;
    using Outcome = Result<service::Decision>;
    Outcome create(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome destroy(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome renew(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome enrol(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome drift(const Context& context, const std::string& payload);
    Outcome credential(const Resource& resource, const std::string& public_key, WallTime now);

    const Drivers& drivers_;
    Enrolment& enrolment_;
    store::Pool& pool_;
    const std::function<void()> wake_;
};

}  // namespace berth::prov
