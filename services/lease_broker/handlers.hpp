// SPDX-License-Identifier: Apache-2.0
// What lease_broker does with each message: decode, decide (lease.hpp, machine.hpp), write
// (repo.hpp, pools.hpp), tell.
#pragma once

#include "berth/prov/v1/prov.pb.h"
#include "core/random.hpp"
#include "lease_broker/fleet.hpp"
#include "lease_broker/repo.hpp"
#include "lease_broker/settings.hpp"
#include "service/handlers.hpp"

namespace berth::lease {

/// Thread-safe: everything changing is in the database.
class LeaseHandlers {
public:
    LeaseHandlers(
        const LeaseSettings& settings,
        Profiles& profiles,
        store::Pool& pool,
        Random& random,
        Fleet& fleet
    )
        : settings_(settings), profiles_(profiles), pool_(pool), random_(random), fleet_(fleet) {}

    /// Registers everything with `handlers`.
    void bind(service::Handlers& handlers);

    /// Ends those of the leases `ids` whose time is over, and their machines, and returns how many
    /// it ended. One that was touched meanwhile lives on; one that somebody else has locked is left
    /// to the next look.
    /// Used by the reaper, under its fencing token.
    Result<int> expire(
        store::Transaction& tx,
        const std::vector<std::string>& ids,
        WallTime now,
        std::vector<store::OutboxMessage>& messages
    );
    /// Drops work that no run event ever confirmed.
    Result<std::vector<store::OutboxMessage>> drop_attachment(
        store::Transaction& tx, const std::string& work, WallTime now
    );

    /// Looks again after a machine of which nothing was heard (is_silent): one that did not come
    /// has failed, and what should be gone is destroyed once more.
    Result<void> press_on(
        store::Transaction& tx,
        const std::string& machine,
        WallTime now,
        std::vector<store::OutboxMessage>& messages
    );

private:
    using Context = service::Context;
    using Outcome = Result<service::Decision>;
    // handlers.cpp
    Outcome heartbeat(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome release(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome attach(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome run_fact(const Context& context, const std::string& payload, store::Transaction& tx);
    // handlers_acquire.cpp
    Outcome acquire(const Context& context, const std::string& payload, store::Transaction& tx);
    Result<Lease> new_lease(
        const v1::Acquire& request, const Context& context, const Recipe& recipe
    );
    Result<void> check_limits(const Work& work, const Lease& lease);
    // handlers_machines.cpp
    Outcome machine_fact(
        const Context& context, const std::string& payload, store::Transaction& tx
    );
    Outcome node_fact(const Context& context, const std::string& payload, store::Transaction& tx);
    Result<void> machine_ready(
        const Work& work, std::optional<Lease>& lease, Machine& machine, bool cleanable
    );
    Result<void> machine_lost(
        const Work& work,
        std::optional<Lease>& lease,
        Machine& machine,
        bool failed,
        const prov::v1::MachineFact& fact
    );
    // handlers_shares.cpp
    Outcome share(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome unshare(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome list_shares(const Context& context, const std::string& payload);
    // handlers_pools.cpp
    Outcome drain(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome resume(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome list_pools(const Context& context, const std::string& payload);
    Outcome change_drain(
        const Work& work,
        const common::v1::Actor& actor,
        const std::string& machine,
        Drain scope,
        bool drain
    );
    Outcome drain_machine(
        const Work& work, const std::string& org, const std::string& id, bool drain
    );
    Result<std::vector<v1::Pool>> pools(
        repo::Reader reader, const std::string& org, const std::string& profile
    );
    // handlers_profiles.cpp
    Outcome set_profile(const Context& context, const std::string& payload, store::Transaction& tx);
    Outcome remove_profile(
        const Context& context, const std::string& payload, store::Transaction& tx
    );
    Outcome list_profiles(const Context& context, const std::string& payload);
    Outcome get_profile(const Context& context, const std::string& payload);
    // handlers_queries.cpp
    Outcome get(const Context& context, const std::string& payload);
    Outcome list(const Context& context, const std::string& payload);
    Outcome list_machines(const Context& context, const std::string& payload);
    Outcome get_machine(const Context& context, const std::string& payload);
    Outcome usage(const Context& context, const std::string& payload);

    /// A lease the caller may use, locked, and the caller's access to it: "owner", "admin",
    /// "manage" or "use". Error "lease_not_found" for strangers.
    struct Held {
        Lease lease;
        std::string access;
        bool may_manage() const { return access != "use"; }
    };
    Result<Held> held(
        store::Transaction& tx, const common::v1::Actor& actor, const std::string& id_or_slug
    );
    /// Empty for strangers.
    Result<std::string> access(
        repo::Reader reader, const common::v1::Actor& actor, const Lease& lease
    );

    const LeaseSettings& settings_;
    Profiles& profiles_;
    store::Pool& pool_;
    Random& random_;
    Fleet& fleet_;
};

}  // namespace berth::lease
