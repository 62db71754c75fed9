// SPDX-License-Identifier: Apache-2.0
// What lease_broker does with each message: decode, decide (lease.hpp), write (repo.hpp), tell.
#pragma once

#include "core/random.hpp"
#include "lease_broker/repo.hpp"
#include "lease_broker/settings.hpp"
#include "service/handlers.hpp"

namespace berth::lease {

/// Thread-safe: everything changing is in the database.
class LeaseHandlers {
public:
    LeaseHandlers(LeaseSettings settings, store::Pool& pool, Random& random)
        : settings_(std::move(settings)), pool_(pool), random_(random) {}

    /// Registers everything with `handlers`.
    void bind(service::Handlers& handlers);

    /// Ends a lease whose time is over, and its machine. Used by the reaper, under its fencing
    /// token.
    Result<std::vector<store::OutboxMessage>> expire(
        store::Transaction& tx, const std::string& org, const std::string& lease, WallTime now
    );
    /// Drops work that no run event ever confirmed.
    Result<std::vector<store::OutboxMessage>> drop_attachment(
        store::Transaction& tx, const std::string& work, WallTime now
    );

private:
    using Context = service::Context;
    using Outcome = Result<service::Decision>;
    Outcome acquire(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome heartbeat(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome release(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome attach(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome get(const Context& context, const std::string& payload);
    Outcome list(const Context& context, const std::string& payload);
    Outcome machine_fact(
        const Context& context, const std::string& payload, store::Transaction& tx
    );
    Outcome run_fact(const Context& context, const std::string& payload, store::Transaction& tx);

    Result<Lease> new_lease(const v1::Acquire& request, const Context& context);
    /// The caller's lease, locked; "lease_not_found" for strangers.
    Result<Lease> owned(
        store::Transaction& tx, const common::v1::Actor& actor, const std::string& id_or_slug
    );
    /// Ends `lease` and sends its machine away.
    Result<bool> finish(
        const Context& context,
        store::Transaction& tx,
        Lease& lease,
        LeaseState to,
        std::string_view reason,
        std::vector<store::OutboxMessage>& out
    );

    const LeaseSettings settings_;
    store::Pool& pool_;
    Random& random_;
};

}  // namespace berth::lease
